"""Sentences about a meeting against the words that they cite."""

from datetime import date

import pytest

from atrium_grounding.lexicon import lexicon
from atrium_meeting.domain.faithfulness.checking import FaithfulnessChecker, Fault, Said

MONDAY = date(2026, 3, 9)
NAMES = {"S1": "Anna", "S2": "Ben Carter", "S3": "李娜", "S4": "王小明"}

ENGLISH = (
    "S1: Good morning. Let's talk about the new office.",
    "S2: The landlord wants four thousand euros a month, and he does not allow dogs.",
    "S1: Who can call the bank about the loan?",
    "S2: I can do that, by Friday at the latest.",
    "S1: Great. Ben, could you also send the plan to the architect?",
    "S2: Sure, tomorrow.",
    "S1: The opening stays on the fifth of May. Is everybody fine with that?",
    "S2: Yes, I am.",
    "S1: Do we need a permit for the sign?",
    "S2: No.",
    "S1: I think the budget of sixty thousand is approved then.",
)
CHINESE = (
    "S3: 我们先看预算，一共三十万。",
    "S4: 三十万不够，设备涨了百分之十。",
    "S3: 那谁去联系供应商？",
    "S4: 我来联系，下周三之前给结果。",
    "S3: 好。小明，合同也麻烦你改一下。",
    "S4: 行，没问题。",
    "S3: 会议室不换了，还用三楼那间。",
)


def said(lines: tuple[str, ...]) -> list[Said]:
    return [Said(i, line[:2], line[4:]) for i, line in enumerate(lines)]


def fault_of(sentence: str, *cited: int, lines: tuple[str, ...] = ENGLISH) -> Fault | None:
    checker = FaithfulnessChecker(NAMES, MONDAY, lexicon(), "The new office")
    whole = said(lines)
    return checker.check(sentence, [whole[i] for i in cited], whole).fault


@pytest.mark.parametrize(
    ("sentence", "cited"),
    [
        ("The landlord wants 4,000 euros a month.", [1]),
        ("The landlord does not allow dogs.", [1]),
        ("Dogs are not allowed.", [1]),
        ("Ben will call the bank about the loan by Friday.", [2, 3]),
        ("Ben Carter calls the bank about the loan by 13 March.", [2, 3]),
        ("Anna asked Ben to send the plan to the architect.", [4, 5]),
        ("Ben will send the plan to the architect tomorrow.", [4, 5]),
        ("The opening stays on 5 May.", [6, 7]),
        ("No permit is needed for the sign.", [8, 9]),
        ("The budget of 60,000 is approved.", [10]),
    ],
)
def test_what_was_said_in_english_may_be_told(sentence, cited):
    assert fault_of(sentence, *cited) is None


@pytest.mark.parametrize(
    ("fault", "sentence", "cited"),
    [
        (Fault.NEGATION, "The landlord allows dogs.", [1]),
        (Fault.NEGATION, "The landlord does not want four thousand euros a month.", [1]),
        (Fault.NEGATION, "A permit is needed for the sign.", [8, 9]),
        (Fault.NEGATION, "The budget of sixty thousand is rejected.", [10]),
        (Fault.NUMBER, "The landlord wants five thousand euros a month.", [1]),
        (Fault.NUMBER, "The budget of sixteen thousand is approved.", [10]),
        (Fault.DATE, "Ben will call the bank about the loan by Thursday.", [2, 3]),
        (Fault.DATE, "Ben will call the bank about the loan after Friday.", [2, 3]),
        (Fault.DATE, "The opening stays on 15 May.", [6, 7]),
        (Fault.OWNER, "Anna will call the bank about the loan by Friday.", [2, 3]),
        (Fault.OWNER, "Anna will send the plan to the architect tomorrow.", [4, 5]),
        (Fault.OWNER, "Anna said that the landlord wants four thousand euros.", [0, 1]),
        (Fault.NAME, "王小明 will call the bank about the loan by Friday.", [2, 3]),
        (Fault.NAME, "The plan goes to the architect Rotterdam Partners.", [4, 5]),
        (Fault.MERGED, "Ben will send the plan and approved the budget.", [4, 5, 10]),
        (Fault.UNSUPPORTED, "The architect praised the kitchen and the garden.", [4, 5]),
        (Fault.EMPTY, "[1]", [1]),
    ],
)
def test_what_was_not_said_in_english_may_not(fault, sentence, cited):
    assert fault_of(sentence, *cited) is fault


@pytest.mark.parametrize(
    ("sentence", "cited"),
    [
        ("预算一共三十万元。", [0]),
        ("设备涨价10%。", [1]),
        ("三十万的预算不够。", [0, 1]),
        ("王小明下周三之前联系供应商。", [2, 3]),
        ("小明负责修改合同。", [4, 5]),
        ("会议室不换，仍用三楼那间。", [6]),
    ],
)
def test_what_was_said_in_chinese_may_be_told(sentence, cited):
    assert fault_of(sentence, *cited, lines=CHINESE) is None


