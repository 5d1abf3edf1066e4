"""Finders of people's names in text of plain spelling.

There is no list of all names: a Chinese name is a surname with one or two characters where the
words around it say that a person is meant; an English one follows a title or an introduction, or
begins with a common first name.
Better a name overlooked than every third word replaced; what was found once is found again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from atrium_gateway.domain.pii.kinds import Found, PiiKind

_HAN = "\u4e00-\u9fff"
_COMPOUND = (
    "欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|司徒|令狐|夏侯|长孙|宇文|端木|轩辕|"
    "百里|南宫|独孤|闻人|呼延|钟离"
)
_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖萧田董袁潘蒋蔡"
    "余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石"
    "廖贾夏韦付傅方白邹孟熊秦邱江尹薛闫阎段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向"
    "汤常温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟"
    "殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路"
    "辛靳柴蒙鲍华喻祁蒲房滕屈饶牟艾尤阳时穆农司卓古吉缪简车芦麦褚娄窦戚岑景"
    "宫卜冷晏席卫米柏宗瞿桂佟臧闵苟邬边卞姬仇栾隋刁沙荣巫寇桑郎甄丛仲虞"
    "敖巩明佘池查麻苑迟邝"
)
_NAME = f"(?:(?:{_COMPOUND})|[{_SURNAMES}])"
# Characters that go on after a name rather than belong to it.
_AFTER = (
    "的和与及跟同在于是为将已曾向请先女等，住从到对把被打给让今身手电年性来去说提报申签办"
    "负购转汇又也都还不有会要能可应需想（()）均共"
)
_TITLES = (
    "先生|女士|小姐|太太|老师|经理|主任|医生|教授|律师|博士|工程师|同学|师傅|总监|"
    "部长|局长|院长|处长|科长|书记|董事长|总经理|总裁|会计|主管|校长|队长|同志|阿姨|"
    "叔叔|"
    "总(?![结是体共数和量会部公而裁统理计额之价])"
)
_TITLED = re.compile(rf"({_NAME}[{_HAN}]{{0,2}}?)(?:副?(?:{_TITLES}))")
_LABELLED = re.compile(
    r"(?:姓名|名字|联系人|收件人|收货人|寄件人|申请人|经办人|负责人|审批人|法定代表人|"
    r"法人代表|法人|甲方|乙方|丙方|持卡人|户名|开户人|收款人|付款人|投保人|被保险人"
    r"|监护人|紧急联系人|客户|员工|同事|患者|病人|学生|考生|司机|车主|业主|房东|租客|"
    r"候选人|应聘者|嫌疑人|证人|原告|被告|用户|作者|主讲人|主持人|名单|双方为|签字|"
    r"签名|家长|会员|旅客|乘客|参会人|与会者|出席"
    r"|我叫|我是|名叫|叫做|他叫|她叫|本人)"
    rf"(?:[:是为叫 ]{{0,3}})({_NAME}[{_HAN}]{{1,2}})"
)
_LISTED = re.compile(
    rf"(?<=[、,;:/( 有由请找让给与和及是为])({_NAME}[{_HAN}]{{1,2}})(?=[、,;/)( ])"
)
_GIVEN = frozenset(
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英华玉兰红玲辉鹏浩宇轩梓涵欣怡子墨雨桐"
    "思远嘉豪晓峰志强建国海燕文博俊雪梅婷琳颖慧莉佳琪瑶萍莹蕾薇倩楠凯航睿晨曦昊天一诺"
    "可"
    "振东林森彬斌龙飞鑫淼焱垚旭阳春秋冬夏凤珍珠宝贵富荣庆祥福禄寿康宁安乐永恒德仁义礼"
    "智信忠孝秀琴淑贞惠芬菊香莲翠云月星辰泽润涛波江河湖清源泉溪若男亚萌萱彤妍悦诗语馨"
    "蓉菲露丹蓓岚岩岭"
)
_WORDS = frozenset(
    (
        "高兴 安全 方法 方便 方案 方式 方向 方面 时间 时候 常用 常见 常规 成功 成果 成本 "
        "成员 成立 成为 任何 任务 任意 程序 程度 和平 和谐 温度 温馨 金额 金融 金属 白天 "
        "白色 明天 明确 明显 明白 全部 全面 全国 全年 全体 高级 高度 高效 高峰 高等 高中 "
        "高考 文件 文化 文字 文本 文档 文明 马上 马路 向前 向上 严格 严重 严禁 应用 应该 "
        "应当 应收 应急 何时 何处 单位 单独 单元 单价 单据 关于 关系 关键 关注 管理 管道 "
        "常务 易于 连接 连续 项目 简单 简介 华北 华东 华南 华为 江苏 江西 江南 石油 石头 "
        "万元 万一 农业 农村 司法 司机 路线 路由 路径 古代 景色 师傅 师资 荣誉 商品 商业 "
        "商务 商场 商量 边界 查看 查询 查找 查收 游戏 游客 明细 池塘 党员 党委 米饭 车辆 "
        "车间 车位 车站 费用 费率 房屋 房间 房产 解决 解释 解除 包括 包装 包含 申请 申报 "
        "相关 康复 温州 宁波 宁夏 黄金 黄色 黄河 蓝色 白云 龙头 牛奶 石家庄 马来 毛利 毛利率 "
        "钱包 水平 平安 平均 安排 安装 安徽 安静 凌晨 盛大 广州 武汉 武器 武术 林业 林地 "
        "田地 周一 周二 周三 周四 周五 周六 周日 周末 周期 周年 周边 周围 曾经 曾任 许可 "
        "许多 于是 于此 余额 余下 付款 付费 付出 段落 史上 左右 左侧 甘肃 尚未 尚可 季度 "
        "季节 兰州 党建 全员 全程 景区 冷静 冷却 席位 卫生 卫星 柏林 宗旨 宗教 应付 应聘 "
        "边缘 商家 商标 沙发 沙漠 荣获 明年 明星 和解 和同 时代 时期 时刻 时长 成交 成绩 "
        "成长 纪要 纪律 纪念 童年 路口 路段 游览 管辖 华中 华人 喻为 符合 符号 舒适 包裹 "
        "宁可"
    ).split()
)

_CAPITAL = r"[A-ZÀ-ÖØ-Þ][\w'’\-]{1,24}"
_ENGLISH_NAME = rf"{_CAPITAL}(?: (?:[A-Z]\. )?{_CAPITAL}){{0,2}}"
_ENGLISH_TITLED = re.compile(
    rf"\b(?i:mr|mrs|ms|miss|dr|prof|professor|sir|madam)\b\.? ?({_ENGLISH_NAME})"
)
_ENGLISH_INTRODUCED = re.compile(
    r"(?:\b(?i:my name is|my name's|i am called|this is|i'm|signed by|sincerely,?|regards,?)"
    r"|\b(?i:dear|hi)"
    r"|\b(?i:name|attn\.?|contact|passenger|patient|employee|customer|recipient|cardholder) ?:)"
    rf"\s{{1,2}}({_ENGLISH_NAME})"
)
_ENGLISH_NAMED = re.compile(
    r"\b(?i:my (?:full |first |last )?name is|my name's|full name ?:|first name ?:|"
    r"last name ?:) {1,2}([\w'’\-]{2,24}(?: [\w'’\-]{2,24})?)"
)
# Looked for at every word, so that the one before a name does not take its first half.
_CAPITALS = re.compile(rf"\b(?=(({_CAPITAL}) (?:[A-Z]\. )?{_CAPITAL}(?: {_CAPITAL})?))")
# First names that are common somewhere; with a capital word behind them they are a name.
_FIRST_NAMES = frozenset(
    (
        "aaron abigail adam adrian ahmed alan albert alejandro alex alexander alexandra alice "
        "alicia alison amanda amber amelia amy ana andrea andreas andrew angela anita ann anna "
        "anne annette anthony antonio arthur ashley audrey barbara beatrice ben benjamin "
        "bernard bernd beth betty bill birgit bob brandon brenda brian bruce bryan camille carl "
        "carla carlos carmen carol caroline catherine charles charlotte cheryl chloe chris "
        "christina christine christoph christopher claire clara claudia colin craig "
        "cynthia daniel daniela danielle david deborah denise dennis derek diana diane "
        "diego dieter dominic don donald donna dorothy doris douglas duncan dylan edward eileen "
        "elaine eleanor elena elizabeth ella ellen emily emma eric erica erik ernest esther "
        "ethan eugene eva evelyn fatima felix filip fiona florian frances francesca francesco "
        "francis frank fred frederick gabriel gary geoffrey george gerald gerhard gina giovanni "
        "giulia gloria gordon graham greg gregory guillaume gunter hannah hans harold harriet "
        "harry heather heidi heinz helen helena helga henry herbert hiroshi holly howard hugh "
        "ian ibrahim ingrid irene isabel isabella ivan jack jackson jacob jacqueline jakub "
        "james jamie jan jane janet janice jason javier jean jeff jeffrey jennifer jeremy jerry "
        "jessica jill jim joan joanna joe joel john johannes jon jonas jonathan jorge jose "
        "joseph joshua juan judith judy juergen julia julian julie jurgen justin karen karin "
        "karl kate katharina katherine kathleen kathryn katie keith kelly ken kenneth kenji "
        "kevin kim klaus kristen kyle larry laura lauren laurent lawrence lee leo leon leonard "
        "leslie lewis liam linda lisa logan lorenzo louis louise luca lucas lucia lucy luis "
        "luke lukas lynn maddison madison manfred manuel marc marcel marco marcus margaret "
        "maria mariam marie marilyn mario marion mark marta martha martin martina mary matteo "
        "matthew matthias maureen max megan mehmet melanie melissa michael michel michelle "
        "miguel mike mikhail miriam mohamed mohammed monica monika muhammad nadia nancy naomi "
        "natalia natalie natasha nathan neil nicholas nick nicola nicole nigel nina noah nora "
        "norbert norma oliver olivia omar oscar pablo pamela patricia patrick paul paula "
        "pauline pedro penelope peter petra philip philippe phillip pierre rachel ralf ralph "
        "ramona raymond rebecca renate rene ricardo richard rita robert roberta roberto robin "
        "rodney roger roland ronald rosa rosemary ross roy russell ruth ryan sabine sally sam "
        "samantha samuel sandra sara sarah scott sean sebastian sergei sergio sharon sheila "
        "shirley simon sofia sophia sophie stefan stefanie stephanie stephen steve steven "
        "stuart susan susanne suzanne sven sylvia takashi tanya tara teresa terry thabo "
        "theodore theresa thomas tiffany tim timothy tina tobias todd tom tomasz tony tracy "
        "trevor tyler ursula uwe valerie vanessa vera veronica victor victoria vincent "
        "vladimir walter wanda wayne wendy werner wilhelm william winston wolfgang xavier "
        "yasmin yusuf yvonne zachary zoe"
    ).split()
)
_NO_NAMES = frozenset(
    (
        "the a an sir madam all everyone team there hello hi dear please not no yes your our "
        "my this that these those we you they it january february march april may june july "
        "august september october november december monday tuesday wednesday thursday friday "
        "saturday sunday customer support service services sales hr it finance legal english "
        "chinese china germany france japan america sorry happy glad sure afraid interested "
        "looking trying"
    ).split()
)


def people(text: str) -> Iterator[Found]:
    """Find names of people by the words around them, and the same names elsewhere."""
    known: set[str] = set()
    for found in _named(text):
        known.add(text[found.start : found.end])
        yield found
    for name in known:
        if len(name) < 2:
            continue
        at = text.find(name)
        while at >= 0:
            if not name.isascii() or _is_word(text, at, at + len(name)):
                yield Found(PiiKind.PERSON, at, at + len(name))
            at = text.find(name, at + len(name))


def _is_word(text: str, start: int, end: int) -> bool:
    return not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum()


def _named(text: str) -> Iterator[Found]:
    if not text.isascii():
        for match in _TITLED.finditer(text):
            name = match[1]
            if name not in _WORDS and name[:2] not in _WORDS:
                yield Found(PiiKind.PERSON, *match.span(1))
        for match in _LABELLED.finditer(text):
            end = _name_end(text, *match.span(1))
            if end is not None:
                yield Found(PiiKind.PERSON, match.start(1), end)
        for match in _LISTED.finditer(text):
            name = match[1]
            if name not in _WORDS and name[:2] not in _WORDS and set(name[1:]) <= _GIVEN:
                yield Found(PiiKind.PERSON, *match.span(1))
    for match in _CAPITALS.finditer(text):
        if match[2].lower() in _FIRST_NAMES:
            yield Found(PiiKind.PERSON, *match.span(1))
    for pattern in (_ENGLISH_TITLED, _ENGLISH_INTRODUCED, _ENGLISH_NAMED):
        for match in pattern.finditer(text):
            first = match[1].split()[0].lower()
            if first not in _NO_NAMES:
                yield Found(PiiKind.PERSON, *match.span(1))


def _name_end(text: str, start: int, end: int) -> int | None:
    """Return where a name ends that began with a surname; None when a word begins there."""
    surname = 2 if text[start : start + 2] in _COMPOUND.split("|") else 1
    longest = min(end, start + surname + 2)
    if text[start : start + 2] in _WORDS:
        return None
    for stop in range(longest, start + surname, -1):
        following = text[stop : stop + 1]
        goes_on = "\u4e00" <= following <= "\u9fff" and following not in _AFTER
        if not goes_on and text[stop - 1] not in _AFTER:
            return stop
    return None
