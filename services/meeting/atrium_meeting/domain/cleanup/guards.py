"""What may be marked at all: rules over what the network proposes, which it cannot overrule.

- A *filler* is one of a closed list of sounds and phrases.
- A name, a number or a negation is left out only where the same words follow at once and stay
  ("the three, the three of us"); else nothing of the stretch around it is left out.
- English that is given up without a trace ends in a sign that the speaker breaks off, and no
  sentence that was ended or that promises something ("sure, I'll ask them") is given up.
- Single numbers said twice ("twenty twenty", 二二) are two numbers.
- An utterance that says something never loses all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Final

from atrium_grounding import tokens
from atrium_meeting.domain.cleanup import lexicon
from atrium_meeting.domain.cleanup.units import Case, Mark, Unit
from atrium_meeting.domain.titles import TITLES_ZH

KEEP: Final = 0
FILLER: Final = 1
EDIT: Final = 2
_LONGEST: Final = 16
"""Words; what is longer is something said, not a slip."""
_REMEMBERED: Final = 16_384
_ENDINGS: Final = ("'s", "'re", "'ll", "'ve", "'d", "s", "es", "ed", "ing", "ly", "er", "ers")
_LOOKED_BACK: Final = 4
"""Words before a stretch in which the promise may begin whose end it is."""
_LOOKED_THROUGH: Final = 4
"""How many words more than were left out are searched for what must stay."""


@dataclass(frozen=True)
class Language:
    """What the guard rails know of a language.

    Args:
        sounds: Words that are always fillers.
        fillers: Phrases that are fillers where the network says so.
        is_protected: Whether the word at a place is a name, a number or a negation.
        is_number: Whether a word is (part of) a number.
        is_negation: Whether a word negates.
        said_twice: Whether a number said twice at a place is a slip all the same.
        doubled: Places of words that are said twice because the two are one word (谢谢, 看看).
        otherwise: What becomes of a word that the network takes for a filler and that is none.
        given_up: Whether a stretch of which nothing follows once more may be given up, from the
            words, their labels, the places of the stretch's words and the place after it.
    """

    sounds: Collection[str]
    fillers: Collection[tuple[str, ...]]
    is_protected: Callable[[Sequence[Unit], int], bool]
    is_number: Callable[[Unit], bool]
    is_negation: Callable[[Unit], bool]
    said_twice: Callable[[Sequence[Unit], int], bool]
    doubled: Callable[[Sequence[Unit]], Collection[int]] = lambda units: ()
    otherwise: int = KEEP
    given_up: Callable[[Sequence[Unit], Sequence[int], Sequence[int], int], bool] | None = None


def guard(units: Sequence[Unit], labels: list[int], language: Language) -> list[int]:
    """Return the labels that may stand.

    Args:
        units: The words of one utterance.
        labels: What the network proposes for each: 0 keep, 1 filler, 2 said again or given up.
        language: Rules of the language.
    """
    labels = _sounds(units, labels, language)
    if not any(labels):
        return labels
    _only_known_fillers(units, labels, language)
    _on_purpose(units, labels, language)
    _leave_one(units, labels)
    # From the end: what a stretch counts on comes after it.
    for begin, end in reversed(_stretches([label != KEEP for label in labels])):
        edits = [place for place in range(begin, end) if labels[place] == EDIT]
        if edits and not _may_go(units, labels, begin, end, edits, language):
            for place in edits:
                labels[place] = KEEP
    if not any(label == KEEP for label in labels):
        labels = [FILLER if unit.core in language.sounds else KEEP for unit in units]
    return labels


def _sounds(units: Sequence[Unit], labels: list[int], language: Language) -> list[int]:
    found = list(labels)
    for place, unit in enumerate(units):
        if unit.core in language.sounds:
            measured = place > 0 and language.is_number(units[place - 1])  # "5 mm"
            plain = unit.case in (Case.PLAIN, Case.CAPITAL, Case.BROKEN)
            found[place] = FILLER if plain and not (measured and unit.core == "mm") else KEEP
    return found


def _only_known_fillers(units: Sequence[Unit], labels: list[int], language: Language) -> None:
    """Let go of fillers that are none: of other words, parts of phrases, phrases that are meant."""
    for begin, end in _stretches([label == FILLER for label in labels]):
        place = begin
        while place < end:
            length = next(
                (
                    length
                    for length in range(min(5, end - place), 0, -1)
                    if (length == 1 and units[place].core in language.sounds)
                    or tuple(unit.core for unit in units[place : place + length])
                    in language.fillers
                ),
                0,
            )
            if not length:
                labels[place] = language.otherwise
            elif _is_meant(units, place, place + length):
                labels[place : place + length] = [KEEP] * length
            place += length or 1


def _is_meant(units: Sequence[Unit], begin: int, end: int) -> bool:
    """Tell from the words around a phrase that it means what it says."""
    phrase = " ".join(unit.core for unit in units[begin:end])
    after = units[begin - 1].core if begin and units[begin - 1].mark == Mark.NONE else ""
    before = units[end].core if end < len(units) and units[end - 1].mark == Mark.NONE else ""
    return after in lexicon.MEANT_AFTER.get(phrase, ()) or before in lexicon.MEANT_BEFORE.get(
        phrase, ()
    )


def _on_purpose(units: Sequence[Unit], labels: list[int], language: Language) -> None:
    """Let stay what people say twice on purpose: "very very", "time to time", 想想."""
    if EDIT in labels:
        for place in language.doubled(units):
            labels[place] = KEEP if labels[place] == EDIT else labels[place]
    for place in range(len(units) - 1):
        if labels[place] != EDIT:
            continue
        core = units[place].core
        if core in lexicon.SAID_TWICE and units[place + 1].core == core:
            labels[place] = KEEP
        elif (
            len(core) > 2
            and place + 2 < len(units)
            and units[place + 2].core == core
            and units[place + 1].core in lexicon.BETWEEN_TWO
            and not any(unit.mark for unit in units[place : place + 2])
            and (place + 3 == len(units) or units[place + 3].core != units[place + 1].core)
            and (place == 0 or units[place - 1].core != units[place + 1].core)
        ):
            labels[place : place + 2] = [KEEP, KEEP]


def _leave_one(units: Sequence[Unit], labels: list[int]) -> None:
    """Let the last time of what is said several times stay, where it does not follow once more."""
    for begin, end in _stretches([label != KEEP for label in labels]):
        edits = [place for place in range(begin, end) if labels[place] == EDIT]
        gone = [units[place].core for place in edits]
        next_core = units[end].core if end < len(units) else ""
        if next_core in gone:
            for place in edits[len(edits) - _begun_anew(gone, next_core) :]:
                labels[place] = KEEP
            continue
        for period in range(1, len(gone) // 2 + 1):
            if gone[-period:] == gone[-2 * period : -period]:
                for place in edits[-period:]:
                    labels[place] = KEEP
                break


def _begun_anew(gone: Sequence[str], next_core: str) -> int:
    """Return how many words at the end begin the copy that stays: what goes is whole copies."""
    for period in range(1, len(gone) // 2 + 1):
        begun = len(gone) % period
        if gone[period:] == gone[:-period] and next_core == gone[begun]:
            return begun
    return 0


def _may_go(
    units: Sequence[Unit],
    labels: Sequence[int],
    begin: int,
    end: int,
    edits: Sequence[int],
    language: Language,
) -> bool:
    if len(edits) > _LONGEST:
        return False
    following = [
        place for place in range(end, min(len(units), end + 3 * _LONGEST)) if labels[place] == KEEP
    ][: len(edits) + _LOOKED_THROUGH]
    if not following:
        # At the end nothing follows that could stand for it; only what was just said may go.
        earlier = [
            units[place].core
            for place in range(max(0, begin - len(edits) - 2), begin)
            if labels[place] == KEEP
        ]
        return all(
            units[place].core in earlier and not language.is_protected(units, place)
            for place in edits
        )
    if (
        language.given_up is not None
        and not _leaves_a_trace(units, edits, following)
        and not language.given_up(units, labels, edits, end)
    ):
        return False
    taken_back = _taking_back(units, edits)
    return all(
        place in taken_back
        or not language.is_protected(units, place)
        or _comes_again(units, edits, number, following, language)
        for number, place in enumerate(edits)
    )


def _comes_again(
    units: Sequence[Unit],
    edits: Sequence[int],
    number: int,
    following: Sequence[int],
    language: Language,
) -> bool:
    """Tell whether a word of a stretch follows once more, in its place and among the same words."""
    place = edits[number]
    gone = [units[at].core for at in edits]
    kept = [units[at].core for at in following]
    everything = gone + kept
    for at in range(min(number + 1, len(kept))):
        if kept[at] != gone[number]:
            continue
        new = (each for each in following[:at] if units[each].core not in gone)
        if any(language.is_protected(units, each) for each in new):
            return False
        before = (number == 0 and at == 0) or (
            number > 0 and at > 0 and gone[number - 1] == kept[at - 1]
        )
        after = (
            at + 1 < len(kept)
            and everything[number + 1] == kept[at + 1]
            # What was denied ended a clause, so its copy must end one too: 写不了 does not come
            # again in 不了解.
            and not (
                language.is_negation(units[place])
                and number + 1 < len(edits)
                and _goes_on(units, edits[number + 1], following[at + 1])
            )
        )
        if (before or after) and not (
            language.is_number(units[place]) and _one_number(units, place, following[at], language)
        ):
            return True
    return False


def _goes_on(units: Sequence[Unit], place: int, copy: int) -> bool:
    """Tell whether a word ended a clause and its copy does not."""
    return units[place].mark is not Mark.NONE and units[copy].mark is Mark.NONE


def _one_number(units: Sequence[Unit], place: int, copy: int, language: Language) -> bool:
    """Tell whether a number and its copy may be one number, or two that were both meant."""
    between = units[place:copy]
    if not all(language.is_number(unit) for unit in between):
        return False  # other words are said again with it: "in three in three months"
    if any(unit.mark in (Mark.COMMA, Mark.BREAK) for unit in between):
        return False
    if len(between) > 1 and any(unit.core in lexicon.MAGNITUDES for unit in between):
        return False  # "two hundred two hundred fifty"
    return not language.said_twice(units, place)


def _taking_back(units: Sequence[Unit], edits: Sequence[int]) -> frozenset[int]:
    """Return the places of "no wait" or 不对 that take back words before, at a pause or the end."""
    found: set[int] = set()
    for end in range(3, len(edits) + 1):
        last = edits[end - 2 : end]
        paused = units[last[-1]].mark in (Mark.COMMA, Mark.BREAK)
        if (end == len(edits) or paused) and tuple(
            units[at].core for at in last
        ) in lexicon.EDIT_PHRASES:
            found.update(last)
    return frozenset(found)


def _leaves_a_trace(units: Sequence[Unit], edits: Sequence[int], following: Sequence[int]) -> bool:
    """Tell whether what follows takes up a stretch: it begins alike, or ends a word begun."""
    gone = [units[place].core for place in edits]
    kept = [units[place].core for place in following]
    return kept[0] in gone or gone[0] in kept[: len(gone)] or _begins_next(units, edits[-1])


def _stretches(flags: Sequence[bool]) -> list[tuple[int, int]]:
    found, place = [], 0
    for flag, group in groupby(flags):
        length = sum(1 for _ in group)
        if flag:
            found.append((place, place + length))
        place += length
    return found


# English


def english(common: Collection[str]) -> Language:
    """Return the rules of English.

    Args:
        common: Words that are no names, lower case. Whatever else there is might be one.
    """

    def is_number(unit: Unit) -> bool:
        return unit.case is Case.DIGITS or all(
            part in lexicon.NUMBERS_EN for part in unit.core.split("-")
        )

    def is_negation(unit: Unit) -> bool:
        return unit.core in lexicon.NEGATIONS_EN or unit.core.endswith("n't")

    @lru_cache(_REMEMBERED)
    def is_common(core: str) -> bool:
        if core in common:
            return True
        stems = [core.removesuffix(ending) for ending in _ENDINGS if core.endswith(ending)]
        return any(len(stem) > 2 and (stem in common or f"{stem}e" in common) for stem in stems)

    def is_protected(units: Sequence[Unit], place: int) -> bool:
        unit = units[place]
        if is_number(unit) or is_negation(unit):
            return True
        if unit.case is Case.BROKEN and unit.core not in lexicon.NAMES_EN:
            # What was broken off is no name, if it could not be one or the right word follows.
            return unit.capital and place > 0 and not _begins_next(units, place)
        if unit.core in lexicon.NAMES_EN or unit.core in lexicon.DAYS_EN:
            return True
        if unit.core == "i" or unit.core.startswith("i'"):
            return False
        if unit.case is Case.UPPER:
            return True
        if unit.core in lexicon.NO_NAMES_EN:
            return False
        first = place == 0 or units[place - 1].mark in (Mark.STOP, Mark.QUESTION, Mark.BREAK)
        if unit.case is Case.CAPITAL and not first:
            return True
        return not (is_common(unit.core) or _begins_next(units, place))

    def said_twice(units: Sequence[Unit], place: int) -> bool:
        return False

    return Language(
        lexicon.SOUNDS_EN,
        lexicon.FILLERS_EN,
        is_protected,
        is_number,
        is_negation,
        said_twice,
        given_up=_given_up,
    )


def _given_up(units: Sequence[Unit], labels: Sequence[int], edits: Sequence[int], end: int) -> bool:
    """Tell whether English of which nothing comes again was broken off."""
    last = units[edits[-1]]
    if last.mark in (Mark.STOP, Mark.QUESTION):
        return False
    cores = [units[place].core for place in edits]
    if last.mark is Mark.BREAK or any(
        tuple(cores[-length:]) in lexicon.TAKING_BACK_EN for length in (3, 2, 1)
    ):
        return True
    begun = units[max(0, edits[0] - _LOOKED_BACK) : edits[-1] + 1]
    # "I like it, like a lot": what was said before as a word is no sign of breaking off.
    hesitates = labels[end - 1] == FILLER and units[end - 1].core not in cores
    return hesitates and not _promises([unit.core for unit in begun])


def _promises(cores: Sequence[str]) -> bool:
    """Tell whether words hold a promise: who will, what, and of what ("we'll write it")."""
    return any(
        (len(cores) > at + 2 and core in lexicon.PROMISES_EN)
        or (len(cores) > at + 3 and (core, cores[at + 1]) in lexicon.PROMISES_TWO_EN)
        for at, core in enumerate(cores)
    )


def _begins_next(units: Sequence[Unit], place: int) -> bool:
    """Tell whether a word is the beginning of one of the next two words."""
    core = units[place].core
    return any(
        other.core.startswith(core) and other.core != core for other in units[place + 1 : place + 3]
    )


# Chinese


def chinese() -> Language:
    """Return the rules of Chinese; the words are single characters and Latin words."""

    def is_number(unit: Unit) -> bool:
        return unit.case is Case.DIGITS or unit.core in lexicon.NUMBERS_ZH

    def is_negation(unit: Unit) -> bool:
        return unit.core in lexicon.NEGATIONS_ZH

    def is_protected(units: Sequence[Unit], place: int) -> bool:
        unit = units[place]
        if is_number(unit) or is_negation(unit):
            return True
        if unit.core.isascii() and unit.core.isalpha():
            return True
        return _chinese_name(units, place)

    def said_twice(units: Sequence[Unit], place: int) -> bool:
        # 一一个: the character said twice, then what is counted; nothing of a number before it.
        core = units[place].core
        end = place
        while end < len(units) and units[end].core == core:
            end += 1
        begin = place
        while begin and units[begin - 1].core == core:
            begin -= 1
        return (
            core in "一两"
            and end < len(units)
            and units[end].core in lexicon.MEASURES_ZH
            and (begin == 0 or not is_number(units[begin - 1]))
        )

    fillers = frozenset(tuple(phrase) for phrase in lexicon.FILLERS_ZH)
    return Language(
        frozenset("嗯呃"),
        fillers,
        is_protected,
        is_number,
        is_negation,
        said_twice,
        doubled=_doubled,
        otherwise=EDIT,
    )


def _doubled(units: Sequence[Unit]) -> list[int]:
    """Return the first places of words that are a character twice: 谢谢, 人人, 试试.

    A stammer goes on to the word that was begun: with the next character it makes one (想想要),
    or what follows a verb that is said once follows it (看看到); it may come three times.
    """
    found = []
    end = 0
    for core, group in groupby(units, key=lambda unit: unit.core):
        begin, end = end, end + sum(1 for _ in group)
        twice = (end - begin) % 2 == 0 and units[end - 2].mark is Mark.NONE
        if not twice or core not in lexicon.TRIED_ZH | lexicon.DOUBLED_ZH:
            continue
        before = units[begin - 1].core if begin else ""
        goes_on = end < len(units) and units[end - 1].mark is Mark.NONE
        after = units[end].core if goes_on else ""
        if core in lexicon.TRIED_ZH:
            stammered = after in lexicon.AFTER_VERBS_ZH
        else:
            stammered = before in lexicon.BEFORE_NOUNS_ZH
        if not (stammered or (after not in ("", "看") and _is_word(core + after))):
            found.append(end - 2)
    return found


@lru_cache(_REMEMBERED)
def _is_word(text: str) -> bool:
    return tokens.words(text) == [text]


def _chinese_name(units: Sequence[Unit], place: int) -> bool:
    """Tell whether the character at a place belongs to the name of a person, place or day."""
    text = "".join(
        unit.core if len(unit.core) == 1 else "\n" for unit in units[max(0, place - 3) : place + 5]
    )
    at = min(place, 3)
    for length in (2, 3, 4):
        for begin in range(max(0, at - length + 1), at + 1):
            if text[begin : begin + length] in lexicon.PLACES_ZH:
                return True
    for begin in range(max(0, at - 2), at + 1):
        if text[begin] not in lexicon.SURNAMES_ZH:
            continue
        rest = text[begin + 1 : begin + 3]
        if begin == at and (
            (at and text[at - 1] in "小老阿") or text[at + 1 :].startswith(TITLES_ZH)
        ):
            return True
        if rest and rest[0] in lexicon.GIVEN_ZH and at - begin <= 1:
            return True
        if len(rest) == 2 and rest[1] in lexicon.GIVEN_ZH and rest[0] in lexicon.GIVEN_ZH:
            return True
    return False