@pytest.mark.parametrize(
    ("fault", "sentence", "cited"),
    [
        (Fault.NEGATION, "会议室换了，不用三楼那间。", [6]),
        (Fault.NEGATION, "三十万的预算够了。", [1]),
        (Fault.NUMBER, "预算一共五十万元。", [0]),
        (Fault.NUMBER, "设备涨价20%。", [1]),
        (Fault.DATE, "王小明这周三之前联系供应商。", [2, 3]),
        (Fault.OWNER, "李娜下周三之前联系供应商。", [2, 3]),
        (Fault.OWNER, "李娜负责修改合同。", [4, 5]),
        (Fault.UNSUPPORTED, "公司领导表扬了销售部门。", [0]),
    ],
)
def test_what_was_not_said_in_chinese_may_not(fault, sentence, cited):
    assert fault_of(sentence, *cited, lines=CHINESE) is fault


def test_words_of_one_language_carry_a_sentence_in_the_other():
    assert fault_of("房东每个月要四千欧元。", 1) is None
    assert fault_of("The budget is 300,000.", 0, lines=CHINESE) is None
    assert fault_of("The meeting room is not changed.", 6, lines=CHINESE) is None


def test_across_languages_numbers_and_denials_are_kept_too():
    assert fault_of("房东每个月要五千欧元。", 1) is Fault.NUMBER
    assert fault_of("房东允许养狗。", 1) is not None
    assert fault_of("The meeting room is changed.", 6, lines=CHINESE) is not None


def test_facts_from_here_and_there_are_not_put_together():
    lines = (
        "S1: The paint for the hall costs nine hundred.",
        *(f"S2: Talk number {i} about something else entirely." for i in range(9)),
        "S2: The trip to the lake is on Sunday.",
    )
    assert fault_of("The paint costs nine hundred.", 0, len(lines) - 1, lines=lines) is None
    assert fault_of("The trip to the lake costs nine hundred.", 0, 10, lines=lines) is not None


def test_a_sentence_that_several_spots_carry_keeps_the_one_that_does():
    lines = (
        "S1: We take the red chairs.",
        *("S2: Something else." for _ in range(9)),
        "S1: And the lamps come from the old room.",
    )
    whole = said(lines)
    checker = FaithfulnessChecker(NAMES, None, lexicon())
    verdict = checker.check("The red chairs are taken.", [whole[10], whole[0]], whole)
    assert (verdict.fault, verdict.support) == (None, (0,))


def test_what_nobody_cites_carries_nothing():
    assert fault_of("The landlord wants four thousand euros a month.") is Fault.UNSUPPORTED


def test_speakers_without_names_are_told_apart_by_their_numbers():
    checker = FaithfulnessChecker({"S1": "", "S2": ""}, MONDAY, lexicon())
    whole = [Said(0, "S1", "I'll order the lunch."), Said(1, "S2", "Thanks.")]
    assert checker.check("S1 will order the lunch.", whole, whole).fault is None
    assert checker.check("S2 will order the lunch.", whole, whole).fault is Fault.OWNER


WORKS: tuple[str, ...] = (
    "S3: Nobody rents a wet cellar.",  # 0
    "S4: So we have it dried out.",
    "S3: How many of the old lamps are there?",  # 2
    "S4: Oven three has no old lamps any more.",
    "S3: Somebody has to sweep it.",  # 4
    "S3: Priya, oven three has to be swept.",
    "S4: It will be clean on Thursday.",  # 6
    "S3: Shall we open on the ninth of March?",
    "S4: On the tenth, then everyone is back.",  # 8
    "S3: If we had the money I'd buy a second oven. We don't.",
    "S4: I could sell the van and rent nothing.",  # 10
    "S3: We rent the small van.",
    "S3: From March on we bake at night.",  # 12
    "S4: It's two hundred and fifty loaves.",
    "S3: I'll call you about it once I know.",  # 14
    "S4: 那个易拉宝就算了。",
    "S3: 这间店零三年开的。",  # 16
    "S4: 差百分之五不到。",
)
WORKERS = {"S3": "Ana", "S4": "Priya"}


@pytest.mark.parametrize(
    ("fault", "sentence", "cited"),
    [
        (None, "The cellar is dried out.", [0, 1]),
        (None, "Oven three will be swept by Priya on Thursday.", [5, 6]),
        (Fault.OWNER, "Oven three will be swept by Ana on Thursday.", [5, 6]),
        (None, "Oven three will be clean on Thursday.", [6]),
        (Fault.NUMBER, "Oven four will be clean on Thursday.", [6]),
        (None, "They open on the tenth of March.", [7, 8]),
        (Fault.DATE, "They open on the ninth of March.", [7, 8]),
        (Fault.NEGATION, "They buy a second oven.", [9]),
        (None, "The small van is rented.", [10, 11]),
        (Fault.NEGATION, "The small van is not rented.", [10, 11]),
        (Fault.NEGATION, "Priya will not sweep the oven on Thursday.", [5, 6]),
        (None, "They bake at night from March.", [12]),
        (None, "Two hundred and fifty loaves are baked.", [12, 13]),
        (None, "Ana calls Priya once she knows.", [14]),
        (None, "不做易拉宝。", [15]),
        (Fault.NEGATION, "做易拉宝。", [15]),
        (None, "这间店是二零零三年开的。", [16]),
        (Fault.DATE, "这间店是二零零四年开的。", [16]),
        (None, "差不足百分之五。", [17]),
    ],
)
def test_how_people_really_say_it(fault, sentence, cited):
    checker = FaithfulnessChecker(WORKERS, MONDAY, lexicon())
    whole = said(WORKS)
    assert checker.check(sentence, [whole[i] for i in cited], whole).fault is fault
