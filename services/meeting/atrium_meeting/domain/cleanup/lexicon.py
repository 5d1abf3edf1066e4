"""Words that the guard rails know: sounds, phrases, numbers, negations, names."""

from __future__ import annotations

from typing import Final

SOUNDS_EN: Final = frozenset("um umm ummm uh uhh uhhh uhm er erm hm hmm hmmm mm mmm mmmm".split())
"""Never words of English: marked without asking the network."""
SOUNDS_ZH: Final = frozenset("嗯呃額额噷")
"""The same of Chinese; 额 where the network agrees, for it is also a word."""
LOOKED_PAST_EN: Final = SOUNDS_EN | {"ah", "eh"}
LOOKED_PAST_ZH: Final = frozenset("嗯呃啊哦诶哎唉呀额噢欸哈")
"""What lies between the two times of something without breaking it."""

FILLERS_EN: Final = frozenset(
    tuple(phrase.split())
    for phrase in (
        "like;well;so;right;okay;ok;yeah;ah;eh;you know;i mean;you see;sort of;kind of;basically;"
        "okay so;yeah so;right so;so yeah;you know what i mean"
    ).split(";")
)
"""Phrases that are fillers sometimes."""
FILLERS_ZH: Final = frozenset(
    (
        "就是 那个 这个 然后 啊 嘛 呢 吧 呀 诶 哦 哎 唉 哈 啦 嘞 呐 哇 嗨 喔 噢 欸 额 昂 那 就 "
        "什么 那种 这种 的话 什么的 那些 这些 "
        "是吧 对吧 对 哎呀 说是 那个什么 怎么说呢 怎么说 就是说 啥的 啥 那什么 之类的 那个啥 "
        "你知道吧 反正 其实"
    ).split()
)

MEANT_AFTER: Final = {
    "you know": frozenset(
        "do does did don't didn't doesn't if as would will can could should let what how".split()
    ),
    "i mean": frozenset("what which did do that's".split()),
    "you see": frozenset("do did don't didn't can could will would if as what when let".split()),
    "like": frozenset(
        "look looks looked looking feel feels felt sound sounds sounded seem seems would i'd "
        "you'd he'd she'd we'd they'd to don't didn't doesn't something anything nothing "
        "things more much people just what".split()
    ),
    "sort of": frozenset("what this that some any every a the".split()),
    "kind of": frozenset("what this that some any every a the".split()),
}
"""Words after which a phrase means what it says."""
MEANT_BEFORE: Final = {
    "you know": frozenset(
        "how what where when who why whether better it him her them me if about of nothing".split()
    ),
    "i mean": frozenset("is it by to was business".split()),
    "you see": frozenset("it him her them me how what the a".split()),
}
"""Words before which it does."""
SAID_TWICE: Final = frozenset("had very really many much far long bye ha yes more too".split())
"""Words that are said twice on purpose."""
TRIED_ZH: Final = frozenset("看想试说聊谈问听查等讲找算走坐写读改补瞧谢逛歇尝摸催劝帮")
"""Verbs that are said twice for doing something a little, or trying it: 看看, 试试."""
DOUBLED_ZH: Final = frozenset("人天年月处样种层户刚常往渐仅明偏恰默慢稳悄白好")
"""What makes another word when said twice: each of something (人人), and how (渐渐)."""
AFTER_VERBS_ZH: Final = frozenset("了过着得不到起出上下进回开去来成完好在的住")
"""What follows a verb that is said once only: an ending, or how it turned out."""
BEFORE_NOUNS_ZH: Final = frozenset("的个")
"""After them a noun is begun (这个人人物), not what is said of each."""
BETWEEN_TWO: Final = frozenset("to by and after upon or versus of for in".split())
"""What stands between the two in "time to time" and "step by step"."""

EDIT_PHRASES: Final = frozenset({
    ("no", "wait"), ("wait", "no"), ("no", "sorry"), ("sorry", "no"),
    ("不", "对"), ("哦", "不"), ("啊", "不"),
})  # fmt: skip
"""What takes back the words before it; the only place where a negation negates nothing. Not 不是,
which also tells two things apart ("red, not blue")."""

