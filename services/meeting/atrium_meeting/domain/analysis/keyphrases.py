"""A few words that say what a part of a meeting is about, as somebody said them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from atrium_grounding import tokens
from atrium_grounding.names import tagger
from atrium_meeting.domain.analysis.sentences import SPOKEN, Sentence

_LONGEST_ENGLISH: Final = 3
_LONGEST_CHINESE: Final = 10
"""Characters of a phrase."""
_LATIN_WORD: Final = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_NOUNS: Final = ("n", "vn", "nz", "ns", "nt", "eng", "j", "l", "an")
_VERBS: Final = ("v", "vn")
# Words that begin or end no title: verbs and adverbs of talk that are no stop words.
_WEAK: Final = frozenset(
    "look start stop keep put take taken took give gave given come came show tell told ask call "
    "find work add end help happen feel seem move turn set run hear heard agree suggest believ "
    "wonder remember rememb forget expect hope wait check chang tri mind never alway still even "
    "much more less better best great nice new old big small last next first second third time "
    "today tomorrow yesterday week month year day monday tuesday wednesday thursday friday back "
    "forward instead anyway sound wrong true done ready quick quickli short long high low far "
    "everyon everybodi nobodi someon somebodi anyon anybodi two three four five six ten eleven "
    "twelve thirteen fifteen twenti thirti forti fifti hundr half sometim seven eight nine "
    "propos option point item topic agenda question answer idea decis decid thought note perhap "
    "definit absolut exact honest total current alreadi yet again enough away around togeth though "
    "doing going having being isn't aren't wasn't can't won't don't doesn't didn't i'm i'll i'd "
    "i've you're you'll you've we're we'll we've we'd they're they'll it's it'll that's there's "
    "let's what's who's here's he's she's".split()
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase and where it comes from.

    Args:
        text: As said.
        terms: Its content words, folded.
        sentence: Index of the first sentence that holds it.
        worth: How well it tells its part from the others.
    """

    text: str
    terms: frozenset[str]
    sentence: int
    worth: float


def phrases_of(parts: Sequence[Sequence[Sentence]], most: int = 3) -> list[list[Phrase]]:
    """Return the phrases that tell each part from the others, the best first."""
    counts = [Counter(term for s in part for term in s.terms) for part in parts]
    spread: Counter[str] = Counter()
    for count in counts:
        spread.update(count.keys())
    total = len(parts)
    found = []
    for part, count in zip(parts, counts, strict=True):
        worth = {
            term: math.log1p(n) * (math.log((total + 1) / spread[term]) + 0.3)
            for term, n in count.items()
        }
        found.append(_best(part, worth, most))
    return found


def _best(part: Sequence[Sentence], worth: dict[str, float], most: int) -> list[Phrase]:
    seen: dict[str, tuple[str, frozenset[str], int]] = {}
    often: Counter[str] = Counter()
    for sentence in part:
        for text in _candidates(sentence):
            key = tokens.fold(text)
            often[key] += 1
            if key not in seen:
                terms = frozenset(tokens.words(text))
                if any(term in worth for term in terms):
                    seen[key] = (text, terms, sentence.index)
    ranked = sorted(
        (
            Phrase(
                text,
                terms,
                index,
                sum(worth.get(term, 0.0) for term in terms)
                / math.sqrt(len(terms))
                * (0.6 if often[key] == 1 else 1 + 0.5 * math.log(often[key])),
            )
            for key, (text, terms, index) in seen.items()
        ),
        key=lambda phrase: (-phrase.worth, phrase.sentence),
    )
    chosen: list[Phrase] = []
    for phrase in ranked:
        if all(not phrase.terms & other.terms for other in chosen):
            chosen.append(phrase)
        if len(chosen) == most:
            break
    return chosen


def _candidates(sentence: Sentence) -> Iterator[str]:
    if sentence.language == "zh":
        yield from _chinese(sentence.text)
    else:
        yield from _english(sentence.text)


def _english(text: str) -> Iterator[str]:
    run: list[tuple[int, int]] = []
    last_end = 0
    for match in _LATIN_WORD.finditer(text):
        word = match.group().lower().replace("’", "'")
        broken = text[last_end : match.start()].strip() != ""
        last_end = match.end()
        term = tokens.stem(word)
        content = (
            word not in tokens.ENGLISH_STOP_WORDS
            and term not in SPOKEN
            and term not in _WEAK
            and word not in _WEAK
            and len(word) > 2
        )
        if run and (broken or not content):
            yield from _runs(text, run)
            run = []
        if content:
            run.append(match.span())
    if run:
        yield from _runs(text, run)


def _runs(text: str, run: Sequence[tuple[int, int]]) -> Iterator[str]:
    for i in range(len(run)):
        for j in range(i, min(i + _LONGEST_ENGLISH, len(run))):
            yield text[run[i][0] : run[j][1]]


def _chinese(text: str) -> Iterator[str]:
    run: list[tuple[str, bool]] = []
    for word, tag in [*tagger().tag(text), ("", "x")]:
        term = tokens.fold(word)
        content = (
            (tag in _NOUNS or (tag in _VERBS and len(word) > 1))
            and term not in SPOKEN
            and term not in tokens.CHINESE_STOP_WORDS
        )
        if content:
            run.append((word, tag in _NOUNS))
            continue
        for i in range(len(run)):
            phrase = ""
            for said, noun in run[i:]:
                phrase += said
                if len(phrase) > _LONGEST_CHINESE:
                    break
                if noun and len(phrase) > 1:
                    yield phrase
        run = []
