"""Who is to do what until when.

A sentence makes an action when somebody takes something on ("I'll send it", 我来写), is asked to
and agrees ("Lena, could you ...?" "Sure."), or is named as who does it ("Ben will book it",
由王芳负责). What is denied, past, merely possible or said about the talk itself ("I'll share my
screen") makes none. A later correction replaces owner or day, a cancellation removes the action,
and what is said again (a recap) is added to the citations of the first time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Final

from atrium_grounding import tokens
from atrium_meeting.domain.analysis.dates import DuePhrase, due_phrases
from atrium_meeting.domain.analysis.people import Mention, Person
from atrium_meeting.domain.analysis.reading import Reading
from atrium_meeting.domain.analysis.sentences import SPOKEN, Sentence
from atrium_meeting.domain.transcript import Span

_NEAR: Final = 6
"""Sentences back that "it", a reply or a correction may point to."""
ENOUGH: Final = 0.5
"""Strength that makes an action."""

# What one says one will do in the meeting itself.
_TALK_EN: Final = (
    r"(?:just |quickly |briefly |now |also |first |only |then |probably )*"
    r"(?:have (?:a (?!word|look)|an|the|to|some|another|one)\b(?!.*\b(?:ready|done|finished|for "
    r"you|by)\b)|take (?:a|the) (?:break|seat|coffee|bus|train)|"
    r"go home|(?:start|leave|arrive|return|travel|fly|stay|eat|sleep|play|watch)"
    r"(?: (?:on|at|in|for|with|early|late|by)|$|[.,])|"
    r"(?:meet|visit|see)(?:ing)? (?:my|him|her|them|you)\b|pay for|say|tell you|start|begin|kick|"
    r"show you|share my|go first|go next|go ahead|go with|hand|"
    r"pass|explain|"
    r"repeat|add (?:one|that|to that)|mention|note that|be (?:brief|quick|honest|short|frank|out|"
    r"away|on|"
    r"late|there|back|happy|glad|fine|able)|skip|stop|move on|read (?:out|it out)|pause|"
    r"give you (?:a|an|the|some) (?:quick|short|brief|example|idea|overview|update)|walk you|take "
    r"that as|put it|ask you|"
    r"admit|see|have to|need to (?:say|go|leave)|leave it (?:there|at)|come (?:back )?to|get "
    r"(?:back )?to|turn|"
    r"summari[sz]e|recap|wrap|close|keep (?:it|this) (?:short|brief)|second|miss|"
    r"let you|defer to|think|guess|assume|hear|imagine|understand|remember|agree|support|vote|jump|"
    r"open (?:the|this) (?:meeting|floor)|call on|note it|park)\b"
)
_PAST_VERBS: Final = (
    r"(?:\w+ed|was|were|had|did|sent|got|took|made|went|came|saw|found|gave|met|wrote|brought|"
    r"bought|paid|left|lost|"
    r"kept|ran|fell|spent|built|heard|spoke|told|held|stood|began|broke|chose|drove|felt|flew|"
    r"forgot|grew|knew|led|"
    r"meant|sold|taught|thought|understood|won|wore|sat|slept|tried|said|rang|drew|ate|hung|swore|"
    r"threw|woke|stuck)"
)
_STATES_EN: Final = (
    r"(?:start|leave|arrive|return|travel|fly|stay|eat|sleep|play|watch|go|decide|choose|propose|"
    r"suggest|vote|count|conclude|insist|have|am|think|know|guess|mean|hope|want|need|like|love|"
    r"hate|see|hear|agree|say|can|could|"
    r"would|should|might|may|"
    r"must|do|don't|won't|didn't|never|doubt|wish|wonder|suppose|believe|remember|prefer|"
    r"understand|trust|feel|"
    r"live|sleep|stay|keep|always|usually|often|sometimes|come from|work|get it|see it|support|"
    r"vote|care|swear|"
    r"appreciate|bet|admit|give up|say so)"
)
_SELF_EN: Final = re.compile(
    r"(?<![\w'])(?:(?P<will>i'll|i will|i'm going to|i am going to|i'm gonna|i shall|i promise to)|"
    r"(?P<can>i can|let me|i could|i'd be happy to|i'm happy to|i'd be glad to|i'd like to|"
    r"i want to|i plan to|i'm planning to|i need to|i have to|i should|i must)|"
    r"(?P<ing>i'm (?!going|sorry|meeting (?:my|him|her|them)|seeing|leaving|starting|staying|"
    r"flying|travel|\w+ed)\w+ing)|"
    rf"(?P<now>i(?: \w+ly| then| just)? (?!{_PAST_VERBS}\b|{_STATES_EN}\b)[a-z]{{3,}}))"
    rf"(?! not\b| {_TALK_EN}| (?:be|not|never)\b)"
)
_TAKE_EN: Final = re.compile(
    r"\blet me (?:handle|take (?:care|over|on)|deal|sort|organi[sz]e|arrange|look after|see to)\b|"
    r"\bi(?:'ll)? see to (?:it|that)|\bi(?:'ll)? (?:take care of|deal with|make sure)|"
    r"\bi'm on (?:the case|that)|\bmy (?:homework|job|task|to-?do) (?:is|will be)\b|"
    r"\b(?:expect|you'll (?:hear|get|have|see)) (?:my|from me)\b|\bi promise (?:you )?(?:to |a |"
    r"an |the |it)|"
    r"\b(?:is|are) on me\b|\bi(?:'ll| will) have (?:a word|a look|it|them) |"
    r"(?<![\w'])(?:i'll (?:take|own|do|handle) (?:it|that|this|on|care)|i'm on it|leave (?:it|"
    r"that|this) (?:with|to) me|"
    r"(?:that's|that one's|this one's) (?:on me|mine)|i(?:'ve| have) got (?:it|that|this)|count "
    r"on me|"
    r"i can (?:do|take|handle) (?:it|that|this)|will do|i volunteer|consider it done|happy to)\b"
)
_PROMISE_EN: Final = re.compile(
    r"\byou(?:'ll| will)? (?:get|have|receive|hear)\b.{0,40}\b(?:from me|my (?:\w+ )?\w+|"
    r"it (?:by|on|tomorrow)|me (?:by|on))"
    r"|\bgive me (?:until|till|a|two|one|three)\b|\b(?:is|are|will be) on your desk\b"
    r"|^(?:\w+, |not at all, |of course, )*you(?:'ll| will) (?:have|get) (?:it|them|that|this|"
    r"one)\b"
)
_HANDED_EN: Final = re.compile(
    r"\byou(?:'ll| will) |\byou (?:should|need to|have to|must|take|own)\b|"
    r"\b(?:has|have|needs?) to be\b|\bmust be\b|\bi (?:want|expect|need) .{2,40}from you|\bwill "
    r"you\?|\bdo us a favou?r|"
    r"^(?:okay |ok |and |so |then |right,? )?\w+, (?:please |also |then )?(?!i\b|i'|you|we|the|"
    r"what|who|when|where|why|how|is|are|do|"
    r"did|can|could|would|will|that|it|its|it's|your|my|any|and|so|this|have|has|was|were|in|on|"
    r"at|if|there|a|an|no|yes|not|thanks|"
    r"thank|good|great|don't|please|come|stop|wait|listen|look|tell|say|let)[a-z]+ \w+|"
    r"\b(?:(?:is|are) yours|over to you|(?:goes|go) to you|you're (?:in charge|responsible)|"
    r"leave (?:it|that|this|them) (?:to|with) you|you (?:do|take) (?:it|that|this)|your job)\b"
)
_YOU_EN: Final = re.compile(
    r"\byou (?!are|were|have|had|said|know|see|think|mean|look|did|do|never|always|could|might|"
    r"get|remember|want|like|told|can|should|would|will|must|may|and|or|all|two|seem|guys)[a-z]+"
)
_TALK_VERBS_EN: Final = (
    r"(?:drive|swim|speak|read|ride|lift|come|manage|do without|afford|cook|live with|"
    r"(?:close|open|shut) the|pass|turn (?:on|off|up|down|it)|move (?:a bit|over)|"
    r"tell|say|introduce|describe|explain|show|repeat|hear|see|speak|start|begin|go|open|"
    r"imagine|understand|"
    r"remember|believe|think|talk|walk|summari[sz]e|be|wait|hold|mute|share your screen|listen|"
    r"pass me|keep in mind|note)\b"
)
_ASK_EN: Final = re.compile(
    rf"(?<![\w'])(?:(?:can|could|would|will) you (?:please |also |then |maybe |perhaps |just "
    rf")*(?!{_TALK_VERBS_EN})|"
    rf"please (?!{_TALK_VERBS_EN}|no\b|not\b|don't)|i(?:'d| would) (?:like|want|ask) you to|"
    r"i need you to|are you able to|would you mind)"
)
_HE_EN: Final = re.compile(
    r"\b(?:she|he|they)(?:(?P<will>'ll| will| is going to| takes| does)|(?P<should> has to| have "
    r"to| needs to| should| must))\b"
    r"(?! (?:not|never|leave|go|be)\b)"
)
_LET_EN: Final = re.compile(r"\b(?:let|have|ask|assigned to|owned by|assign it to|give it to)$")
_OTHER_EN: Final = re.compile(
    r"^(?:,? (?:also|then|as well|too|please|from \w+|in \w+|and \w+),?)*"
    r"(?:(?P<will>'ll| will| is going to|'s going to| is gonna| are going to| takes? (?:over|care|"
    r"on|that|this|it)\b| owns?| is to| has agreed to| agreed to| "
    r"volunteered to| promised to| offered to| has volunteered to| is responsible for| is in "
    r"charge of|'s responsible for|"
    r"(?: sends?| writes?| books?| calls?| updates?| prepares?| fixes| checks?| orders?| "
    r"organi[sz]es?| finishes| reviews?| drafts?| collects?| talks to| handles?))"
    r"|(?P<should> should| needs to| has to| must| can| to))\b(?! (?:not|never|leave|go|be (?:out|"
    r"away|back|happy|on|late|here))\b)"
)
_RECAP_EN: Final = re.compile(
    r"\b(?:recap|summar|to sum up|action items?|actions?|next steps|to-?dos?|follow-?ups?|"
    r"wrap(?:ping)? up|"
    r"so we have|who does what|just to confirm)\b"
)
_MARKED_EN: Final = re.compile(
    r"\b(?:action (?:item|point)|to-?do|follow-?up)s?(?: (?:for|on) [\w ]{2,30}?)?(?: is|:|,)"
    r"|^(?:next )?action(?: for \w+)?:"
)
_NEED_EN: Final = re.compile(
    r"\b(?:(?:we|somebody|someone|one of us) (?:all )?(?:need|needs|have|has|must|should|will|"
    r"ought|are going)(?: to)?|we'll|"
    r"needs to be (?:done|sent|finished|ready|fixed|updated|signed|booked|ordered|written|checked)|"
    r"has to be (?:done|sent|finished|ready|fixed|updated|signed|booked|ordered))\b"
)
_UNSURE_EN: Final = re.compile(
    r"\b(?:if|unless|maybe|perhaps|might|may|would|wouldn't|could have|should have|would have|"
    r"wish|suppose|in theory|hypothetically|had planned|was going to|were going to|"
    r"used to|not sure|don't know|no idea|if i were|ideally|one day|someday|at some point|"
    r"thinking about|thought about|wondering|i was|we were)\b"
)
_NOT_EN: Final = re.compile(
    r"\b(?:won't|will not|can't|cannot|not going to|don't need to|doesn't need to|no need|needn't|"
    r"don't have to|doesn't have to|shouldn't|should not|isn't going to|never|no longer|not able|"
    r"don't think|rather not|nobody|didn't|did not|haven't|hasn't|don't want)\b"
)
_PAST_EN: Final = re.compile(
    r"\b(?:already|yesterday|last (?:week|month|year|time|night|sprint|\w+day)|earlier today|ago)\b"
)
_YES_EN: Final = re.compile(
    r"^(?:oh |um |uh |hm |well |and )*(?:with pleasure|it will|they will|they'll|you'll|you may|i "
    r"am\b|i can\b|my pleasure|of course|"
    r"not at all|no worries|sounds like a plan|you got it|on it|aye|as you wish|if you like|if i "
    r"must|fair enough|yes|yeah|yep|yup|sure|of course|ok|okay|absolutely|"
    r"definitely|certainly|no problem|"
    r"will do|gladly|happy to|fine|right|got it|sounds good|perfect|i'll|i will|i can|i'm on it|"
    r"alright|"
    r"all right|consider|great|good|agreed|deal|yes please|leave|noted|understood)\b"
)
_NO_EN: Final = re.compile(
    r"^(?:oh |um |uh |hm |well |actually |sorry |i'm afraid )*,? ?(?:no\b(?! problem| worries)|"
    r"nope|not really|"
    r"i(?:'m afraid| am afraid)? (?:can't|cannot|won't|don't have|do not have|couldn't|'d rather "
    r"not)|sorry|i'm sorry|"
    r"unfortunately|i'm afraid|i don't think|that won't|i'd rather|not (?:me|this|now)|don't "
    r"bother|"
    r"let's not|we don't need|that's not)"
)
_CANCEL_EN: Final = re.compile(
    r"\b(?:forget (?:it|that|about)|never ?mind|scratch that|drop (?:it|that|the)|cancel|no "
    r"longer need|"
    r"don't need (?:to|that|it|the)|doesn't need to|no need (?:to|for)|don't (?:do|send|book|"
    r"bother|write|order|need)|not necessary|"
    r"call (?:it|that) off|skip (?:it|that)|is off the (?:list|table)|take (?:that|it) off)\b"
)
_CHANGE_EN: Final = re.compile(
    r"\b(?:actually|instead|correction|rather|make (?:it|that)|change (?:it|that)|changed|move "
    r"(?:it|that|the)|push (?:it|that|the)|"
    r"sorry|scratch|on second thought|let's say|moved to|not [\w ]{2,20} but|swap|wait)\b"
)

_TALK_ZH: Final = (
    r"(?:先|再|就|来|简单|大概|给大家|跟大家|和大家|快速|稍微|顺便|也|想|这边|主要|首先|今天|一下|"
    r"接着|最后)*"
    r"(?:说|讲|介绍|补充|分享|总结|汇报|谈|聊|开始|问|提|解释|念|演示|主持|回顾|开个头|觉得|认为|"
    r"想|看看大家|听|同意|支持|赞成|理解|明白|回答|举|抛|强调|插|打断|说明|归纳|重复|确认一下大家|"
    r"宣布|投)"
)
_SELF_ZH: Final = re.compile(
    r"(?<![给让请叫由跟和对向帮找问是把被替陪等醒诉系知助持请教带])我(?!们)(?:这边|自己|一个人)?"
    r"(?!(?:也|都|还|倒|真|最|就)?(?:是|有|没|不|觉得|想(?!办法)|知道|认为|记得|喜欢|支持|同意|"
    r"理解|放心|明白|猜|以为|"
    r"感觉|希望|听|看(?!一)|爱|怕|懂|认识|忘|算|赞成|反对|选|先来|的|家|妈|爸|姐|哥|弟|妹|朋友|"
    r"老公|老婆|无所谓|认了|可不|说|笑|服|需要|缺|就是|刚|昨天|上周|去年|以前|负担|们|"
    r"同事|同学|领导|老板|助理|侄|室友))"
    r"(?![^，。]{0,7}(?:休假|上班|吃饭|搬家|旅游|旅行|结婚|回家|看病|请假|出差|生日|不在|下班|"
    r"放假|出国|体检|加班|"
    r"接孩子|得走|去玩|逛街|看电影|聚会))"
    rf"(?!{_TALK_ZH})(?P<how>[^，。；！？,.;!?]{{0,24}})"
)
_OWN_ZH: Final = (
    (re.compile(r"负责|牵头|认领|包了|搞定|保证|尽快|马上|立刻|回头|会后|散会"), 0.45),
    (re.compile(r"^(?:先|再|就|也|明天|今天|周.|下周.?)*(?:来|去)(?!年|晚|的)"), 0.35),
    (re.compile(r"会(?!议|儿|场|员)|把|将"), 0.25),
    (
        re.compile(r"给(?:你|您|大家|他|她|[^，。]{1,4}(?:打|发|写|留|送|寄))|发[到给]|一下|再"),
        0.25,
    ),
    (re.compile(r"[完好掉齐清出上](?:$|[，。])|完成|清楚|出来|起来|下来"), 0.25),
    (re.compile(r"今晚|现在就|这就"), 0.3),
    (
        re.compile(
            r"写|做|发|查|问|订|买|约|联系|整理|准备(?=[^，。])|安排|排|改|修|更新|通知|提交|"
            r"打电话|寄|取|拿|"
            r"起草|翻译|核对|确认|画|测|量|换|签|贴|印|申请|收集|统计|跟|对接|协调|上传|备份|汇总|"
            r"采购|退|报|"
            r"张罗|告诉|谈|送|带|搬|装|拆|列|算|打印|复印|拍|录|剪|布置|预约|找|盯"
        ),
        0.2,
    ),
    (re.compile(r"^[^，。]?(?:来|去)[^，。]"), 0.1),
    (re.compile(r"^[^，。来去]{1,2}(?:个|一个|一份|份|两|几)(?!人|月|小时|学徒|孩子)"), 0.15),
    (re.compile(r"可以|得(?!到)|能|想|要(?!求)|还"), -0.2),
)
_TAKE_ZH: Final = re.compile(
    r"我来(?:吧|订|写|弄|做|办|负责|跟|处理|搞|盯|安排|跟进)|交给我|包在我身上|我负责|我去办|"
    r"我可以(?:做|来|负责)|我接|我跟进|算我的|我盯|我认领|我揽|(?:这个|那个|这事|这件|这块|"
    r"就)?(?:(?<!不)归|算|交给)我(?:了|吧|[。！]|$)|我包了"
)
_TALK_VERBS_ZH: Final = (
    r"(?:先)?(?:自我)?(?:介绍|说|讲|聊|谈|分享|汇报|觉得|看看我|听|描述|解释|想|猜|记得|"
    r"认为|重复|开始|等)"
)
_ASK_ZH: Final = re.compile(
    rf"(?:你|您)(?:们)?(?:这边|那边)?(?!{_TALK_VERBS_ZH})(?:来|去|负责|先|能不能|能|可不可以|可以|"
    rf"把|帮|给|跟|再|记得|明天|今天|下周|这周|周|尽快|安排|准备|跟进|抽空|得|要|也|问|写|查|做|"
    rf"发|联系|整理|看)"
    rf"|(?:能不能|能|可以|可不可以|方便)(?:麻烦(?:你|您))|(?:能不能|能|可以|可不可以|方便)(?:发|"
    rf"给|帮|借|寄|留|拿|转)(?:给)?(?:我|个|一)|"
    rf"麻烦(?!了|大|的)(?:你|您)?|请(?:你|您)(?!{_TALK_VERBS_ZH})|拜托|辛苦(?:你|您)|帮(?:忙|我|"
    rf"大家)"
)
_HANDED_ZH: Final = re.compile(
    r"(?:归|交给|靠|派|算)(?:你|您)|(?:你|您)(?:负责|来|盯|跟)|辛苦(?:你|您)|(?:吧|一下|好吗|行吗|"
    r"可以吗|好不好|行不行|成吗)[，。？?！ ]*"
    r"(?:[\u4e00-\u9fff]{2,3})?[。？?！ ]*$|^[^，]{1,4}[，,]?(?:盯|跟|准备|联系|整理|写|查|问|订|"
    r"发|做|安排)一下"
)
_YOU_ZH: Final = re.compile(
    rf"你(?!呢|好|们?觉得|说|看呢|怎么|是|有|认为|猜|确定|知道|刚|那边|{_TALK_VERBS_ZH})|一下|$^"
)
_DELIVERS_ZH: Final = re.compile(
    r"(?:发|交|报|给|寄|送|转|告诉|拿)(?:给)?(?:你|您|大家)|发到?群|搞定|(?:做|写|改|弄|办|修|查|"
    r"问|订)(?:好|完|清楚)(?!了)"
)
_LEADS: Final = (
    "好",
    "那",
    "and",
    "so",
    "okay",
    "ok",
    "then",
    "great. and",
    "thanks",
    "还有",
    "嗯",
)
_HE_ZH: Final = re.compile(
    r"(?:^|[，,])(?:他|她)(?P<will>(?:会|来|去|负责|把|给|答应|说会|要)(?!过|了))"
)
_OBJECT_ZH: Final = re.compile(
    r"(?:告诉|跟|和|问|找|给|联系|通知|请教|向|对|替|帮|约|陪|催|谢谢|感谢|见)$"
)
_PROMISE_ZH: Final = re.compile(
    r"我的(?:任务|活儿?|作业)(?:就)?是|我的[^，。]{1,6}(?:给|发|交)(?:到)?(?:你|您|大家|群)|"
    r"还是我(?:自己)?(?:来|做|去|弄|写)"
)
_SENT_ZH: Final = re.compile(
    r"(?:让|由|请|叫)(?!我|你|您|大家|他|她|谁|人|别|孩子)(?P<who>[\u4e00-\u9fff]{2,4}?)(?:去|"
    r"来(?!的)|负责|跟进|牵头|办)"
)
_OTHER_ZH: Final = re.compile(
    r"^(?:这边|那边|同学|老师|经理|也|就|还|下来)?,?(?!(?:来|先|去)?(?:说|讲|介绍|谈|聊|汇报|分享|"
    r"开始))"
    r"(?P<will>来(?!过|了)|负责|会|去|把|跟进|牵头|承担|主导|对接|安排|准备|整理|给|将|先|尽快|做|"
    r"写|发|联系|更新|确认|提交|完成|"
    r"出|搞定|处理|组织|汇总|提供|修|改|落实|盯|拿|测|约|订|采购|买|起草|审|检查|补|梳理|协调|"
    r"收集|通知)"
    r"|^(?:这边|那边|也|就)?(?P<should>要|得|需要|应该|可以|必须)"
)
_BY_ZH: Final = re.compile(r"(?:由|让|请|叫|麻烦|辛苦|交给|派|安排|拜托|转给)[^，。我你]{0,4}$")
_RECAP_ZH: Final = re.compile(
    r"总结一下|回顾一下|梳理一下|汇总一下|过一遍|行动项|待办|分工|任务|小结|确认一下|复述|"
    r"重复一遍|再说一遍|捋一下"
)
_MARKED_ZH: Final = re.compile(r"行动项|待办(?:事项)?|任务(?:是|：|:)|分工")
_NEED_ZH: Final = re.compile(
    r"(?:我们|咱们|大家|得有人|有人|谁)?(?:还)?(?:需要|得|必须|要)(?:有人|尽快|在)?"
)
_UNSURE_ZH: Final = re.compile(
    r"如果|要是|假如|假设|万一|可能|也许|或许|说不定|考虑|本来|原来|原本|当时|要不要|是不是|该不该|"
    r"不知道|不确定|想过|最好是能|有机会|以后再|将来|再说吧|再看|曾经|差点"
)
_NOT_ZH: Final = re.compile(
    r"不会|不用|不要|不去|不来|不再|先不|别|没法|没空|没时间|不能|不可以|来不及|没办法|不需要|"
    r"没必要|不打算|不想|不必|不做|未必|不行|不负责|不是"
)
_PAST_ZH: Final = re.compile(
    r"已经|昨天|前天|上周|上个?月|上次|刚才|刚刚|之前(?:就|都|我|已)|"
    r"[发写做完成交改修测联系订约][完好过]了|(?<![就不])[^就不为]了(?!解|吗|没)|"
    r"[看来去做说试谈聊发写问]过(?!程|去)|早就|去年|(?:都|总)是|每(?:天|周|个?月|年)"
)
_YES_ZH: Final = re.compile(
    r"^(?:嗯+|哦|啊|呃|那)?[，, ]?(?:乐意|愿意|包在|交给|得嘞|没得说|遵命|听你的|好说|小事|好|行|"
    r"可以|没问题|没事|收到|明白|ok|对|是的|当然|嗯|我来|"
    r"我会|我明天|我去|我这|放心|交给我|成|同意|包在|了解|知道了|一定|必须)"
)
_NO_ZH: Final = re.compile(
    r"^(?:嗯+|哦|啊|呃|那个|其实)?[，, ]?(?:不行|不了|不用|不好意思|抱歉|对不起|恐怕|我没(?:空|"
    r"时间|法)|来不及|不太|我不|不是|没空|没时间|没办法|算了|别|先不|我这(?:周|边)?(?:没|不|排))"
)
_CANCEL_ZH: Final = re.compile(
    r"算了|取消|不用(?:做|发|写|去|弄|管|订|约|买|了|再|准备|联系|改)|先不(?:做|发|写|用|弄|订|约|"
    r"买)|不需要(?:做|了|再)|不必|作废|撤掉|停掉|拿掉|不搞了|不做了|不发了|别做了|没必要"
)
_CHANGE_ZH: Final = re.compile(
    r"改成|改到|改为|改由|换成|换|不对|更正|还是|不是[^，。]{1,12}(?:,|，)?(?:是|而是)|推迟到|"
    r"延到|提前到|往后|挪到|等等|应该是|说错"
)


_OFFER_EN: Final = re.compile(
    r"\b(?:shall i|should i|do you want me to|would you like me to|want me to|may i (?!ask|add|"
    r"say))"
)
_OFFER_ZH: Final = re.compile(r"(?:要不要|需不需要|要不|是不是)我")
_WHO: Final = re.compile(r"\bwho\b|\banyone\b|\banybody\b|\bsomebody\b|\bsomeone\b|谁|哪位|有人")
_WHO_WAS: Final = re.compile(
    r"\b(?:was|were|did|said|is (?:that|he|she|this)|are (?:they|you)|knows?|wants?|has|have|"
    r"agrees?|against|for|pays?)\b|"
    r"谁(?:是|说|知道|出钱|同意|反对|还|有|的)|那是谁"
)
_WAS: Final = re.compile(r"\b(?:did|was|were|has|have|does|is|had)\b|了(?:吗|没|么)|没有|过吗")
_ME: Final = re.compile(
    r"^(?:okay,? |well,? |sure,? |um,? )*(?:me\b(?! (?:too|neither))|i (?:will|can|do|could)\b(?! "
    r"not)|i'll\b|i'd (?:do|be happy)|"
    r"that would be me|my (?:job|turn)|mine\b)|^(?:好|行|嗯|那)?[，,]?(?:我[，。！,]|我(?:来|去|"
    r"可以|通知|负责|做|写|联系|订|查|问|找|跟))"
)
_CONDITION: Final = re.compile(
    r"^\s*(?:and |but |so |then )?(?:if|unless|in case|when we|如果|要是|假如|万一|除非)"
)
# Content words that tell one action from another no better than any sentence does.
_IDLE: Final = frozenset(
    "done finish readi task action item owner come find due deadlin date day end morn afternoon "
    "noon pleas "
    "volunt happi handl follow care week month today tomorrow tonight "
    "负责 完成 跟进 搞定 处理 明白 收到 没问题 可以 时间 之前 交给 我来 行动 待办 任务 麻烦 "
    "辛苦".split()
)


@dataclass(slots=True)
class Action:
    """Something to do, as found.

    Args:
        sentences: Indexes of the sentences it rests on, in order.
        main: Index of the sentence that says what is to be done.
        owner: Who does it; ``None`` when that is not said.
        due: Until when; ``None`` when that is not said.
        terms: What it is about.
    """

    sentences: list[int]
    main: int
    owner: Person | None
    due: DuePhrase | None
    terms: set[str] = field(default_factory=set)
    strength: float = 1.0


def find_actions(reading: Reading) -> tuple[list[Action], frozenset[int]]:
    """Return what the rules take for an action, sure or not, in order of the main sentences.

    With them come the indexes of sentences that make none, for what they say was refused or
    called off.
    """
    reader = _Reader(reading)
    return reader.read(), frozenset(reader.void)


def is_done(sentence: Sentence) -> bool:
    """Tell whether a sentence speaks of what was done, or of where somebody will be."""
    folded = sentence.folded
    return any(
        cue.search(folded) is not None for cue in (_rules(sentence).past, _CHECKED, _LEAVES, _AWAY)
    )


def is_request(sentence: Sentence) -> bool:
    """Tell whether a sentence asks somebody to do something."""
    return sentence.is_question or _rules(sentence).ask.search(sentence.folded) is not None


def spans_of(sentences: Sequence[Sentence], indexes: Sequence[int]) -> tuple[Span, ...]:
    """Return where sentences stand, in order, each once."""
    return tuple(span for i in sorted(set(indexes)) for span in sentences[i].spans)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What the reader looks for, in one language."""

    self: re.Pattern[str]
    take: re.Pattern[str]
    ask: re.Pattern[str]
    offer: re.Pattern[str]
    marked: re.Pattern[str]
    recap: re.Pattern[str]
    need: re.Pattern[str]
    unsure: re.Pattern[str]
    negated: re.Pattern[str]
    past: re.Pattern[str]
    yes: re.Pattern[str]
    no: re.Pattern[str]
    cancel: re.Pattern[str]
    change: re.Pattern[str]