TAKING_BACK_EN: Final = frozenset(
    tuple(phrase.split())
    for phrase in (
        "i mean;sorry;no sorry;sorry no;no wait;wait no;wait;rather;or rather;or;actually;well;"
        "let me say;that is;excuse me;no"
    ).split(";")
)
"""With what a speaker takes back the words before."""
PROMISES_EN: Final = frozenset("i'll we'll".split())
PROMISES_TWO_EN: Final = frozenset({
    ("i", "will"), ("we", "will"), ("i", "can"), ("we", "can"), ("let", "me"), ("i", "shall"),
})  # fmt: skip
"""How a promise begins; a verb and something more follow."""

NO_NAMES_EN: Final = frozenset(
    "so well okay ok oh ah yeah yes and but or because if when while whereas although though since "
    "then that this these those it he she they we you there here what who where why how which is "
    "are was were do does did can could would should have has had let my your our their his her "
    "its it's that's he's she's we're they're you're there's whether however now maybe perhaps "
    "also even just like right sure sorry please".split()
)
"""Words with which sentences begin, so that a capital makes no name of them."""
NUMBERS_EN: Final = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred hundreds thousand thousands million millions billion billions trillion first second "
    "third fourth fifth sixth seventh eighth ninth tenth half quarter dozen twice once".split()
)
NUMBERS_ZH: Final = frozenset("零〇一二两三四五六七八九十百千万亿半俩仨廿壹贰叁肆伍陆柒捌玖拾佰仟")
MAGNITUDES: Final = frozenset("hundred thousand million billion 十 百 千 万 亿".split())
"""Words that make a number of several words; figures read out one by one hold none."""
MEASURES_ZH: Final = frozenset("个位次些种般下起直样定部把条张件句本只家间套辆碗瓶杯块顿座项门户名")
"""What may follow 一 said twice without making a number of the two."""

NEGATIONS_EN: Final = frozenset(
    "no not never none nobody nothing nowhere neither nor cannot without ain't hardly".split()
)
NEGATIONS_ZH: Final = frozenset("不没别未无非勿莫否甭毋")

SURNAMES_ZH: Final = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾"
    "丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖"
    "邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪"
    "严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢岳齐梅莫庄辛管祝左涂谷祁"
    "时舒耿牟卜詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍位覃霍翁隋甘景薄单包司柏宁柯阮桂闵"
)
GIVEN_ZH: Final = frozenset(
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛超秀英霞刚桂玉萍红梅鹏飞宇浩晨婷雪琳倩颖鑫波斌辉建华国志俊峰"
    "晓佳慧玲燕丹莉娇媛璐瑶琪怡欣悦涵睿博翔凯"
    "旭毅坤振宁庆祥瑞轩泽铭嘉楠思聪梓萱诗雨婉洁莹琴珍贞莲菊香芬芝蓉薇蕾菲媚昊天炎彬武伦栋维启克"
    "清彪尔松竹达腾宏宽冠策哲竣皓"
    "民友诚政谦亨奇固之轮翰朗伯云健世广义兴良海山仁宝金鸿淑惠珠翠雅茜秋珊莎锦黛青兰凤岩昭惟恩邦"
    "逸航霖尧丞铮钧楷杭威"
)
PLACES_ZH: Final = frozenset(
    "北京 上海 天津 重庆 广州 深圳 杭州 南京 苏州 武汉 成都 西安 长沙 郑州 青岛 大连 厦门 宁波 "
    "合肥 福州 济南 沈阳 哈尔滨 长春 昆明 贵阳 南宁 海口 拉萨 兰州 "
    "西宁 银川 太原 石家庄 呼和浩特 乌鲁木齐 南昌 无锡 佛山 东莞 珠海 香港 澳门 台湾 台北 河北 "
    "山西 辽宁 吉林 黑龙江 江苏 浙江 安徽 福建 江西 山东 河南 湖北 "
    "湖南 广东 海南 四川 贵州 云南 陕西 甘肃 青海 内蒙古 广西 西藏 宁夏 新疆 中国 美国 英国 "
    "法国 德国 日本 韩国 朝鲜 印度 俄罗斯 加拿大 澳大利亚 新加坡 "
    "泰国 越南 巴西 欧洲 亚洲 非洲 美洲 纽约 伦敦 巴黎 东京 周一 周二 周三 周四 周五 周六 周日 "
    "星期天 星期日 今天 明天 昨天 后天 前天".split()
)
"""Names of places, and of days: a wrong day is as bad as a wrong number."""

