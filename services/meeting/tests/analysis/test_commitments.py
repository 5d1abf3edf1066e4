"""Small pieces of talk and what they settle.

In a decision's talk the lines go round among three people, and the one with a star is what the
others then hold to; talk without a star settles nothing. In an action's talk the lines with a plus
make the action, and behind the arrow stand its owner and the words for its day.
"""

# ruff: noqa: E501 (a talk is read best on one line)

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from atrium_meeting.domain.analysis.meeting import analyse
from atrium_meeting.domain.minutes import MinutesType
from atrium_meeting.domain.transcript import Speaker, Transcript

Talk = Callable[..., Transcript]
MONDAY = date(2026, 3, 9)

ENGLISH_DECISIONS = (
    "Which colour do we print, blue or green?|Green reads better from afar.|*Green it is, then.|Fine by me.",
    "So do we cancel the trip?|I'd say yes, half the team is ill.|*Okay, the trip is off.|A pity, but right.",
    "We have both quotes on the table.|Northwind is cheaper and faster.|*Let's go for Northwind then.|Good, I'm with you.",
    "I propose we drop the second newsletter.|Seconded.|*All in favour? That's everyone, so the second newsletter is dropped.",
    "*We stick to two languages for this year.|Understood.",
    "So the vote is four to one.|*Four to one for the wooden floor, so we get the wooden floor.",
    "*Okay then, no overtime in August.|Finally.",
    "*Right, we'll hire the second candidate.|Yes, she was clearly the best.",
    "*The budget stays at forty thousand, and that's my last word.|Okay, okay.",
    "*Everyone happy with Thursday evenings? Good, Thursday evenings it is.",
    "*So we've got a winner, the red logo.|Hooray.",
    "*From July on, expenses go through the new tool only.|Got it.",
    "*I decide that now, we skip the fair this year.|Fair enough.",
    "*As agreed then, we start with the pilot in Leeds.|Perfect.",
    "Red, blue, I don't care any more.|*Then red, before we all fall asleep.|Amen.",
    "What if we give the money to the school instead?|I like that.|*The school gets it.|Lovely.",
    "*The printer from Ulm it is.",
    "*We meet on Tuesdays from now on.|That suits me.",
    "Let's see what the others say.|Okay.",
    "Let's start with the numbers.|Fine.",
    "Then I had to walk home.|Oh no.",
    "We haven't decided about the colour yet.|Right.",
    "If we took the bigger hall, we'd need more chairs.|True.",
    "Maybe we should paint it.|Let's talk about that next month.",
    "We could move the fair to June.|No, June is full.",
    "Should we buy a new printer?|Let me think about it.",
    "Last year we decided to skip it.|I remember.",
    "We always take the train.|Me too.",
    "So, who's next?|Me.",
    "That's settled in the law anyway.|Yes.",
    "Then let's hear Maria.|Okay.",
    "I'd go for the blue one.|I'm not sure.",
    "We can decide that in the autumn.|Good.",
    "I think we should wait.|Yes, maybe.",
)

CHINESE_DECISIONS = (
    "蓝色还是绿色？|绿色远看清楚。|*那就绿色了。|好的。",
    "旅行还去吗？|一半人都病了。|*行，旅行取消。|可惜了，不过也对。",
    "两家报价都在这儿。|北风便宜，还快。|*咱们选北风吧。|同意，我也看好北风。",
    "*好，发布改到五月十号。|有道理。",
    "新价格大家有意见吗？|没有。|我没意见。|*那从下周一起卖九块。",
    "我提议停掉第二份简报。|附议。|*同意的举手，全票，第二份简报停掉。",
    "能不能租大一点的车？|*可以，两天都租大车。|太好了。",
    "*今年就做两种语言，不加了。|明白。",
    "春节要不要关门？|我觉得要。|我也觉得。|*那就定了，除夕到初六关门。",
    "*预算维持四十万，不再讨论了。|好吧好吧。",
    "*周四晚上大家都行吧？行，就周四晚上。",
    "*红色标志胜出，就用它。",
    "都可以。|*那选小厅，没人反对吧？好。",
    "*七月起报销一律走新系统。|收到。",
    "标志呢？|*还是用老的。|对，用老的。",
    "*那就先在利城试点。|没问题。",
    "*就这么说定了，游园会在院子里办。",
    "*最后决定用第一套方案。|支持。",
    "*大家一致认为应该延期，那就延到六月。|好。",
    "红的蓝的，我无所谓了。|*那红的吧，再不定大家都睡着了。|同意。",
    "*支持里斯本的举手，五个。支持波尔图的？两个。那就里斯本。",
    "没有更好的主意了？|没有。|*那抽奖保留。",
    "先听听别人怎么说。|好。",
    "我们先看数字。|行。",
    "后来我就走回家了。|真惨。",
    "颜色还没定。|对。",
    "要是租大厅，就得多借椅子。|是啊。",
    "也许该刷一下墙。|下个月再说吧。",
    "可以挪到六月。|不行，六月满了。",
    "要不要买台新打印机？|我想想。",
    "去年我们决定不去的。|我记得。",
    "我们一般坐火车。|我也是。",
    "那下一个谁？|我。",
    "那先请李老师说。|好。",
    "我更想要蓝色的。|我不确定。",
    "这个秋天再定。|好。",
    "我觉得还是等等。|嗯。",
    "别忘了还有税。|对。",
)