_ENGLISH: Final = _Rules(
    _SELF_EN, _TAKE_EN, _ASK_EN, _OFFER_EN, _MARKED_EN, _RECAP_EN, _NEED_EN, _UNSURE_EN, _NOT_EN,
    _PAST_EN, _YES_EN, _NO_EN, _CANCEL_EN, _CHANGE_EN,
)  # fmt: skip
_CHINESE: Final = _Rules(
    _SELF_ZH, _TAKE_ZH, _ASK_ZH, _OFFER_ZH, _MARKED_ZH, _RECAP_ZH, _NEED_ZH, _UNSURE_ZH, _NOT_ZH,
    _PAST_ZH, _YES_ZH, _NO_ZH, _CANCEL_ZH, _CHANGE_ZH,
)  # fmt: skip
CUES: Final[Mapping[str, Mapping[str, re.Pattern[str]]]] = {
    language: {
        **{one.name: getattr(rules, one.name) for one in fields(_Rules)},
        "promise": promise,
        "handed": handed,
        "he": he,
        "who": _WHO,
        "who was": _WHO_WAS,
        "me": _ME,
    }
    for language, rules, promise, handed, he in (
        ("en", _ENGLISH, _PROMISE_EN, _HANDED_EN, _HE_EN),
        ("zh", _CHINESE, _PROMISE_ZH, _HANDED_ZH, _HE_ZH),
    )
}
"""What speaks for an action, or against one, by language."""
# "Forget the contract": not among the cues, which the learned score knows as they are.
_CALLED_OFF: Final = re.compile(
    r"\bforget (?:the|this|these|those|my|your|our)\b|\b(?:isn't|aren't|is not|are not|no longer) "
    r"(?:needed|necessary|required)\b"
)
_BARE: Final = {False: 4, True: 2}
"""Size of a sentence that takes something back and says nothing else, by whether it is Chinese."""
# Who leaves the meeting does something, and nobody minutes it.
_LEAVES: Final = re.compile(
    r"\bi (?:have to|need to|must|'ve got to) (?:leave|go|run|drop off)\b"
    r"|我(?:要|得|必须)先?(?:走|撤|下线)"
)
_AWAY: Final = re.compile(r"\bi'll be (?:on|out|away|back|in|there)\b|休假|请假|放假")
# "Daniel, you saw two of them, didn't you?" asks what happened; nobody is to do anything.
_CHECKED: Final = re.compile(
    r", (?:did|was|were|have|has)n't (?:you|he|she|they)\?|[了过][^，。]*，(?:对吧|是吧|对不对)"
)
_CLAUSE: Final = re.compile(
    r"[,;:，；：。]\s*|\s(?=(?:and|but|so) (?:i|we|you|he|she|they|then|could|can|please)\b)|"
    r"(?<=\w) [-–—] "
)


