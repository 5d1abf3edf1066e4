"""Write `meetings.jsonl` out of `sources/`: times, windows and the sentences made by rule.

`python -m tests.eval.meeting_scripts.build`. The set is frozen: once anything was tuned on its dev
part, sources stay as they are; `test_meeting_scripts.py` holds it to its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from atrium_meeting.domain.transcript import join

from .script import TYPES, Planted, Script, read_scripts

FOLDER: Final = Path(__file__).parent
_MS_PER_WORD: Final = {"en": 360, "zh": 235}
"""165 English words a minute, 4.3 Chinese characters a second."""
_WRONG_DATES: Final = {
    "en": ("on Sunday", "on the second of January", "on the ninth of February"),
    "zh": ("周日", "一月二号", "二月九号"),
}

_EMPTY: Final = frozenset(
    "with that this they them their there then than were been will would have does about from "
    "into what when each every only very more most some like".split()
)
_EMPTY_CHARACTERS: Final = "的了是有在要把就都不个们这那我你他她它到过去来很和给由说会能"


_SOURCES: Final = tuple(
    FOLDER / "sources" / f"{name}.txt" for name in ("en_1", "en_2", "zh_1", "zh_2")
)


def build(sources: Iterable[Path] = _SOURCES) -> str:
    """Return the meetings of scripts, one JSON object a line; of the frozen ones as they are."""
    scripts = [script for source in sources for script in read_scripts(source)]
    scripts.sort(key=lambda script: (script.language, TYPES.index(script.type), script.id))
    made = [_meeting(number, script) for number, script in enumerate(scripts)]
    return "".join(json.dumps(meeting, ensure_ascii=False) + "\n" for meeting in made)


def _meeting(number: int, script: Script) -> dict[str, Any]:
    chance = random.Random(script.id)
    names = list(script.speakers)
    at = 400
    utterances = []
    for index, line in enumerate(script.lines, 1):
        length = max(400, round(len(line.words) * _MS_PER_WORD[script.language]))
        length = round(length * chance.uniform(0.88, 1.15))
        utterances.append(
            {
                "id": f"u{index}",
                "speaker": f"S{names.index(line.speaker) + 1}",
                "text": join(line.words),
                "start_ms": at,
                "end_ms": at + length,
            }
        )
        at += length + chance.randint(150, 900)
    decisions = [
        {"id": item.label, "text": item.text, "utterances": _ids(script, [item.label])}
        for item in script.planted
        if item.label[0] == "d"
    ]
    actions = [
        {
            "id": item.label,
            "text": item.text,
            "owner": item.owner,
            "due_text": item.due_text,
            "due_date": item.due_date,
            "utterances": _ids(script, [item.label]),
            "topic": item.topic,
        }
        for item in script.planted
        if item.label[0] == "a"
    ]
    return {
        "id": script.id,
        "language": script.language,
        "type": script.type,
        "split": script.split,
        "date": script.date.isoformat(),
        "title": script.title,
        "agenda": script.agenda,
        "speakers": [{"id": f"S{i}", "name": name} for i, name in enumerate(names, 1)],
        "utterances": utterances,
        "topics": [{"title": t, "start": start, "end": end} for t, start, end in script.topics],
        "decisions": decisions,
        "actions": actions,
        "sentences": _sentences(number, script, chance),
        "windows": _windows(number, script, utterances, chance),
        "hotwords": script.hotwords,
    }


def _ids(script: Script, labels: list[str]) -> list[str]:
    lines = sorted({line for label in labels for line in script.supporting(label)})
    return [f"u{line + 1}" for line in lines]


def _sentences(number: int, script: Script, chance: random.Random) -> list[dict[str, Any]]:
    actions = [item for item in script.planted if item.label[0] == "a"]
    told = [(s.text, s.labels, s.kind) for s in script.sentences]
    told += [(item.text, [item.label], "") for item in script.planted if item.label[0] == "d"]
    told += [(_says(script, item, item.owner, item.due_text), [item.label], "") for item in actions]
    told += _invented(number, script, actions)
    chance.shuffle(told)
    return [
        {
            "text": text,
            "utterances": _cited(script, text, labels),
            "faithful": not kind,
            "kind": kind,
        }
        for text, labels, kind in told
    ]


def _cited(script: Script, text: str, labels: list[str]) -> list[str]:
    """Return the lines that bear the labels, and up to three before that say what is meant.

    "That would be Mrs Pohl, she has to cancel it" needs the line that names the contract.
    """
    lines = sorted({line for label in labels for line in script.supporting(label)})
    missing = _content(script, text)
    for line in lines:
        missing -= _content(script, join(script.lines[line].words), script.lines[line].speaker)
    near = [i for i in range(max(0, lines[0] - 12), lines[-1]) if i not in lines]
    for _ in range(3):
        gains = [(len(missing & _content(script, join(script.lines[i].words))), i) for i in near]
        gain, line = max(gains, default=(0, 0))
        if not gain:
            break
        lines.append(line)
        near.remove(line)
        missing -= _content(script, join(script.lines[line].words))
    return [f"u{line + 1}" for line in sorted(lines)]


def _content(script: Script, *texts: str) -> set[str]:
    """Return what a text speaks of: beginnings of long English words, pairs of characters."""
    if script.language == "en":
        words = re.findall(r"[a-z]+", " ".join(texts).lower())
        return {word[:5] for word in words if len(word) > 3 and word not in _EMPTY}
    runs = re.split(f"[^\u4e00-\u9fff]+|[{_EMPTY_CHARACTERS}]", "，".join(texts))
    return {run[i : i + 2] for run in runs for i in range(len(run) - 1)}


def _invented(
    number: int, script: Script, actions: list[Planted]
) -> Iterator[tuple[str, list[str], str]]:
    """Yield a wrong sentence about actions: merged with another's, another owner, another date.

    Where one person is to do everything, or nobody is left to be named, there is none.
    """
    first, *rest = actions or [Planted("", "")]
    other = next((item for item in rest if item.owner != first.owner), None)
    if other is None:
        return
    if number % 4 < 2:
        both = Planted("", _both(script, first.text, other.text))
        yield (
            _says(script, both, first.owner, first.due_text),
            [first.label, other.label],
            "MERGED",
        )
    elif number % 4 == 2:
        said = {first.owner, *(script.lines[i].speaker for i in script.supporting(first.label))}
        for wrong in [name for name in reversed(script.speakers) if name not in said][:1]:
            yield _says(script, first, wrong, first.due_text), [first.label], "OWNER"
    else:
        dates = _WRONG_DATES[script.language]
        due = dates[number % len(dates)]
        yield _says(script, other, other.owner, due), [other.label], "DATE"


def _both(script: Script, one: str, two: str) -> str:
    return f"{one} and {two}" if script.language == "en" else f"{one}并{two}"


def _says(script: Script, action: Planted, owner: str, due: str) -> str:
    if script.language == "zh":
        return f"{owner}{due}{action.text}。"
    bare = due.split(" ")[0] == "the"
    return f"{owner} will {action.text}{' by' if bare else ''}{' ' if due else ''}{due}."


def _windows(
    number: int, script: Script, utterances: list[dict[str, Any]], chance: random.Random
) -> list[dict[str, Any]]:
    """Return when somebody was away, and what was decided and promised in that time.

    The first window holds a decision where there is one (else an action), and every second meeting
    has one without any; no window cuts the lines of a decision or an action apart.
    """
    held = {item.label: script.supporting(item.label) for item in script.planted}
    decisions = [label for label in held if label[0] == "d"]
    wanted = decisions or list(held)
    if not wanted:
        return []
    missed = held[wanted[number % len(wanted)]]
    windows = [
        (start, end)
        for start in range(1, len(utterances) - 6)
        for end in range(start + 6, min(start + 26, len(utterances)))
        if all((start <= i[0] < end) == (start <= i[-1] < end) for i in held.values())
        and not any(i[0] < start and i[-1] >= end for i in held.values())
    ]
    with_it = [w for w in windows if w[0] <= missed[0] - 2 and missed[-1] < w[1]]
    without = [w for w in windows if not any(w[0] <= held[d][0] < w[1] for d in decisions)]
    drawn_from = [with_it, without] if number % 2 else [with_it]
    chosen = [chance.choice(some) for some in drawn_from if some]
    return [
        {
            "left_at_ms": utterances[start]["start_ms"] - 50,
            "joined_at_ms": utterances[end]["start_ms"] - 50,
            "missed_decisions": [d for d in decisions if start <= held[d][0] < end],
            "other_decisions": [d for d in decisions if not start <= held[d][0] < end],
            "missed_actions": [a for a in held if a[0] == "a" and start <= held[a][0] < end],
        }
        for start, end in chosen
    ]


def main() -> None:
    text = build()
    (FOLDER / "meetings.jsonl").write_text(text, encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    (FOLDER / "meetings.sha256").write_text(f"{digest}  meetings.jsonl\n", encoding="utf-8")


if __name__ == "__main__":
    main()