ENGLISH_ACTIONS = (
    "+Ben: I'll call the printer first thing tomorrow.|Anna: Thanks. => Ben;tomorrow",
    "+Ben: I'm going to draft the letter over the weekend.|Anna: Nice. => Ben;",
    "+Ben: Leave the invoice to me, I'll sort it out by Tuesday. => Ben;by Tuesday",
    "Anna: Who books the hotel?|+Ben: I can do that. => Ben;",
    "Anna: Somebody should check the licences.|+Ben: I'll take that one. => Ben;",
    "+Anna: Could you send the minutes round, Ben?|+Ben: Will do. => Ben;",
    "+Anna: Ben takes care of the catering. => Ben;",
    "+Anna: Ben is going to talk to the landlord before Friday. => Ben;before Friday",
    "+Anna: I need you to sign the papers by noon, Ben.|+Ben: Okay, no problem. => Ben;",
    "+Ben: You'll get the first version from me on Monday. => Ben;on Monday",
    "+Ben: I'm writing to the council tonight. => Ben;tonight",
    "+Anna: And the posters?|+Ben: I'm picking them up on Saturday. => Ben;on Saturday",
    "+Anna: Then please order the chairs this week, Ben.|+Ben: Consider it done. => Ben;this week",
    "+Anna: My colleague Mrs Lang will send you the contract next week. => Mrs Lang;next week",
    "+Anna: The electrician has to replace the cable before we open, I've told Mr Reed, he does it on Monday. => Mr Reed;on Monday",
    "+Anna: Ben, can you look into the complaint?|+Ben: Yes, I'll get back to you by Wednesday. => Ben;by Wednesday",
    "+Ben: I volunteer for the tombola. => Ben;",
    "+Ben: I'd like to test it myself first, you get my answer by Monday. => Ben;by Monday",
    "+Anna: That one goes to Ben.|+Ben: Sure, I'll fix the form until Thursday. => Ben;until Thursday",
    "+Ben: Okay, I'll ask the bank about the loan. => Ben;",
    "+Ben: I'll let Mrs Gray know about the new date today. => Ben;today",
    "+Ben: Fine, then I prepare two samples for our next meeting. => Ben;",
    "+Anna: Would you bring the projector next time?|+Ben: Yes, of course. => Ben;",
    "+Anna: Okay Ben, the invitations are yours.|+Ben: They go out on Monday. => Ben;on Monday",
    "+Ben: I'll do the dishes rota and hang it in the kitchen. => Ben;",
    "+Ben: The flowers are on me, I get them on the way here on Friday. => Ben;on Friday",
    "+Ben: Let me handle the insurance, I know the lady there. => Ben;",
    "+Anna: Ben, the key has to be back at the office by Monday.|+Ben: It will be. => Ben;by Monday",
    "+Ben: I promise you a first sketch by the end of the week. => Ben;by the end of the week",
    "+Ben: Expect my comments tomorrow. => Ben;tomorrow",
    "Ben: I'll be on holiday next week.|Anna: Enjoy.",
    "Ben: I'll never understand that.|Anna: Me neither.",
    "Ben: I'll have a coffee, please.|Anna: Here.",
    "Ben: I sent it to you on Monday.|Anna: Oh, right.",
    "Ben: I was going to call them, but then I forgot.|Anna: Hm.",
    "Ben: I would call them if I had the number.|Anna: True.",
    "Ben: I could ask my brother, maybe.|Anna: No, leave it.",
    "Anna: Can you drive a truck?|Ben: Yes.",
    "Anna: Could you close the window?|Ben: Sure.",
    "Anna: Could somebody take the minutes?|Ben: Hm.",
    "Anna: Ben, could you do the talk in May?|Ben: No, I'm away in May.",
    "Ben: They will send us an invoice.|Anna: As always.",
    "Ben: The train leaves on Friday.|Anna: Okay.",
    "Ben: I start on Monday.|Anna: Nice.",
    "Ben: I'm meeting my sister on Saturday.|Anna: Say hello.",
    "Ben: I'll tell you a story.|Anna: Please.",
    "Ben: It will rain on Sunday.|Anna: I hope not.",
    "Ben: We should really clean the cellar one day.|Anna: Yes.",
    "Ben: I worked on the parser yesterday.|Anna: Good.",
    "Anna: Did Ben call the bank?|Ben: I did, on Tuesday.",
    "Ben: I might look at it tomorrow.|Anna: Only if you have time.",
    "Ben: I have to leave at five.|Anna: Okay.",
)