_AND: Final = re.compile(r"\b(?:and|but|while) $")
_DOES_EN: Final = re.compile(r"(?:'ll| will| is going to| should| has to| needs to| can| \w+s)\b")
# Somebody is away; the day is not that of anything to do.
_ABSENT: Final = re.compile(
    r"\b(?:i'm|i am|i'll be|i will be|he's|she's|\w+ is)\b.*\b(?:off|out|away|back|busy|"
    r"on (?:holiday|vacation|leave)|in (?:a|the) meeting|travel\w*|there|here)\b"
    r"|休假|请假|放假|出差|不在|没空|有事|休息"
)


@dataclass(frozen=True, slots=True)
class _Claim:
    """Somebody is to do something, says a clause."""

    owner: Person | None
    strength: float
    start: int
    end: int
    asked: bool = False


class _Reader:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._sentences = reading.sentences
        self._people = reading.people
        self._today = reading.today
        self._actions: list[Action] = []
        self._recap = -99
        self.void: set[int] = set()
        """Sentences of what was refused or called off."""

    def read(self) -> list[Action]:
        for i in range(len(self._sentences)):
            self._one(i)
        return sorted(self._actions, key=lambda action: action.main)

    def _one(self, i: int) -> None:
        sentence = self._sentences[i]
        rules = _rules(sentence)
        folded = sentence.folded
        if _LEAVES.search(folded):
            return
        dues = self._reading.dues(i)
        mentions = [
            mention
            for mention in self._reading.mentions(i)
            if all(mention.end <= due.start or mention.start >= due.end for due in dues)
        ]
        if rules.recap.search(folded):
            self._recap = i
        terms = self._terms(sentence, dues, mentions)
        called_off = rules.cancel.search(folded) or _CALLED_OFF.search(folded)
        if called_off and self._cancel(i, terms):
            return
        claims = self._claims(i, folded, rules, mentions, dues)
        if rules.change.search(folded) and self._change(i, claims, dues, mentions, terms):
            return
        for claim in claims:
            self._add(i, claim, claims, dues, terms)
        if not claims and (dues or mentions):
            self._complete(i, dues, mentions, terms)

    def _claims(
        self,
        i: int,
        folded: str,
        rules: _Rules,
        mentions: Sequence[Mention],
        dues: Sequence[DuePhrase],
    ) -> list[_Claim]:
        if _CHECKED.search(folded):
            return []
        sentence = self._sentences[i]
        claims: list[_Claim] = []
        before = ""
        for start, end in _clauses(folded, mentions):
            clause = folded[start:end]
            uncertain = bool(rules.unsure.search(clause)) or bool(_CONDITION.match(before))
            denied = bool(rules.negated.search(clause)) or bool(rules.past.search(clause))
            before = clause
            here = [m for m in mentions if start <= m.start < end]
            claim = self._claim(i, start, clause, folded, rules, here, mentions, uncertain, denied)
            if claim is None:
                continue
            claims.append(claim)
        owners = {claim.owner for claim in claims if claim.owner}
        if owners:
            claims = [claim for claim in claims if claim.owner]
        alone = len(owners) < 2
        claims = [
            replace(claim, strength=claim.strength + 0.35)
            if dues and claim.owner and not claim.asked and (alone or _dated(claim, dues))
            else claim
            for claim in claims
        ]
        if not alone and any(_dated(claim, dues) for claim in claims):
            claims = [c for c in claims if _dated(c, dues) or c.strength >= 0.8]
        merged: dict[Person | None, _Claim] = {}
        for claim in claims:
            known = merged.get(claim.owner)
            if known is None or claim.strength > known.strength:
                merged[claim.owner] = claim
        if not merged and rules.marked.search(folded) and not sentence.is_question:
            owner = mentions[0].person if mentions else None
            merged[owner] = _Claim(owner, 0.9, 0, len(folded))
        return list(merged.values())

    def _claim(
        self,
        i: int,
        start: int,
        clause: str,
        folded: str,
        rules: _Rules,
        here: Sequence[Mention],
        everyone: Sequence[Mention],
        uncertain: bool,
        denied: bool,
    ) -> _Claim | None:
        sentence = self._sentences[i]
        end = start + len(clause)
        me = self._people.of(sentence.speaker)
        if start == 0 and self._answers_who(i, folded) and not denied:
            return _Claim(me, 0.9, start, end)
        if rules.offer.search(clause):
            reply = self._reply(i)
            if reply is not None and _rules(self._sentences[reply]).yes.search(
                self._sentences[reply].folded
            ):
                return _Claim(me, 0.9, start, end)
            return None
        named = self._named(clause, start, here, everyone, sentence.language)
        if named is None and sentence.language == "zh" and (match := _SENT_ZH.search(clause)):
            at = start + match.start("who")
            named = Mention(at, start + match.end("who"), Person(match["who"])), 0.7
        if named and not denied:
            mention, strength = named
            if sentence.is_question and not rules.ask.search(clause):
                if _WAS.search(folded):
                    return None
                return _Claim(mention.person, 0.3, start, end, asked=True)
            strength -= 0.6 * uncertain
            return _Claim(mention.person, strength, start, end)
        if rules.take.search(clause) and not denied and not sentence.is_question:
            return _Claim(me, 1.0, start, end)
        if (match := rules.self.search(clause)) and not denied:
            strength = _own_strength(match, folded[start + match.start() :], sentence.language)
            strength -= 0.6 * uncertain + 0.6 * sentence.is_question
            return _Claim(me, strength, start, end)
        promise = _PROMISE_ZH if sentence.language == "zh" else _PROMISE_EN
        if promise.search(clause) and not denied:
            return _Claim(me, 0.6 - 0.6 * uncertain, start, end)
        called = [m for m in everyone if self._is_called(m, folded, sentence)]
        handed = called and any(
            cue.search(folded)
            for cue in (
                (_YOU_ZH, _HANDED_ZH) if sentence.language == "zh" else (_YOU_EN, _HANDED_EN)
            )
        )
        if not denied and (rules.ask.search(clause) or handed):
            owner = called[0].person if called else None
            return _Claim(owner, 0.3, start, end, asked=True)
        if (
            sentence.language == "zh"
            and not denied
            and not sentence.is_question
            and "你" not in clause[:2]
            and _DELIVERS_ZH.search(clause)
            and not re.search("我|他|她|谁", clause)
        ):
            return _Claim(me, 0.25 - 0.6 * uncertain, start, end)
        if rules.need.search(clause) and not denied and not uncertain:
            strength = 0.25 + 0.3 * any(
                phrase.deadline for phrase in due_phrases(sentence.text, None)
            )
            if sentence.is_question:
                strength = 0.1
            return _Claim(None, strength, start, end)
        return None

    def _answers_who(self, i: int, folded: str) -> bool:
        """Tell whether somebody says "Me" when it was asked who does something."""
        if i == 0 or self._sentences[i - 1].speaker == self._sentences[i].speaker:
            return False
        asked = self._sentences[i - 1]
        return (
            bool(_WHO.search(asked.folded))
            and not _WHO_WAS.search(asked.folded)
            and bool(_ME.search(folded))
        )

    def _is_called(self, mention: Mention, folded: str, sentence: Sentence) -> bool:
        """Tell whether somebody is spoken to: "Lena, could you", "can you, Ben?", 张伟，你..."""
        if mention.person.speaker in ("", sentence.speaker):
            return False
        before = folded[: mention.start].rstrip()
        after = folded[mention.end :].lstrip()
        opens = not before or before[-1] in ",，。.!?:：" or before in _LEADS
        closes = not after or after[0] in ",，。.!?:：、？！" or after.startswith(("你", "您"))
        return (opens and closes) or (bool(before) and before[-1] in ",，" and closes)

    def _named(
        self,
        clause: str,
        start: int,
        here: Sequence[Mention],
        everyone: Sequence[Mention],
        language: str,
    ) -> tuple[Mention, float] | None:
        """Return who is said to do it, and how surely."""
        for mention in here:
            rest = clause[mention.end - start :]
            lead = clause[: mention.start - start]
            if language == "zh" and _OBJECT_ZH.search(lead):
                continue
            rest = _without_days(rest).lstrip() if language == "zh" else rest
            match = (_OTHER_ZH if language == "zh" else _OTHER_EN).match(rest)
            if language == "zh" and match is None and _BY_ZH.search(lead) and len(rest) > 1:
                return mention, 0.7
            if language != "zh" and match is None and _LET_EN.search(lead):
                return mention, 0.6 if rest.startswith(" ") else 0.0
            if match:
                return mention, 0.8 if match["will"] else 0.4
        if everyone:
            match = (_HE_ZH if language == "zh" else _HE_EN).search(
                _without_days(clause) if language == "zh" else clause
            )
            before = [m for m in everyone if m.start < start + (match.start() if match else 0)]
            if match and before:
                return before[-1], 0.8 if match.groupdict().get("will") else 0.4
        return None

    def _add(
        self,
        i: int,
        claim: _Claim,
        claims: Sequence[_Claim],
        dues: Sequence[DuePhrase],
        terms: set[str],
    ) -> None:
        sentence = self._sentences[i]
        cited = [i]
        main = i
        owner, strength = claim.owner, claim.strength
        due = _due(dues, claim, claims)
        reply = self._reply(i)
        if reply is not None and (claim.asked or (owner and owner.speaker != sentence.speaker)):
            answer = self._sentences[reply]
            answered = owner is None or owner.speaker in ("", answer.speaker)
            rules = _rules(answer)
            if answered and rules.no.search(answer.folded):
                self.void |= {i, reply}
                return
            days = self._days_given(reply, owner or self._people.of(answer.speaker), terms)
            promised = days and not answer.is_question
            if answered and (rules.yes.search(answer.folded) or promised):
                if claim.asked:
                    owner = owner or self._people.of(answer.speaker)
                    strength = max(strength, 0.9)
                    cited.append(reply)
                if due is None and days:
                    due = days[0]
        if len(claims) > 1:
            inside = sentence.folded[claim.start : claim.end]
            terms = {term for term in terms if term in set(tokens.words(inside))} or terms
        if len(terms) < 2 and not claim.asked:
            back = self._meant(i, terms)
            if back is not None:
                asked = self._sentences[back]
                told = _rules(asked)
                if told.ask.search(asked.folded) or told.need.search(asked.folded):
                    main = back
                cited.append(back)
                dues_back = due_phrases(self._sentences[back].text, self._today)
                due = due or (dues_back[0] if dues_back else None)
                terms = terms | self._terms(
                    self._sentences[back],
                    dues_back,
                    self._reading.mentions(back),
                )
            elif not terms:
                return
        self._keep(Action(sorted(cited), main, owner, due, terms, strength), i)

    def _keep(self, action: Action, i: int) -> None:
        """Add an action, or what is new of it to the same one said before."""
        for known in reversed(self._actions):
            shared = known.terms & action.terms
            smaller = min(len(known.terms), len(action.terms))
            overlap = len(shared) / smaller if smaller else 0.0
            touching = set(known.sentences) & set(action.sentences)
            same_owner = known.owner is None or action.owner is None or known.owner == action.owner
            # One word of two ("send") makes two things to do one only where one person does both.
            enough = 0.5 if known.owner == action.owner else 0.6 if same_owner else 0.75
            recap = i - self._recap < 12
            if (touching and same_owner) or (
                len(shared) >= (1 if smaller < 3 else 2)
                and overlap >= enough
                and (same_owner or recap)
            ):
                known.sentences = sorted({*known.sentences, *action.sentences})
                known.owner = action.owner or known.owner
                known.due = action.due or known.due
                if action.strength > known.strength and known.strength < ENOUGH:
                    known.main = action.main
                known.strength = max(known.strength, action.strength)
                known.terms |= action.terms if len(known.terms) < 3 else set()
                return
        self._actions.append(action)

    def _cancel(self, i: int, terms: set[str]) -> bool:
        # "No need." takes back what was just said; "No need for new desks." is about desks.
        bare = self._sentences[i].size <= _BARE[self._sentences[i].language == "zh"]
        target = self._target(i, terms, near=bare)
        if target is None:
            return False
        self._actions.remove(target)
        self.void |= {*target.sentences, i}
        return True

    def _change(
        self,
        i: int,
        claims: Sequence[_Claim],
        dues: Sequence[DuePhrase],
        mentions: Sequence[Mention],
        terms: set[str],
    ) -> bool:
        target = self._target(i, terms)
        owners = [claim.owner for claim in claims if claim.owner] or [
            m.person for m in mentions if m.person.speaker
        ]
        if target is None or not (dues or owners):
            return False
        if claims and len(terms - target.terms) > 2:
            return False
        if dues:
            target.due = dues[-1]
        if owners and not (len(owners) == 1 and owners[0] == target.owner):
            target.owner = owners[-1]
            if terms & target.terms:
                target.main = i  # the old sentence asks somebody else
        target.sentences = sorted({*target.sentences, i})
        return True

    def _complete(
        self, i: int, dues: Sequence[DuePhrase], mentions: Sequence[Mention], terms: set[str]
    ) -> None:
        """Give the day that was left open, as in "By Friday." after "When?"."""
        if not dues or len(terms) > 1 or not self._actions:
            return
        last = self._actions[-1]
        given = self._days_given(i, last.owner, last.terms)
        if given and last.due is None and i - last.sentences[-1] <= 3:
            last.due = given[0]
            last.sentences = sorted({*last.sentences, i})

    def _days_given(self, i: int, owner: Person | None, terms: set[str]) -> list[DuePhrase]:
        """Return the days that a sentence gives for something that ``owner`` is to do.

        They are none of its days where their clause says that somebody is away or what others
        are to do; nor, in what others say, where it is about other things than ``terms`` and sets
        no limit ("by").
        """
        sentence = self._sentences[i]
        mentions = self._reading.mentions(i)
        own = owner is not None and owner.speaker == sentence.speaker
        found: list[DuePhrase] = []
        for start, end in _clauses(sentence.folded, mentions):
            dues = [due for due in self._reading.dues(i) if start <= due.start < end]
            clause = sentence.folded[start:end]
            named = any(start <= one.start < end and one.person != owner for one in mentions)
            if not dues or _ABSENT.search(clause) or named:
                continue
            days = {word for due in dues for word in tokens.words(due.text)}
            about = set(tokens.words(clause)) - SPOKEN - _IDLE - days
            if own or {word for word in about if len(word) > 1} <= terms:
                found += dues
            else:
                found += [due for due in dues if due.deadline]
        return found

    def _target(self, i: int, terms: set[str], *, near: bool = True) -> Action | None:
        """Return the action that a sentence speaks of; with ``near``, the last one at a pinch."""
        best: tuple[float, Action] | None = None
        for action in self._actions:
            shared = len(action.terms & terms)
            worth = shared / max(1, min(len(action.terms), len(terms)))
            if shared and worth >= 0.3 and (best is None or worth >= best[0]):
                best = (worth, action)
        if best:
            return best[1]
        if near and len(terms) <= 1 and self._actions:
            last = max(self._actions, key=lambda action: action.sentences[-1])
            if i - last.sentences[-1] <= _NEAR:
                return last
        return None

    def _reply(self, i: int) -> int | None:
        """Return the first sentence that somebody else says next."""
        speaker = self._sentences[i].speaker
        for j in range(i + 1, min(i + 5, len(self._sentences))):
            if self._sentences[j].speaker != speaker:
                return j
        return None

    def _meant(self, i: int, terms: set[str]) -> int | None:
        """Return the sentence that "I'll do that" points back to.

        Chinese that names what is done ("我来订会议室") points only to what names it, too.
        """
        for j in range(i - 1, max(-1, i - _NEAR), -1):
            sentence = self._sentences[j]
            rules = _rules(sentence)
            folded = sentence.folded
            if not sentence.terms:
                continue
            if terms and self._sentences[i].language == "zh" and not terms & set(sentence.terms):
                continue
            if rules.ask.search(folded) or rules.need.search(folded) or sentence.is_question:
                return j
        return None

    def _terms(
        self, sentence: Sentence, dues: Sequence[DuePhrase], mentions: Sequence[Mention]
    ) -> set[str]:
        text = list(sentence.text)
        for start, end in [(d.start, d.end) for d in dues] + [(m.start, m.end) for m in mentions]:
            text[start:end] = " " * (end - start)
        return {
            term for term in tokens.words("".join(text)) if len(term) > 1 and term not in SPOKEN
        } - _IDLE


