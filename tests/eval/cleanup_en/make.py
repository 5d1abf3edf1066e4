"""Fluent English with disfluencies put in: which words should go is known, word by word.

A *row* holds words, and for each whether it should go and whether it is protected: a name, a
number or a negation of the fluent text, which must come through whatever happens. A *trap* corrects
one protected word by another ("at three, I mean, four"): there no protected word may go, the
corrected one included, since nobody can say which of the two was right.

All chance comes from one seed; the training script draws from other texts with other code.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

SEED: Final = 20_261
_NUMBERS: Final = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred thousand million billion first second third fourth fifth half dozen twice".split()
)
_NEGATIONS: Final = frozenset(
    "no not never none nobody nothing nowhere neither nor cannot without".split()
)
_SOUNDS: Final = ("um", "uh", "er", "erm", "hmm", "mm", "uhm", "ah")
_PHRASES: Final = ("you know", "I mean", "like", "sort of", "you see")
_OPENINGS: Final = ("well", "so um", "okay so", "yeah so", "right so")
_EDITS: Final = ("I mean", "sorry", "or rather", "no wait", "um", "uh", "well")
_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True)
class Row:
    """An utterance.

    Args:
        source: Where the fluent text is from.
        words: As they would be recognised, punctuation attached.
        gone: 1 for each word that should go.
        protected: 1 for each word of the fluent text that must stay.
        kinds: What was put in: "filler", "repetition", "repair", "false_start"; or "trap".
    """

    source: str
    words: list[str]
    gone: list[int]
    protected: list[int]
    kinds: list[str] = field(default_factory=list)


@dataclass
class _Word:
    text: str
    gone: bool = False
    protected: bool = False


def _core(word: str) -> str:
    found = _WORD.search(word)
    return found.group().lower().replace("’", "'") if found else ""


def is_protected(word: str, first: bool) -> bool:
    """Tell whether a word of a written text is a name, a number or a negation."""
    core = _core(word)
    letters = _WORD.search(word)
    name = bool(letters) and letters.group()[0].isupper() and core != "i"
    return (
        any(character.isdigit() for character in core)
        or core in _NUMBERS
        or core in _NEGATIONS
        or core.endswith("n't")
        or (name and not first and not core.startswith("i'"))
    )


def read_words(text: str) -> list[_Word]:
    """Return the words of a written sentence."""
    words = [_Word(word) for word in text.split() if _core(word)]
    for place, word in enumerate(words):
        before = words[place - 1].text if place else "."
        word.protected = is_protected(word.text, first=before[-1] in ".?!:\"”'")
    return words


def _plain(words: Sequence[_Word]) -> bool:
    return not any(word.protected for word in words)


def _bare(text: str) -> str:
    return text.rstrip(",.;:?!")


def _gone(texts: Iterable[str]) -> list[_Word]:
    return [_Word(text, gone=True) for text in texts]


def _pause(words: list[_Word], chance: random.Random, signs: str = ",,-…") -> None:
    """Let a stretch end in a comma, a dash, dots or, as often, nothing."""
    if words and chance.random() < 0.5:
        sign = chance.choice(signs)
        words[-1].text = _bare(words[-1].text) + {"…": "...", "-": " -"}.get(sign, sign).strip()


def _filler(words: list[_Word], chance: random.Random) -> str:
    place = chance.randrange(len(words) + 1)
    if place == 0 and chance.random() < 0.4:
        put = _gone(chance.choice(_OPENINGS).split())
    elif chance.random() < 0.72:
        put = _gone([chance.choice(_SOUNDS)])
    else:
        put = _gone(chance.choice(_PHRASES).split())
    _pause(put, chance, ",,,…")
    words[place:place] = put
    return "filler"


def _repetition(words: list[_Word], chance: random.Random) -> str | None:
    length = chance.choice((1, 1, 1, 1, 2, 2, 3, 4))
    places = [
        place
        for place in range(len(words) - length + 1)
        if not any(word.gone for word in words[place : place + length])
        and (length > 1 or not words[place].protected)
    ]
    if not places:
        return None
    place = chance.choice(places)
    put: list[_Word] = []
    for _ in range(chance.choice((1, 1, 1, 2))):
        copy = _gone(_bare(word.text) for word in words[place : place + length])
        _pause(copy, chance)
        put += copy
        if chance.random() < 0.2:
            put += _gone([chance.choice(_SOUNDS)])
    words[place:place] = put
    return "repetition"


def _repair(words: list[_Word], chance: random.Random, others: Sequence[str]) -> str | None:
    """Say a stretch with one word wrong, or one word half, before saying it right."""
    length = chance.choice((1, 2, 2, 3))
    places = [
        place
        for place in range(len(words) - length + 1)
        if not any(word.gone for word in words[place : place + length])
        and not words[place + length - 1].protected
        and len(_core(words[place + length - 1].text)) >= 4
    ]
    if not places:
        return None
    place = chance.choice(places)
    texts = [_bare(word.text) for word in words[place : place + length]]
    if chance.random() < 0.4:
        last = _core(texts[-1])
        texts[-1] = last[: chance.randint(1, len(last) - 2)] + "-"
        put = _gone(texts)
    else:
        texts[-1] = chance.choice(others)
        put = _gone(texts)
        _pause(put, chance)
        if length == 1 or chance.random() < 0.6:  # "the lamp table" alone corrects nothing
            edit = _gone(chance.choice(_EDITS).split())
            _pause(edit, chance, ",")
            put += edit
    words[place:place] = put
    return "repair"


def _false_start(
    words: list[_Word], chance: random.Random, starts: Sequence[Sequence[str]], bare: bool
) -> str:
    put = _gone(chance.choice(starts))
    sign = chance.choice(("-", "...", ",", ""))
    put[-1].text = _bare(put[-1].text) + sign
    if bare or sign in {"", ","} or chance.random() < 0.4:  # else nothing tells of the break
        put += _gone(chance.choice((*_SOUNDS, "no wait", "sorry")).split())
        put[-1].text += chance.choice(("", ","))
    words[0:0] = put
    return "false_start"


def _trap(words: list[_Word], chance: random.Random, protected: Sequence[str]) -> bool:
    """Correct a protected word by another one; both must stay."""
    places = [place for place, word in enumerate(words) if word.protected]
    if not places:
        return False
    place = chance.choice(places)
    begin = max(0, place - chance.randrange(3))
    other = chance.choice([each for each in protected if _core(each) != _core(words[place].text)])
    put = [_Word(_bare(word.text), protected=word.protected) for word in words[begin:place]]
    put.append(_Word(other + chance.choice((",", "", "-")), protected=True))
    edit = chance.choice(("I mean,", "sorry,", "or rather", "um", ""))
    words[begin:begin] = put + [_Word(text) for text in edit.split()]
    return True


def disfluent(texts: dict[str, list[str]], ordinary: Iterable[str] = ()) -> Iterator[Row]:
    """Yield rows of all texts.

    Args:
        texts: Fluent sentences by the name of their source.
        ordinary: Words that are no names, however they are written; without capitals a trap made
            of one could not be told from any other repair.
    """
    chance = random.Random(SEED)
    everything = [read_words(text) for part in texts.values() for text in part]
    others = sorted({
        _bare(word.text)
        for words in everything
        for word in words
        if not word.protected and word.text.islower() and _bare(word.text).isalpha()
        and len(word.text) >= 4
    })  # fmt: skip
    plain = {_core(word.text) for words in everything for word in words if not word.protected}
    plain |= {_core(word) for word in ordinary}
    protected = sorted({
        _bare(word.text)
        for words in everything
        for word in words
        if word.protected and len(_core(word.text)) > 1 and _core(word.text) not in plain
    })  # fmt: skip
    starts = [
        [_bare(word.text) for word in words[:length]]
        for words in everything
        for length in (2, 3, 4, 5)
        if len(words) > 7 and _plain(words[:length])
    ]
    for source, part in texts.items():
        for text in part:
            words = read_words(text)
            if len(words) < 4:
                continue
            kinds: list[str] = []
            bare = chance.random() < 0.35  # a recogniser that writes neither case nor punctuation
            if chance.random() < 0.1 and _trap(words, chance, protected):
                kinds = ["trap"]
            else:
                for _ in range(chance.choice((0, 0, 1, 1, 2, 2, 3))):
                    kind = chance.random()
                    if kind < 0.42:
                        done: str | None = _filler(words, chance)
                    elif kind < 0.76:
                        done = _repetition(words, chance)
                    elif kind < 0.9:
                        done = _repair(words, chance, others)
                    else:
                        done = None
                        if "false_start" not in kinds:
                            done = _false_start(words, chance, starts, bare)
                    kinds += [done] if done else []
            shown = [word.text for word in words]
            if bare:
                shown = [_lowered(text) for text in shown]
            yield Row(
                source,
                shown,
                [int(word.gone) for word in words],
                [int(word.protected) for word in words],
                kinds,
            )


def _lowered(text: str) -> str:
    return text if text.endswith("-") else re.sub(r"[,;:!?\"“”()]|\.+$", "", text).lower()


def fingerprint(rows: Sequence[Row]) -> str:
    """Return the SHA-256 of rows."""
    lines = "\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in rows)
    return hashlib.sha256(lines.encode()).hexdigest()


_DISFLUENT: Final = re.compile(
    r"\{|\b(?:um+|uh+|mm+|hmm+|mhm|erm?|eh|ah|oh|you know|i mean|sort of|kind of|like|well|so|yeah|"
    r"okay|ok|right|just|actually)\b|\b\w-? |- |^[a-z]",
    re.IGNORECASE,
)


def tidy(text: str) -> str:
    """Return the text of an utterance without spaces before punctuation and endings."""
    text = re.sub(r"\s+([,.?!;:])", r"\1", text.replace("_", ""))
    return re.sub(r"\s*(['’])\s*(s|t|re|ve|ll|d|m)\b", r"\1\2", text).strip()


def is_fluent(text: str) -> bool:
    """Tell whether an utterance shows no sign of disfluency; rather too seldom than too often."""
    words = [_core(word) for word in text.split() if _core(word)]
    checked = re.sub(r"\b(?:I|a|A)\b ", "", text)
    return (
        7 <= len(words) <= 40
        and not re.search(_DISFLUENT.pattern.replace("|^[a-z]", ""), checked, re.IGNORECASE)
        and text[0].isupper()
        and all(
            words[i : i + n] != words[j : j + n]
            for n in (1, 2)
            for i in range(len(words))
            for j in range(i + 1, min(i + 8, len(words)))
        )
    )


def read_ordinary(folder: Path) -> set[str]:
    """Return the words that Tatoeba and QMSum's validation part write without a capital."""
    with gzip.open(folder / "translation/tatoeba_cmn_eng.tsv.gz", "rt", encoding="utf-8") as lines:
        texts = [line.split("\t")[0] for line in lines]
    with gzip.open(folder / "meetings/qmsum_val.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts += [t["content"] for line in lines for t in json.loads(line)["meeting_transcripts"]]
    return {word for text in texts for word in text.split() if word.islower()}


def read_texts(folder: Path) -> dict[str, list[str]]:
    """Return the fluent sentences of the public data that are reported on.

    Args:
        folder: The data folder (``ATRIUM_DATA_DIR``).

    Raises:
        FileNotFoundError: A part is missing.
    """
    flores = (folder / "translation/flores-dev/en-zh.en").read_text(encoding="utf-8").splitlines()
    with gzip.open(folder / "meetings/qmsum_val.jsonl.gz", "rt", encoding="utf-8") as lines:
        spoken = [
            tidy(turn["content"])
            for line in lines
            for turn in json.loads(line)["meeting_transcripts"]
        ]
    handbook = (folder / "knowledge/finsolve/general/employee_handbook.md").read_text("utf-8")
    written = [
        sentence.strip(" -*")
        for line in handbook.splitlines()
        if not line.startswith(("#", "|", "```"))
        for sentence in re.split(r"(?<=[.?!])\s", re.sub(r"[*`]|\[|\]\([^)]*\)", "", line))
    ]
    return {
        "flores": [text for text in flores if len(text.split()) <= 40],
        "qmsum_val": sorted({text for text in spoken if text and is_fluent(text)}),
        "handbook": [
            text for text in written if 5 <= len(text.split()) <= 40 and text[0].isalpha()
        ],
    }