CHINESE_ACTIONS = (
    "+小本: 信我周末起草。|安娜: 好。 => 小本;周末",
    "+小本: 发票交给我，周二之前弄好。 => 小本;周二之前",
    "安娜: 酒店谁订？|+小本: 我来订。 => 小本;",
    "安娜: 许可证得有人查一下。|+小本: 这个归我。 => 小本;",
    "+安娜: 小本，传单你翻译一下行吗？|+小本: 行，周三给你。 => 小本;周三",
    "+安娜: 会议纪要你发一下，小本。|+小本: 好嘞。 => 小本;",
    "+安娜: 餐饮由小本负责。 => 小本;",
    "+安娜: 小本周五之前去跟房东谈。 => 小本;周五之前",
    "+安娜: 让小本月底之前核对一下数字。|小本: 好的。 => 小本;月底之前",
    "+小本: 初稿下周一发给大家。 => 小本;下周一",
    "+小本: 数据我周四前准备好。 => 小本;周四前",
    "+小本: 我今晚就给街道写信。 => 小本;今晚",
    "+安娜: 海报呢？|+小本: 周六我去取。 => 小本;周六",
    "+安娜: 那椅子这周订了吧，小本。|+小本: 没问题，包在我身上。 => 小本;这周",
    "+安娜: 我同事郎姐下周把合同寄给您。 => 郎姐;下周",
    "+安娜: 电线要换，我跟李师傅说过了，他周一来换。 => 李师傅;周一",
    "+安娜: 小本，你去了解一下那个投诉？|+小本: 好，周三之前给您答复。 => 小本;周三之前",
    "+小本: 抽奖我来张罗。 => 小本;",
    "+安娜: 小本，总结你来写对吧？|+小本: 对，明天晚上之前。 => 小本;明天晚上之前",
    "+小本: 那我去问银行贷款的事。 => 小本;",
    "+小本: 我今天就告诉郭老师改期的事。 => 小本;今天",
    "+安娜: 下次带上投影仪好吗，小本？|+小本: 好。 => 小本;",
    "+安娜: 请柬就归你了，小本。|+小本: 周一寄出去。 => 小本;周一",
    "+小本: 我排个值日表贴在厨房。 => 小本;",
    "+小本: 表格我尽快修。 => 小本;",
    "+小本: 回头我把链接发群里。 => 小本;",
    "+安娜: 小本盯一下施工进度，有情况随时说。|+小本: 收到。 => 小本;",
    "+小本: 我争取周五把原型做出来。 => 小本;周五",
    "+小本: 花算我的，周五来的路上我买。 => 小本;周五",
    "+小本: 保险的事我来办，我跟那边熟。 => 小本;",
    "小本: 我下周休假。|安娜: 好好玩。",
    "小本: 我永远搞不懂这个。|安娜: 我也是。",
    "小本: 周一我发给你了。|安娜: 哦对。",
    "小本: 我本来要打电话，后来忘了。|安娜: 嗯。",
    "小本: 要是有号码我就打了。|安娜: 是啊。",
    "小本: 我可以问问我哥，不一定。|安娜: 算了。",
    "安娜: 你会开卡车吗？|小本: 会。",
    "安娜: 关一下窗户好吗？|小本: 好。",
    "安娜: 谁来做记录？|小本: 呃。",
    "安娜: 小本，五月的报告你来讲吧？|小本: 不行，五月我不在。",
    "小本: 他们会寄发票来。|安娜: 老样子。",
    "小本: 火车周五开。|安娜: 好。",
    "小本: 我周一开始上班。|安娜: 不错。",
    "小本: 我周六跟我姐吃饭。|安娜: 替我问好。",
    "小本: 我给大家讲个笑话。|安娜: 讲吧。",
    "小本: 周日会下雨。|安娜: 别吧。",
    "小本: 哪天真得收拾一下地下室。|安娜: 是。",
    "小本: 昨天我改了解析器。|安娜: 好。",
    "安娜: 小本给银行打电话了吗？|小本: 打了，周二打的。",
    "小本: 明天我可能看一眼。|安娜: 有空再说。",
    "小本: 我五点得走。|安娜: 行。",
    "小本: 我下周要搬家。|安娜: 辛苦。",
)


