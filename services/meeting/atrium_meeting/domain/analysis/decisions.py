"""What was decided, out of sentences that are scored.

Few decisions say that they are one. :mod:`acts` scores each sentence, among other things by the
cues below: "it's settled", 就这么定, "then we take ...", 那就, assent, no objection when asked for
it; questions, conditions, what is put off or turned down. Sentences that follow each other and
score well make a decision. What is said again (a recap) is added to the citations of the first
time.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from atrium_grounding import tokens
from atrium_meeting.domain.analysis.dates import due_phrases
from atrium_meeting.domain.analysis.sentences import SPOKEN, Sentence

_TINY_WORDS: Final = 3
_BIAS: Final = -2.5
"""Of a sentence that nothing speaks for."""
_WEIGHTS: Final = {
    "strong": 1.73,
    "lets": 0.83,
    "we": 1.34,
    "led": 0.9,
    "opener": 0.43,
    "plain": 0.22,
    "open": -1.14,
    "asks": -1.2,
    "assent": 1.68,
    "mild assent": 0.3,
    "dissent": -0.33,
    "support": 0.22,
    "much support": 0.62,
    "consent": 1.4,
    "echo": 0.95,
    "chair": 0.28,
    "tiny": -1.26,
}
"""What each sign is worth: a logistic regression over the scripted meetings for tuning."""
_PLAIN_WORDS: Final = 16
"""A decision that no phrase announces is said in a few words."""
_FEW_SENTENCES: Final = 12
"""In so few nobody shows to lead."""
_NEAR: Final = 3
"""Sentences before that may hold the proposal."""
_TELLING: Final = 2
_MANY_TERMS: Final = 8
_TERM: Final = 0.7
"""What a further term is worth, in log odds, when one sentence is to say what was decided."""
_QUESTION: Final = 0.5
"""What is taken off where it is a question."""
"""Content words of a sentence that tells what was decided."""

_STRONG_EN: Final = re.compile(
    r"\b\w+ it is\b(?=[,.! ]*(?:then)?[,.! ]*$)|\b(?:done deal|that's (?:a )?final|we(?:'ve| "
    r"have) got a winner|we have a winner|i decide (?:that|this|now)|"
    r"as agreed|it's a yes|it's a no|that's a yes|motion carried|the ayes|by (?:four|five|six|"
    r"seven|three|two) (?:votes )?to|"
    r"(?:is|are|be|gets?) (?:hereby )?(?:dropped|cancelled|canceled|postponed|adopted|rejected|"
    r"off)\b|so we (?:get|do|take|have)|"
    r"we (?:stick|stay|go ahead) (?:to|with)|last word|go (?:for|with) \w+ then)\b"
    r"|\b(?:(?:it's|it is|that's|that is|is|are|was|all|then) (?:now )?(?:settled|decided|agreed|"
    r"approved|a deal|final|done then|carried|"
    r"accepted|confirmed)|we(?:'ve| have)? (?:all )?(?:decided|agreed|settled|voted|approved|"
    r"resolved|chose|chosen)|"
    r"(?:the )?(?:motion|proposal|budget|plan) (?:is |has been )?(?:passes|passed|carried|carries|"
    r"approved|accepted|adopted)|"
    r"decision(?: is|:| made)|our decision|final (?:decision|answer|call)|unanimous|it's official|"
    r"we(?:'ll| will| shall)? (?:go|stick|stay) with|we're going with|let's go with|let's stick "
    r"with|i(?:'ll| will)? (?:take|count) that as|"
    r"then (?:that's|it's) (?:it|what we)|so we do that|so be it|let's settle on|we settle (?:on|"
    r"for)|that's what we(?:'ll)? do|"
    r"we(?:'re| are) all (?:agreed|in favou?r|on board)|"
    r"decided then|agreed then|carried)\b"
)
_THEN_EN: Final = re.compile(
    r"^(?:(?:okay|ok|good|great|fine|right|alright|well|perfect|excellent|yes|no|hmm|all right|"
    r"and)[,.]? )*(?:then|so|in that case|that means|therefore)\b,? "
    r"(?!i\b|i'(?!d say)|you|he\b|she\b|they\b|who|what|how|why|where|when|is\b|are\b|do\b|does\b|"
    r"did\b|can\b|let me|carry|that's|it's (?:not|just)|there|next|far|much|many|that\b)"
    r"|[,.] then[.!]*$"
)
_LETS_EN: Final = re.compile(
    r"\b(?:let's|let us) (?!have (?:a|some|another)\b|hear\b|not (?:waste|rush|get|go)|see\b|"
    r"start|begin|move|go (?:on|through|"
    r"around|back|to)|"
    r"continue|carry on|talk|discuss|look|get|come|wait|think|hear|check in|say|turn|hope|be |"
    r"face|call it a day|cook|wrap|"
    r"close|finish|eat|break|meet|try to|recap|assume|imagine|pretend|do a round|do this "
    r"(?:quickly|fast))"
)
_WE_EN: Final = re.compile(
    r"\b(?:we(?:'ll| will| are going to|'re going to)? (?:take|choose|pick|do|use|keep|buy|drop|"
    r"hire|open|close|serve|move|postpone|"
    r"cancel|launch|ship|stay|start|stop|raise|lower|cut|skip|accept|reject|build|rent|order|"
    r"switch|paint|print|"
    r"invite|extend|replace|allow|pay|leave|wait|hold|put|go|sign|limit|split|publish|release|"
    r"delay|plant|offer|set|merge|"
    r"make|run|sell|give|change|ban|introduce|remove|support|freeze|repeat|try|adopt|approve|"
    r"charge|plan)|"
    r"(?:will be|is going to be|goes|go|gets|stays?|is (?:out|in|off|on)|wins?|it is)|"
    r"nobody (?:\w+s)\b|no one (?:\w+s)\b|everybody (?:\w+s)\b|from now on|until further notice|"
    r"as of|starting)\b"
)
_CONDITION: Final = re.compile(
    r"^(?:and |but |so |well,? )?(?:if|unless|in case)\b|^(?:那|但)?(?:如果|要是|假如|万一|除非)"
)
_OPENER_EN: Final = re.compile(
    r"^(?:okay|ok|good|great|fine|right|alright|all right|perfect|excellent)\b"
)
_OPENER_ZH: Final = re.compile(r"^(?:好|行|可以|那好|嗯)(?:的|吧|了)?[，。,]")
_FACT_EN: Final = re.compile(
    r"^(?:\w+,? )?(?:i|you|he|she|they|it's|that's|there|there's|this|what|who|how|why|my|your|"
    r"their|his|her)\b"
    r"|\b(?:had|went|came|got|said|took|made|told|saw|knew|thought|always|usually|already|at the "
    r"moment|currently|every|because|since|know|need|have|has|have to|tried|feel|love|hope|too|"
    r"very|"
    r"really|still|almost|about|says?|wants?|costs?|looks?|seems?|arrives?|works?|lives?|runs|"
    r"takes|"
    r"stops|called|ready|out of|again|missing|broken|afford|not sure|ever|own|than|would|like|"
    r"people|"
    r"sold|left|met|were|was|did|nobody knows|comes?|happens?|closed)\b"
    r"|(?<!is )(?<!are )(?<!be )(?<!gets )(?<!get )\b\w{3,}ed\b"
)
_FACT_ZH: Final = re.compile(
    r"^就[^，。]{1,5}[一二三四两几]位|"
    r"我(?!们)|你|您|他|她|它|吗|呢|谁|是(?!不)|有|像|多(?!数)|挺|太|真|很|最|更|得|才|已经|一般|"
    r"平时|经常|现在|说|觉得|想|知道|昨|去年|上|"
    r"没|过[，。]|"
    r"(?<!不[^，。])(?<!取消)(?<!定)(?<!停)(?<!延期)(?<!不[^，。]{2})(?<!不[^，。]{3})了[，。]|"
    r"的[。，]|[！]|听|看|问|块|万|百|千|因为|但|可惜|就是|谢谢|辛苦|再见|回见|早$"
)
_DATED: Final = re.compile(
    r"\b(?:is|are|starts?|opens?|begins?|will be) (?:on|at|in|for) (?:the |monday|tuesday|"
    r"wednesday|thursday|friday|saturday|sunday|"
    r"january|february|march|april|may|june|july|august|september|october|november|december|\d)"
    r"|[\d一二三四五六七八九十]+月[\d一二三四五六七八九十]*[号日]?[^，。]{0,6}(?:开|上|办|举|启|"
    r"搬|发|起)"
)
_CONSENT_EN: Final = re.compile(
    r"\b(?:nobody minds|(?:anyone|anybody) minds?|hands up|show of hands|(?:any|no|are there any) "
    r"objections?|anyone (?:against|opposed|object)|anybody "
    r"(?:against|opposed|object)|"
    r"(?:is )?(?:everyone|everybody|anybody|anyone|all) (?:fine|okay|ok|happy|agreed|in favou?r|"
    r"on board|with me|against)|"
    r"(?:is that|are you|are we all|sound) (?:okay|ok|good|fine|agreed|all right)|all in favou?r|"
    r"all agreed|hands up|"
    r"who(?:'s| is) (?:for|in favou?r|against)|be against|shall we vote|do we agree|does everyone "
    r"agree|speak up|opposed)\b"
)
_ASSENT_EN: Final = re.compile(
    r"^(?:fair enough|a pity|makes sense|got it|finally|hooray|i'm with|that's reasonable|"
    r"reasonable|enough is|good call|good choice|"
    r"can't argue|you're right|hear hear|bravo|yay|thumbs up|with pleasure|so be it|hurray|sold|"
    r"great choice|(?:yes|yeah|okay|good|great|fine|sure),? (?:let's|we|that|keep|i'm|she|he|it|"
    r"this|the)|"
    r"suits me|suits us|i can do that|that suits|what a relief|better (?:safe|that way)|i'll "
    r"drink|we're in|good to (?:know|hear)|at last)"
    r"|^(?:oh |well |and |hm+,? |um |okay,? |yes,? |fine,? )*(?:agreed|agree|i agree|me too|same "
    r"here|fine|works for me|i can (?:work|live) with|i'm (?:in|fine|for|happy|good|ok|relieved|"
    r"glad|with)|"
    r"sounds (?:good|great|fine|right|fair)|good|great|perfect|excellent|deal|clear|understood|"
    r"exactly|yes|yeah|yep|okay|ok|alright|"
    r"about time|music|finally|no objections?|none|not from me|seconded|in favou?r|i'd support|i "
    r"support|happy|absolutely|"
    r"wonderful|fair|right|thank (?:god|goodness|you)|thanks|nice|love|cool|so do i|count me|i "
    r"can|aye|done|noted|makes sense|"
    r"that's (?:fine|good|fair|great|right|what)|hooray|lovely|brilliant|sure|all right|let's do|"
    r"i like|no problem|i'm convinced|"
    r"it's a deal|very well|amen|settled|that works|i have nothing against|nothing against|nobody|"
    r"no one|then we)\b"
)
_WEAK_ASSENT: Final = re.compile(
    r"^(?:oh |well |and )*(?:yes|yeah|yep|okay|ok|right|good|great|thanks?|thank you|true|sure|"
    r"alright|nice|cool|fair|noted|done|"
    r"nobody|no one|none)[.!, ]*$"
    r"|^(?:嗯+|对+|好+的?|行|是的?|ok|谢谢|没有)[。！，!. ]*$"
)
_DISSENT_EN: Final = re.compile(
    r"^(?:hm+,? |well,? |um |oh |but )*(?:no\b(?! objection| problem)|not (?:yet|so|really|from|"
    r"again|now)|but|wait|hold on|i disagree|i don't|i'm not|i'd rather|"
    r"are you|that's too|isn't|we can't|never|please (?:no|not)|really\?|i doubt|over my|why)"
)
_OPEN_EN: Final = re.compile(
    r"\b(?:if|unless|maybe|perhaps|might|could|would|should|can we|(?<!of )may(?! \d)|not yet|"
    r"haven't|hasn't|"
    r"undecided|not sure|later|another day|"
    r"next time|some day|one day|postpone the decision|think about it|we'll see|i think|i guess|"
    r"suppose|imagine|what if|propose|suggest|"
    r"don't know|remind me|was|were|did|last (?:year|week|month|time)|used to|have been|talk "
    r"about|discuss|come (?:back )?to|"
    r"decide (?:that|it|this|about|in|on|later|next|when)|to decide|in autumn|wait for|i'd(?! say "
    r"(?:we|it|that))|he'd|"
    r"she'd|they'd|in theory|normally|usually|"
    r"hear me|hear you|start with|begin with|my turn|can't|carry on|doesn't matter|nothing)\b"
)

_STRONG_ZH: Final = re.compile(
    r"胜出|一致认为|(?:四|五|六|七|三|二|两)比(?:零|一|二|三|四)|不再讨论|就用(?:它|这)|"
    r"(?:我)?拍板|那就定|定了[，。！]|(?:一律|全部)(?:走|用|改)|取消(?:吧|。|！|$)|改到|"
    r"就这么(?:定|办|做|着)|就这样(?:定|办)|(?:决定|敲定|确定|定|说定|拍板)(?:了|下来|就)|"
    r"(?:一致)?通过(?:了|。|，|$)|一致(?:同意|决定|通过)|"
    r"(?:大家|我们)(?:都|一致)?(?:决定|同意(?!吗|不)|达成)|决定(?:是|采用|选|用|把|在|不|由|先|就|"
    r"[^，。]{0,6}了)|最终(?:选|用|方案|决定)|拍板|说好了|就(?:它|他|她|这个|这家|那家|这款|"
    r"这套)了|"
    r"就按[^，。]{1,14}(?:办|来|做|定|走)|定(?:在|为|成|到)(?!位)|听你的|照办|表决通过|全票"
)
_THEN_ZH: Final = re.compile(
    r"(?:^|，)(?:好|行|可以|对|嗯|没错|ok|那好|好的|好吧|既然[^，]{1,14}|所以)?[，, "
    r"]?(?:那(?:么)?(?:就|我们就|咱们就|这次|我们|咱们|好)|就|所以(?:就|我们)?)|^那|^(?:那)?(?:好|"
    r"行|对|可以)的?[，,]"
)
_DO_ZH: Final = (
    r"(?:选|用|采用|改|换|买|办|开(?!始|会|车|玩)|定(?!期)|放|摆|保留|取消|推迟|延期|延长|接受|"
    r"收下|砍|试(?!过)|上线|发布|涨|降|签|订|租|装|贴|"
    r"停|留|搬|种|刷|印|加(?!班)|减|分|合并|暂停|启动|继续(?!说|聊)|不|做|走|按|招|请|给|卖|送|拆|"
    r"关|投|写进|执行|安排|转|增|删|撤|调|禁|统一|外包|采购|付|补)"
)
_WE_ZH: Final = re.compile(
    rf"(?:^|，)(?:那|好|行|对)?(?:就(?!是|算|会)|我们|咱们|先(?!说|聊|谈|看)|还是|统一|一律|全部|"
    rf"都|把)[^，。]{{0,6}}{_DO_ZH}(?!的|过)"
    rf"|(?:^|，)(?:{_DO_ZH}(?!过|行|是|好|对|错|算|想|知|同|清|用|会|要|得|了|能|少|多|不|到|"
    rf"上)[^，。]{{2,10}})[。！]?$"
    r"|(?:^|，)以后[^，。]{0,4}(?:一律|每|都)|谁都(?:别|不)|一律|从[^，。]{1,8}(?:起|开始)|不再|"
    r"以后(?:都|就|不)|统一"
)
_LED_ZH: Final = re.compile(
    r"就(?!是|算|会|问|想|怕|剩|得|差|这|行|别|好像|我|先|开始|继续|等|来|走|好)[^，。]{2,12}"
    r"(?:吧|了)?[。！]?$"
    rf"|{_DO_ZH}(?!的|过)[^，。]{{0,16}}"
)
_CONSENT_ZH: Final = re.compile(
    r"(?:有人|没人|谁)介意|有(?:没有)?(?:人)?(?:反对|异议|意见|不同意)|(?:没|都没)(?:有)?(?:意见|"
    r"异议|问题)吧|没人反对|"
    r"同意(?:吗|的|的举手|不同意)|举手|表决|"
    r"大家(?:觉得)?(?:同意吗|都同意|可以吧|没意见)|谁反对|反对的|都行吧"
)
_ASSENT_ZH: Final = re.compile(
    r"^(?:嗯+|哦|啊|那)?[，, ]?(?:我)?(?:也|都|完全|举双手|双手)?(?:同意|赞成|支持|没意见|没问题|"
    r"没异议|可以|行|好|明白|收到|清楚|对|太好了|放心|正合|成|就这么|就等|附议|"
    r"能安排|接受|满意|早该|终于|ok|是|嗯|要得|不反对|没有|无异议|认了|听你的|选|投|能|这个时间|"
    r"合适|就这样|谢谢|妥|说得对|没人|定了|总算|皆大欢喜|喜欢|赞)"
)
_DISSENT_ZH: Final = re.compile(
    r"^(?:嗯+|哦|啊|那|可是|但|不过)?[，, ]?(?:不行|不同意|反对|我不|不好|等等|等一下|不对|先别|"
    r"别|不一定|还是|为什么|凭什么|万一|可是|但是|不过|求你|再想想|再看看)"
)
_OPEN_ZH: Final = re.compile(
    r"必须|目标|我就不|开工|吃饭|^就[^，。]{1,5}[一二三四两几]位|请[^，。]{0,6}(?:说|讲|谈|介绍|"
    r"发言|开始)|如果|要是|假如|可能|也许|或许|要不(?!是)|能不能|是不是|该不该|考虑|"
    r"还没(?:定|决定|想好)|没定|未定|再(?:说|定|看|议|想|决定|讨论)|以后|下次|改天|到时候|不确定|"
    r"不知道|"
    r"建议|我觉得|我想|我看|的话|怎么样|好像|去年|上次|上周|以前|之前(?:就|也|是|我|他|都(?!别|"
    r"不))|昨天|当时|应该|问过|试过|聊过|讨论|先聊|先说|开始吧|散会|听得到|等秋天|(?:才|"
    r"刚)[^，。]{0,6}|那我|那你|我来|我去|那边|那会|那个|那家(?!了)|那天|那时|那棵|那位|那次|那里|"
    r"那儿|那些|那样|谁(?!都)|多少|什么|几[点个号家位]|哪"
)


# Whoever excuses themselves decides nothing, though others say that it is no problem; nor does
# whoever gives somebody the floor or closes the meeting.
_EXCUSE: Final = re.compile(
    r"(?:i'm |i am )?(?:so |very )?(?:sorry|excuse me)\b|不好意思|抱歉|对不起"
    r"|(?:(?:and|so|then|okay|ok|good),? )*let's (?:hear|listen)\b"
    r"|.{0,4}今天(?:就|先|的会)?(?:到|开到)(?:这|此)"
)

# What tells that something is decided, and not what (stems).
_DECIDING_WORDS: Final = SPOKEN | frozenset(
    "agre settl decid fine deal great perfect final also then 决定 同意 定 就 这么 可以".split()
)
_SURE: Final = 4.0
"""Log odds of a sentence that decides whatever is said around it."""
_ADDS: Final = re.compile(
    r"^(?:and|also|next|second(?:ly)?|third(?:ly)?|finally|last(?:ly)?)\b|\balso\b"
    r"|^(?:另外|还有|同时|然后|其次|第[二三四]|最后|接下来)|^[^，。]{0,6}也"
)
_CHANGES: Final = re.compile(
    r"\b(?:instead|rather than|after all|no longer|moved? (?:it |that )?to|postponed?|"
    r"changed? (?:it |that )?to|brought forward)\b"
    r"|改[成到为由]|换成|推迟到|提前到|延到|延期到|而不是"
)
# Whoever refuses or objects decides nothing, and nothing rests on it. Not among the cues, which the
# learned score knows as they are.
_REFUSES_EN: Final = re.compile(
    r"^(?:(?:well|oh|um|hm+|but|and),? )*(?:no\b[,.!]? *)?(?:(?:i'm |i am )?(?:so |very )?sorry\b|"
    r"i(?: really)? (?:disagree|don't agree|do not agree|object|can't|cannot|won't)\b|"
    r"i'm (?:against|not (?:available|here|in favou?r|happy))\b|i am against\b|unfortunately\b|"
    r"not (?:me|from me)\b)|^no[,.! ]+i(?:'m| am| can't| have)\b|^(?:no|nope|never)[.!]*$"
)
_REFUSES_ZH: Final = re.compile(
    r"^(?:嗯+|哦|啊|那|可是|但是?|不过|不)?[，, ]?(?:我们?)?(?:也|都|还是|坚决|完全)?"
    r"(?:不同意|反对|不赞成|不支持|不可以|不行)(?!的|吗|就|不)"
)


CUES: Final[Mapping[str, Mapping[str, re.Pattern[str]]]] = {
    "en": {
        "strong": _STRONG_EN,
        "then": _THEN_EN,
        "lets": _LETS_EN,
        "we": _WE_EN,
        "consent": _CONSENT_EN,
        "open": _OPEN_EN,
        "opener": _OPENER_EN,
        "fact": _FACT_EN,
        "assent": _ASSENT_EN,
        "weak assent": _WEAK_ASSENT,
        "dissent": _DISSENT_EN,
        "condition": _CONDITION,
        "excuse": _EXCUSE,
    },
    "zh": {
        "strong": _STRONG_ZH,
        "then": _THEN_ZH,
        "we": _WE_ZH,
        "led": _LED_ZH,
        "consent": _CONSENT_ZH,
        "open": _OPEN_ZH,
        "opener": _OPENER_ZH,
        "fact": _FACT_ZH,
        "assent": _ASSENT_ZH,
        "weak assent": _WEAK_ASSENT,
        "dissent": _DISSENT_ZH,
        "condition": _CONDITION,
        "excuse": _EXCUSE,
    },
}
"""What speaks for a decision, or against one, by language."""


@dataclass(slots=True)
class Decision:
    """A decision, as found.

    Args:
        sentences: Indexes of the sentences it rests on, in order.
        main: Index of the sentence that says what was decided.
        strength: How sure it is; 0 is enough.
    """

    sentences: list[int]
    main: int
    strength: float


def decisions_in(
    sentences: Sequence[Sentence],
    scores: Sequence[float],
    alone: Sequence[float],
    groups: Iterable[Sequence[int]],
    enough: float,
) -> list[Decision]:
    """Return the decisions that stand at the end of the meeting, in order.

    Args:
        sentences: Of the meeting.
        scores: How sure it is of each that it decides.
        alone: The same, of each by itself: which of a group says it.
        groups: Indexes of sentences that together may decide something.
        enough: How sure the surest sentence of a decision must be.
    """
    found: list[Decision] = []
    apart = (
        part
        for group in groups
        for part in _apart(sentences, scores, [i for i in group if _stands(sentences, i)], enough)
    )
    for group in apart:
        surest = max(group, key=lambda i: scores[i])
        if scores[surest] < enough or _EXCUSE.match(sentences[surest].folded):
            continue
        telling = [i for i in group if len(set(sentences[i].terms)) >= _TELLING]
        main = max(telling, key=lambda i: alone[i] + _says(sentences[i]), default=-1)
        if main < 0:
            main = _proposal(sentences, surest)
        decision = Decision(sorted({*group, main}), main, scores[surest] - enough)
        found = [one for one in found if not _supersedes(sentences, decision, one)]
        same = _same(sentences, found, decision)
        if same is None:
            found.append(decision)
        else:
            same.sentences = sorted({*same.sentences, *decision.sentences})
    return found


def _apart(
    sentences: Sequence[Sentence], scores: Sequence[float], group: Sequence[int], enough: float
) -> Iterator[list[int]]:
    """Yield the sentences of each decision of a group.

    The next one begins where, after an answer to the last, a sentence settles something else.
    """
    part: list[int] = []
    about: set[str] = set()
    settled = False
    for i in group:
        decides = scores[i] >= enough and not sentences[i].is_question
        words = _words_of(sentences[i]) - _DECIDING_WORDS
        answered = any(
            sentences[j].speaker != sentences[i].speaker for j in range(part[-1] if part else i, i)
        )
        settles = decides and _settles(sentences, i)
        if (
            (scores[i] >= _SURE or (settles and settled))
            and len(words) >= _TELLING
            and answered
            and about
            and not words & about
        ):
            yield part
            part, about, settled = [], set(), False
        part.append(i)
        if decides:
            about |= words
            settled |= settles
    if part:
        yield part


def _settles(sentences: Sequence[Sentence], i: int) -> bool:
    """Tell whether a sentence decides by its own words, or adds a decision that others agree to."""
    sentence = sentences[i]
    chinese = sentence.language == "zh"
    if (_STRONG_ZH if chinese else _STRONG_EN).search(sentence.folded):
        return True
    answers = _answers(sentences, i)
    return bool(_ADDS.search(sentence.folded)) and (answers.strong or answers.mild)


def _stands(sentences: Sequence[Sentence], i: int) -> bool:
    """Tell whether a sentence may belong to a decision: it refuses nothing and is not refused."""
    if _refuses(sentences[i]):
        return False
    speaker = sentences[i].speaker
    after = sentences[i + 1 : i + 1 + _NEAR]
    reply = next((one for one in after if one.speaker != speaker), None)
    return reply is None or not _refuses(reply)


def _supersedes(sentences: Sequence[Sentence], decision: Decision, known: Decision) -> bool:
    """Tell whether a decision says that something decided before is to be otherwise."""
    new, old = sentences[decision.main], sentences[known.main]
    if new.index <= old.index or not _CHANGES.search(new.folded):
        return False
    dues = [due for one in (new, old) for due in due_phrases(one.text, None)]
    idle = _DECIDING_WORDS.union(*(tokens.words(due.text) for due in dues), ("instead",))
    about, before = set(new.terms) - idle, set(old.terms) - idle
    shared = about & before
    return bool(shared) and len(shared) >= 0.5 * min(len(about), len(before))


def _refuses(sentence: Sentence) -> bool:
    """Tell whether somebody refuses or objects; what they say decides nothing."""
    pattern = _REFUSES_ZH if sentence.language == "zh" else _REFUSES_EN
    return pattern.search(sentence.folded) is not None


def _says(sentence: Sentence) -> float:
    """Return how much a sentence says of what was decided, in log odds."""
    words = min(len(set(sentence.terms)), _MANY_TERMS)
    return _TERM * words - _QUESTION * sentence.is_question


def strength_of(sentences: Sequence[Sentence], i: int, chair: str) -> float:
    """Return how surely a sentence decides, by rules alone; minus infinity: not at all.

    Args:
        sentences: Of the meeting.
        i: Which sentence.
        chair: Who leads the meeting.
    """
    sentence = sentences[i]
    chinese = sentence.language == "zh"
    folded = sentence.folded
    strong = (_STRONG_ZH if chinese else _STRONG_EN).search(folded)
    then = (_THEN_ZH if chinese else _THEN_EN).search(folded)
    lets = None if chinese else _LETS_EN.search(folded)
    we = (_WE_ZH if chinese else _WE_EN).search(folded)
    consent = (_CONSENT_ZH if chinese else _CONSENT_EN).search(folded)
    opened = (_OPEN_ZH if chinese else _OPEN_EN).search(folded)
    asks = sentence.is_question and not consent
    led = bool(then) or (
        i > 0
        and not sentence.first
        and bool((_THEN_ZH if chinese else _THEN_EN).search(sentences[i - 1].folded))
    )
    opener = bool((_OPENER_ZH if chinese else _OPENER_EN).search(folded))
    if not opener and i > 0 and not sentence.first:
        opener = bool((_OPENER_ZH if chinese else _OPENER_EN).search(sentences[i - 1].folded))
    plain = sentence.size <= _PLAIN_WORDS and not (_FACT_ZH if chinese else _FACT_EN).search(folded)
    weak_we = bool(we or _DATED.search(folded)) or (
        chinese and led and bool(_LED_ZH.search(folded))
    )
    asked_alone = sentence.is_question and bool(consent)
    if not (strong or lets or weak_we or plain or (opener and led)):
        return -math.inf
    if asked_alone and not (strong or lets or (weak_we and led)):
        return -math.inf
    if _CONDITION.search(folded) and not consent:
        return -math.inf
    answers = _answers(sentences, i)
    support = _support(sentences, i)
    signs = {
        "strong": strong,
        "lets": lets,
        "we": weak_we,
        "led": led,
        "opener": opener,
        "plain": plain,
        "open": opened,
        "asks": asks,
        "assent": answers.strong,
        "mild assent": answers.mild and not answers.strong,
        "dissent": answers.dissent,
        "support": support == 1,
        "much support": support > 1,
        "consent": answers.asked or consent or _voted(sentences, i),
        "echo": _echoes(sentences, i),
        "chair": sentence.speaker == chair,
        "tiny": sentence.size < _TINY_WORDS,
    }
    return _BIAS + sum(_WEIGHTS[name] for name, there in signs.items() if there)


@dataclass(slots=True)
class _Answers:
    """How the others take it: what they say at once."""

    strong: bool = False
    mild: bool = False
    dissent: bool = False
    asked: bool = False


def _answers(sentences: Sequence[Sentence], i: int) -> _Answers:
    """Return how the others take what a sentence says."""
    speaker = sentences[i].speaker
    answers = _Answers()
    heard: set[str] = set()
    j = i + 1
    while j < len(sentences) and sentences[j].speaker == speaker and j <= i + 2:
        chinese = sentences[j].language == "zh"
        if (_CONSENT_ZH if chinese else _CONSENT_EN).search(sentences[j].folded):
            answers.asked = True
        j += 1
    for k in range(j, min(j + 4, len(sentences))):
        answer = sentences[k]
        if answer.speaker == speaker or answer.speaker in heard or answer.is_question:
            break
        heard.add(answer.speaker)
        chinese = answer.language == "zh"
        if (_DISSENT_ZH if chinese else _DISSENT_EN).search(answer.folded):
            answers.dissent = True
            break
        if (_ASSENT_ZH if chinese else _ASSENT_EN).search(answer.folded):
            mild = bool(_WEAK_ASSENT.search(answer.folded))
            answers.mild |= mild
            answers.strong |= not mild
            continue
        break
    return answers


def chair_of(sentences: Sequence[Sentence]) -> str:
    """Return who leads the meeting: who asks most, opens and closes it; empty where nobody does."""
    worth: Counter[str] = Counter()
    for sentence in sentences:
        worth[sentence.speaker] += 1 if sentence.is_question else 0
    if len(sentences) < _FEW_SENTENCES:
        return ""
    worth[sentences[0].speaker] += 5
    worth[sentences[-1].speaker] += 2
    return worth.most_common(1)[0][0]


def _echoes(sentences: Sequence[Sentence], i: int) -> bool:
    """Tell whether a sentence takes up words that others have just said."""
    terms = _words_of(sentences[i])
    return any(
        before.speaker != sentences[i].speaker and bool(terms & _words_of(before))
        for before in sentences[max(0, i - 5) : i]
    )


def _words_of(sentence: Sentence) -> set[str]:
    """Return what a sentence is about; numbers and short Chinese words too."""
    return set(tokens.words(sentence.text)) | set(sentence.terms)


def _voted(sentences: Sequence[Sentence], i: int) -> bool:
    """Tell whether the same speaker has just asked for votes or objections."""
    for j in range(i - 1, max(-1, i - 6), -1):
        if sentences[j].speaker != sentences[i].speaker:
            if sentences[j].size > 5:
                return False
            continue
        chinese = sentences[j].language == "zh"
        if (_CONSENT_ZH if chinese else _CONSENT_EN).search(sentences[j].folded):
            return True
    return False


def _support(sentences: Sequence[Sentence], i: int) -> int:
    """Return how many short words of support were said just before."""
    count = 0
    for j in range(i - 1, max(-1, i - 1 - _NEAR), -1):
        sentence = sentences[j]
        chinese = sentence.language == "zh"
        if sentence.speaker == sentences[i].speaker or sentence.size > 12:
            break
        if not (_ASSENT_ZH if chinese else _ASSENT_EN).search(sentence.folded):
            break
        count += 1
    return count


def _proposal(sentences: Sequence[Sentence], i: int) -> int:
    """Return the sentence that "it's settled" points to."""
    near = [
        *takewhile(
            lambda j: not _refuses(sentences[j]), range(i - 1, max(-1, i - 1 - 2 * _NEAR), -1)
        )
    ]
    same = (
        i + 1 if i + 1 < len(sentences) and sentences[i + 1].speaker == sentences[i].speaker else i
    )
    if len(set(sentences[same].terms)) >= 2 and not sentences[same].is_question:
        return same
    return next((j for j in near if len(set(sentences[j].terms)) >= 2), i)


def _same(
    sentences: Sequence[Sentence], found: Sequence[Decision], decision: Decision
) -> Decision | None:
    terms = set(sentences[decision.main].terms)
    for known in reversed(found):
        if set(known.sentences) & set(decision.sentences) or known.main == decision.main:
            return known
        others = set(sentences[known.main].terms)
        if decision.sentences[0] - known.sentences[-1] <= _NEAR and not (terms and others):
            return known
        if len(terms & others) >= 2 and len(terms & others) >= 0.6 * min(len(terms), len(others)):
            return known
    return None
