"""What kind of answer a question asks for, and whether a text holds one.

A typed expectation ("a duration, best in days") is the oldest idea in question answering (Li and
Roth, "Learning Question Classifiers", 2002) and still tells the sentence that answers from its
neighbours that only speak of the same thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from atrium_grounding import tokens
from atrium_grounding.languages import Language, detect_language
from atrium_grounding.names import names_in, tagger
from atrium_grounding.quantities import (
    Quantity,
    QuantityKind,
    find_quantities,
)


class AnswerType(StrEnum):
    """What an answer is."""

    QUANTITY = "quantity"
    """A number; `Expectation.kinds` and `.units` say of what."""
    WHEN = "when"
    PERSON = "person"
    PLACE = "place"
    CONTACT = "contact"
    """An address, telephone number or link."""
    STEPS = "steps"
    REASON = "reason"
    YES_NO = "yes_no"
    NAME = "name"
    """A name, code or other thing ("which", "what is it called")."""
    OPEN = "open"
    """Anything else."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """The kind of answer that a question asks for."""

    type: AnswerType
    kinds: frozenset[QuantityKind] = frozenset()
    units: frozenset[str] = frozenset()
    """Units that the question names ("days"); empty when it names none."""


_Q: Final = QuantityKind
_DURATIONS: Final = frozenset({_Q.DURATION})
_TIMES: Final = frozenset({_Q.DATE, _Q.TIME})
_ANY_NUMBER: Final = frozenset({_Q.NUMBER, _Q.COUNT, _Q.DURATION, _Q.PERCENT, _Q.MONEY})

_UNIT_WORDS: Final = {
    "day": r"天|日|工作日|自然日|days?|working days?|business days?",
    "week": r"周|个?星期|weeks?",
    "month": r"个?月|months?",
    "year": r"年|岁|years?",
    "hour": r"个?小时|hours?",
    "minute": r"分钟|minutes?",
    "second": r"秒|seconds?",
}
_HOW_MANY_UNIT: Final = {
    unit: re.compile(
        rf"(?:几|多少)\s*(?:个)?(?:{words})|\bhow (?:many|much)(?: \w+){{0,3}}? (?:{words})\b"
    )
    for unit, words in _UNIT_WORDS.items()
}
_MONEY: Final = re.compile(
    r"多少\s*(?:钱|元|块|万|欧元|美元)|几\s*(?:元|块钱|欧元)|金额|价格|费用是|工资|薪资|薪酬|"
    r"月薪|年薪|底薪|奖金|津贴|补贴|补助|"
    r"预算|限额|上限是多少|标准是多少|餐补|礼金|报销多少|"
    r"\bhow much(?! (?:time|notice|leave|vacation|holiday|advance|warning))\b|"
    r"\b(?:salary|pay|price|cost|budget|allowance|bonus|fee|fees|amount|subsidy|reimbursement|"
    r"wage|stipend|per diem)\b"
)
_PERCENT: Final = re.compile(
    r"百分之[几多]|多少个?百分|比例|占比|费率|税率|几成|多少\s*%|\b(?:percentage|per ?cent|"
    r"what share|"
    r"what proportion|what fraction|what rate)\b"
)
_TIME_OF_DAY: Final = re.compile(r"几点|什么钟点|\b(?:what time|which hour)\b")
_WHEN: Final = re.compile(
    r"什么时候|什么时间|何时|哪[一]?天|哪[一]?年|哪[一]?日|几月|几号|哪个?月|日期|截止|期限是|"
    r"生效|哪个?季|什么日子|哪个?年代|"
    r"何年|何月|何日|周几|星期几|年份|时间是|"
    r"\bwhen\b|\bwhat (?:date|day|month|year)\b|\bwhich (?:date|day|month|year|quarter)\b|"
    r"\b(?:by|until|till) when\b|\bdeadline\b|\bhow soon\b"
)
_HOW_LONG: Final = re.compile(
    r"多久|多长时间|多少时间|时长|多长(?=[的有?？]|$)|提前多[久少长]|为期|期限|最长|有效期|"
    r"保留多|\bhow long\b|\bhow (?:far|much) (?:time|notice|"
    r"in advance|ahead|warning)\b|\bhow much time\b|\bhow far\b|\bwhat (?:period|duration|"
    r"lead time)\b|"
    r"\b(?:lead time|duration|notice period|time limit|response time)\b"
)
_HOW_MUCH_LEAVE: Final = re.compile(
    r"\bhow much (?:\w+ ){0,2}?(?:leave|vacation|holiday|notice)\b|(?:有|享有|给)(?:多长|"
    r"多少).{0,6}假"
)
_HOW_MANY: Final = re.compile(
    r"多少|几(?!乎)|第几|数量|人数|次数|数目|多大|多高|多重|多远|多深|多快|多宽|\bhow (?:many|"
    r"much|often|high|tall|large|big|"
    r"old|deep|heavy|wide|fast)\b|\bwhat (?:is|are) the (?:number|limit|maximum|minimum|size|"
    r"amount|total)\b|\b(?:maximum|minimum) (?:number|amount)\b"
)
_PEOPLE: Final = re.compile(
    r"谁|哪位|何人|哪些人|什么人|哪一位|哪个人|负责人是|联系人|姓名|审批人|领导人|作者|"
    r"\bwho(?:m|se)?\b|\bwhich (?:person|"
    r"manager|colleague|employee|officer|director|lead)\b|\bcontact person\b"
)
_PLACE: Final = re.compile(
    r"哪里|哪儿|何处|何地|什么地方|在哪|哪个?(?:城市|国家|地区|省|市|县|区|州|地方|地点|"
    r"办公室|楼|房间|系统|平台|网站|应用)|哪国|地点|位于|\bwhere\b|"
    r"\b(?:which|what) (?:city|country|place|region|room|office|floor|building|location|state)\b"
)
_CONTACT: Final = re.compile(
    r"邮箱|邮件地址|电话|号码|热线|网址|链接|地址|频道|联系方式|怎么联系|\be-?mail\b|"
    r"\bphone\b|\btelephone\b|\bhotline\b|\bnumber to call\b|"
    r"\burl\b|\blink\b|\bwebsite\b|\baddress\b|\bchannel\b|\bcontact\b"
)
_STEPS: Final = re.compile(
    r"如何|怎么(?!样的)|怎样|步骤|流程|怎么办|该做什么|要做什么|做些什么|需要做|操作|方法是|"
    r"有哪些要求|\bhow (?:do|can|should|to|does|would|must|may|"
    r"is|are)\b|\bsteps?\b|\bprocedure\b|\bprocess for\b|\bwhat (?:should|must|do) (?:i|we|you|one|"
    r"\w+) do\b|\bwhat happens\b|\bwhat to do\b"
)
_REASON: Final = re.compile(
    r"为什么|为何|为啥|原因|何故|缘故|因何|\bwhy\b|\breasons?\b|\bhow come\b|\bwhat caused\b"
)
_YES_NO: Final = re.compile(
    r"吗\s*[？?]?\s*$|是否|能否|可否|是不是|能不能|可不可以|会不会|有没有|要不要|需不需要|算不算|"
    r"^\s*(?:is|are|am|was|were|do|does|did|can|could|may|must|shall|should|will|would|has|"
    r"have|had)"
    r"\b(?! (?:not )?(?:the )?following)"
)
_NAME: Final = re.compile(r"哪|什么|何|\b(?:which|what|name|called)\b")

_EMAIL_OR_LINK: Final = re.compile(
    r"[\w.+-]+@[\w-]+\.[\w.-]+|https?://\S+|www\.\S+|(?<!\d)(?:\+?\d[\d\s()-]{5,}\d)(?!\d)|"
    r"(?:^|\s)[#/][a-z][\w-]+"
)
_CAUSE: Final = re.compile(
    r"因为|由于|因此|所以|原因|为了|以便|以免|导致|使得|缘于|故而|出于|\b(?:because|since|"
    r"due to|so that|in order to|therefore|"
    r"reason|as a result|caused|owing to|to avoid|to ensure|so)\b"
)
_IMPERATIVE: Final = re.compile(
    r"应|须|必须|需|请|先|再|然后|之后|提交|填写|点击|联系|申请|通过|登录|打开|选择|输入|"
    r"\b(?:please|must|should|first|then|next|click|open|"
    r"select|submit|ask|apply|enter|call|use|go to|send|fill|contact|run|choose|report|tell|"
    r"write)\b"
)
_CAPITALISED: Final = re.compile(
    r"(?<![.!?。\n]\s)(?<!^)\b[A-Z][a-zA-Z'’-]+(?:\s+[A-Z][a-zA-Z'’-]+)+"
)
_ROLE_NOUN: Final = re.compile(
    r"经理|主管|总监|负责人|部门|人力资源部|总经理|委员会|董事|主任|小组|办公室|团队|部$|专员|"
    r"\b(?:manager|director|head|lead|officer|"
    r"team|department|committee|council|board|hr|ceo|cto|cfo|supervisor)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Question:
    """A question, taken apart once."""

    text: str
    language: Language
    content: str
    """The question without the phrases that only ask ("how many days", 多少天), folded."""
    names: tuple[str, ...]
    """Words that name something: codes, proper names, folded. A text that answers mentions them."""
    quantities: tuple[Quantity, ...]
    expectation: Expectation


_ASKING: Final = re.compile(
    r"多少\s*(?:天|个?小时|分钟|个?月|年|周|次|钱|元|人|个|分|岁)?|第?几(?:天|点|号|个?月|年|"
    r"周|次|个|岁|人|分)?|什么(?:时候|时间|地方)?|"
    r"怎么样?|如何|怎样|哪[里儿些个位天年家条种款一]?|是否|有没有|是不是|能不能|可不可以|"
    r"会不会|要不要|多久|多长(?:时间)?|请问|的话|"
    r"为什么|为何|谁|吗|呢|何时|之内|以内|我要|我想|"
    r"\bhow (?:many|much|long|often|soon|far)(?: (?:more )?(?:days?|weeks?|months?|years?|"
    r"hours?|minutes?|times?|"
    r"people|money|notice))?\b|\bat what time\b|\bwhat time\b|\bwhat is the name of\b|"
    r"\bwhat kind of\b|"
    r"\bon which\b|\bat most\b|\bat least\b|\bis there\b|\bare there\b|\btell me\b"
)


def understand(text: str) -> Question:
    """Take a question apart."""
    return Question(
        text=text,
        language=detect_language(text),
        content=_ASKING.sub(" ", tokens.fold(text)),
        names=names_in(text),
        quantities=tuple(find_quantities(text)),
        expectation=expectation_of(text),
    )


def expectation_of(question: str) -> Expectation:
    """Return the kind of answer that ``question`` asks for."""
    text = tokens.fold(question)
    units = frozenset(unit for unit, pattern in _HOW_MANY_UNIT.items() if pattern.search(text))
    if units:
        return Expectation(AnswerType.QUANTITY, _DURATIONS, units)
    if _TIME_OF_DAY.search(text):
        return Expectation(AnswerType.WHEN, frozenset({_Q.TIME}))
    if _PERCENT.search(text):
        return Expectation(AnswerType.QUANTITY, frozenset({_Q.PERCENT}))
    if _HOW_LONG.search(text) or _HOW_MUCH_LEAVE.search(text):
        return Expectation(AnswerType.QUANTITY, _DURATIONS)
    if _WHEN.search(text):
        return Expectation(AnswerType.WHEN, _TIMES | _DURATIONS)
    how_many = bool(_HOW_MANY.search(text))
    yes_no = bool(_YES_NO.search(text))
    asks_else = yes_no or any(
        pattern.search(text) for pattern in (_PEOPLE, _STEPS, _REASON, _PLACE)
    )
    if _MONEY.search(text) and (how_many or not asks_else):
        return Expectation(
            AnswerType.QUANTITY, frozenset({_Q.MONEY, _Q.PERCENT, _Q.NUMBER, _Q.COUNT})
        )
    if how_many and not yes_no:
        return Expectation(AnswerType.QUANTITY, _ANY_NUMBER)
    if _REASON.search(text):
        return Expectation(AnswerType.REASON)
    if _PEOPLE.search(text):
        return Expectation(AnswerType.PERSON)
    if yes_no:
        return Expectation(AnswerType.YES_NO)
    if _CONTACT.search(text):
        return Expectation(AnswerType.CONTACT)
    if _PLACE.search(text):
        return Expectation(AnswerType.PLACE)
    if _STEPS.search(text):
        return Expectation(AnswerType.STEPS)
    if _NAME.search(text):
        return Expectation(AnswerType.NAME)
    return Expectation(AnswerType.OPEN)


def holds_expected(
    expectation: Expectation, text: str, quantities: list[Quantity], asked: list[Quantity]
) -> float:
    """Say how far ``text`` holds an answer of the expected kind.

    Args:
        expectation: From :func:`expectation_of`.
        text: The sentence, row or item.
        quantities: Its quantities.
        asked: Quantities that the question itself states: repeating them is no answer.

    Returns:
        1 when it does, 0 when it does not, between when it might, 0.5 when the question does not
        tell what it wants.
    """
    known = {(one.kind, one.value) for one in asked}
    fresh = [one for one in quantities if (one.kind, one.value) not in known]
    match expectation.type:
        case AnswerType.QUANTITY:
            return _quantity_fit(expectation, fresh)
        case AnswerType.WHEN:
            if any(one.kind in _TIMES & expectation.kinds for one in fresh):
                return 1.0
            if any(one.kind is _Q.DURATION for one in fresh) and _Q.DURATION in expectation.kinds:
                return 0.7
            return 0.3 if any(one.kind is _Q.NUMBER for one in fresh) else 0.0
        case AnswerType.PERSON:
            if _has_tag(text, ("nr", "nrfg", "nrt")) or _CAPITALISED.search(text):
                return 1.0
            return 0.6 if _ROLE_NOUN.search(text) else 0.1
        case AnswerType.PLACE:
            return 1.0 if _has_tag(text, ("ns", "nt", "nz")) or _CAPITALISED.search(text) else 0.3
        case AnswerType.CONTACT:
            return 1.0 if _EMAIL_OR_LINK.search(text.lower()) else 0.2
        case AnswerType.REASON:
            return 1.0 if _CAUSE.search(text.lower()) else 0.3
        case AnswerType.STEPS:
            return 0.8 if _IMPERATIVE.search(text.lower()) else 0.3
        case _:
            return 0.5


def _quantity_fit(expectation: Expectation, quantities: list[Quantity]) -> float:
    best = 0.0
    for one in quantities:
        if one.kind in expectation.kinds:
            if not expectation.units or one.unit in expectation.units:
                return 1.0
            best = max(best, 0.6)
        elif one.kind in (_Q.NUMBER, _Q.COUNT):
            best = max(best, 0.4)
    return best


def _has_tag(text: str, tags: tuple[str, ...]) -> bool:
    return any(tag in tags for _, tag in tagger().tag(text))