DAYS_EN: Final = frozenset(
    "monday tuesday wednesday thursday friday saturday sunday january february march april june "
    "july august september october november december today tomorrow yesterday tonight".split()
)
NAMES_EN: Final = frozenset(
    "aaron abby adam adrian ahmed aisha alan alex alexander alexandra ali alice alicia alison "
    "amanda amber amy ana andrea andrew andy "
    "angela ann anna anne annie anthony antonio arthur ashley barbara ben benjamin bernard "
    "beth betty bob bobby brad brandon brenda brian "
    "bruce bryan carl carla carlos carmen carol caroline catherine cathy charles charlie "
    "charlotte chen cheng chloe chris christian "
    "christina christine christopher cindy claire clara colin connor craig cynthia daisy dan "
    "dana daniel danielle danny dave david dean "
    "deborah debra denise dennis derek diana diane diego dmitry donald donna doris dorothy "
    "doug douglas dylan eddie edgar edward edwin elaine "
    "elena eleanor elizabeth ella ellen emily emma eric erica erik erin ethan eugene eva evan "
    "evelyn felix fiona fatima florence frances "
    "francis frank fred gabriel gary george gerald gina gloria gordon greg gregory hannah "
    "harold harry hassan heather helen helena henry "
    "howard hugo ian igor irene isaac isabel isabella ivan jack jackie jackson jacob jake "
    "james jamie jan jane janet janice jason jay jean jeff "
    "jeffrey jennifer jenny jeremy jerry jesse jessica jill jim jimmy joan joanna joe joel "
    "johan john johnny jon jonathan jordan jorge jose "
    "joseph josh joshua joyce juan judith judy julia julian julie justin karen karl kate "
    "katherine kathleen kathy katie keith kelly ken kenneth "
    "kevin kim kimberly kumar kyle larry laura lauren laurie leah lee leo leon leonard leslie "
    "lewis liam lily linda lisa liu liz logan louis louise "
    "lucas lucy luis luke lynn marcus margaret maria marie mario marilyn martha martin mary "
    "matt matthew megan mei melissa michael michelle "
    "miguel mike mohamed mohammed monica mona muhammad nadia nancy naomi natalie natasha "
    "nathan neil nicholas nick nicole nina noah nora "
    "norman olga oliver olivia omar oscar pablo pamela patricia patrick paul paula pedro peggy "
    "peter phil philip phillip priya rachel "
    "raj ralph ramesh raymond rebecca ricardo richard rick rita robert roberta robin roger "
    "ronald rosa rosie ross roy russell ruth ryan "
    "sally sam samantha samuel sandra sandy sanjay sara sarah scott sean sebastian sergei "
    "sharon shaun sheila shirley simon singh smith sofia "
    "sophia sophie stan stanley stella stephanie stephen steve steven stuart sue susan suzanne "
    "sven sylvia tanya tara teresa terry theresa "
    "thomas tim timothy tina todd tom tommy tony tracy valerie vanessa veronica victor "
    "victoria vincent virginia vivian walter wang wayne "
    "wendy wei william xiao yang yuki zhang zhao zoe berlin boston chicago china dublin europe "
    "france germany india japan london madrid "
    "moscow paris seattle shanghai singapore sydney texas tokyo toronto beijing".split()
)
"""First names and a few places, as a recogniser without capitals writes them."""