def _rules(sentence: Sentence) -> _Rules:
    return _CHINESE if sentence.language == "zh" else _ENGLISH


def _without_days(text: str) -> str:
    """Return a text without the days in it: who does it stands beside what, then."""
    for phrase in reversed(due_phrases(text, None)):
        text = text[: phrase.start] + text[phrase.end :]
    return text


def _clauses(folded: str, mentions: Sequence[Mention] = ()) -> list[tuple[int, int]]:
    """Return the clauses of a sentence; one begins where the next person is named ("and Lena")."""
    cuts = {0, len(folded), *(match.end() for match in _CLAUSE.finditer(folded))}
    cuts |= {
        mention.start
        for mention in mentions
        if _AND.search(folded[: mention.start]) and _DOES_EN.match(folded[mention.end :])
    }
    return [(a, b) for a, b in pairwise(sorted(cuts)) if b > a]


def _own_strength(match: re.Match[str], rest: str, language: str) -> float:
    if language == "zh":
        how = match["how"]
        return 0.15 + sum(worth for pattern, worth in _OWN_ZH if pattern.search(how))
    if match["will"]:
        return 0.7
    if match["can"]:
        return 0.4 if match["can"].startswith(("let", "i can", "i'd be", "i'm happy")) else 0.1
    return 0.25


def _dated(claim: _Claim, dues: Sequence[DuePhrase]) -> bool:
    return any(claim.start <= due.start < claim.end for due in dues)


def _due(dues: Sequence[DuePhrase], claim: _Claim, claims: Sequence[_Claim]) -> DuePhrase | None:
    """Return the day of a claim: in its own clause, or in one that nobody else claims."""
    others = [other for other in claims if other is not claim]
    mine = [
        due
        for due in dues
        if claim.start <= due.start < claim.end
        or not any(other.start <= due.start < other.end for other in others)
    ]
    return max(
        mine,
        key=lambda due: (due.day is not None, due.deadline, claim.start <= due.start < claim.end),
        default=None,
    )