@pytest.mark.parametrize("said", [*ENGLISH_DECISIONS, *CHINESE_DECISIONS])
def test_what_is_decided_is_found_and_nothing_else(talk: Talk, said: str) -> None:
    lines = said.split("|")
    transcript = talk(
        *(f"{'ABC'[i % 3]}: {line.lstrip('*')}" for i, line in enumerate(lines)),
        language="zh" if said in CHINESE_DECISIONS else "en",
    )
    starred = {f"u{i}" for i, line in enumerate(lines, start=1) if line.startswith("*")}
    analysis = analyse(transcript, day=MONDAY, kind=MinutesType.AGENDA)
    found = [
        {span.utterance for i in decision.sentences for span in analysis.sentences[i].spans}
        for decision in analysis.decisions
    ]
    assert len(found) == bool(starred)
    assert all(cited & starred for cited in found)


@pytest.mark.parametrize("said", [*ENGLISH_ACTIONS, *CHINESE_ACTIONS])
def test_what_somebody_takes_on_is_found_and_nothing_else(talk: Talk, said: str) -> None:
    lines, _, expected = said.partition(" => ")
    chinese = said in CHINESE_ACTIONS
    transcript = talk(
        *(line.lstrip("+") for line in lines.split("|")), language="zh" if chinese else "en"
    )
    names = ("安娜", "小本") if chinese else ("Anna", "Ben")
    present = {speaker.display_name for speaker in transcript.speakers}
    silent = [Speaker(f"S{9 - i}", name) for i, name in enumerate(names) if name not in present]
    transcript = Transcript(1, (*transcript.speakers, *silent), transcript.utterances)
    found = analyse(transcript, day=MONDAY, kind=MinutesType.AGENDA).actions
    owner, _, due = expected.partition(";")
    assert [action.owner.name if action.owner else "" for action in found] == (
        [owner] if owner else []
    )
    if due:
        assert [action.due.text if action.due else "" for action in found] == [due]


def test_a_later_word_changes_the_owner_or_the_day(talk: Talk) -> None:
    transcript = talk(
        "Anna: Ben, could you send the budget to the bank by Friday?",
        "Ben: Sure.",
        "Anna: Actually, make the budget Thursday instead.",
    )
    [action] = analyse(transcript, day=MONDAY).actions
    assert action.owner is not None
    assert action.due is not None
    assert (action.owner.name, str(action.due.day)) == ("Ben", "2026-03-12")


def test_what_is_called_off_is_no_action(talk: Talk) -> None:
    transcript = talk(
        "Ben: I'll order the flyers tomorrow.",
        "Anna: Forget about the flyers, we don't need them.",
    )
    assert analyse(transcript, day=MONDAY).actions == ()


def test_a_recap_is_added_to_the_citations(talk: Talk) -> None:
    transcript = talk(
        "Ben: I'll book the room for the workshop by Friday.",
        "Anna: Thanks. How is your mother?",
        "Ben: Better, thank you.",
        "Anna: To recap, Ben books the room for the workshop by Friday.",
    )
    [action] = analyse(transcript, day=MONDAY).actions
    assert action.sentences[0] == 0
    assert len(action.sentences) == 2


def test_a_misheard_name_is_still_the_speakers(talk: Talk) -> None:
    transcript = talk(
        "Anna: Hello Magdalena.",
        "Magdalena: Hello.",
        "Anna: Magdelena will write the report by Friday.",
    )
    [action] = analyse(transcript, day=MONDAY).actions
    assert action.owner is not None
    assert action.owner.speaker == "S2"
