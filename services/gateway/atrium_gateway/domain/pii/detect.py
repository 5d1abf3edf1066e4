"""All finders together: which parts of a text are personal data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from atrium_gateway.domain.pii.kinds import Found, PiiKind
from atrium_gateway.domain.pii.names import people
from atrium_gateway.domain.pii.normalise import Normalised
from atrium_gateway.domain.pii.numbers import checked_numbers, net_names, papers, phones
from atrium_gateway.domain.pii.places import addresses

Finder = Callable[[str], Iterator[Found]]

FINDERS: tuple[Finder, ...] = (checked_numbers, net_names, phones, papers, addresses, people)

_PART_CHARS = 2_000
_MARGIN_CHARS = 400
"""Nothing that is found is longer, or needs more around it to be told."""

_RANK = {kind: rank for rank, kind in enumerate(PiiKind)}


class Detector:
    """Finds personal data.

    Args:
        finders: What looks, each over text of plain spelling.
    """

    def __init__(self, finders: Sequence[Finder] = FINDERS) -> None:
        self._finders = tuple(finders)

    def find(self, text: str) -> list[Found]:
        """Return what is personal data, in order, no two overlapping."""
        found: list[Found] = []
        for part in self.find_in_parts(text):
            found = part
        return found

    def find_in_parts(self, text: str) -> Iterator[list[Found]]:
        """Look through a text part by part, so that a caller can do other things between.

        Yields:
            An empty list after each part, and at the end what :meth:`find` returns. A part takes
            some milliseconds.
        """
        plain = Normalised(text)
        found: list[Found] = []
        for start in range(0, max(1, len(plain.text)), _PART_CHARS):
            left = max(0, start - _MARGIN_CHARS)
            end = start + _PART_CHARS
            part = plain.text[left : end + _MARGIN_CHARS]
            for finder in self._finders:
                for each in finder(part):
                    if start <= each.start + left < end:
                        found.append(Found(each.kind, each.start + left, each.end + left))
            if end < len(plain.text):
                yield []
        yield [
            Found(each.kind, *plain.where(each.start, each.end)) for each in without_overlaps(found)
        ]


def same_names(text: str, names: Iterable[str]) -> Iterator[Found]:
    """Find names that were told in another text, where they stand by themselves in this one."""
    for name in names:
        at = text.find(name)
        while at >= 0:
            end = at + len(name)
            if not name.isascii() or not (
                text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()
            ):
                yield Found(PiiKind.PERSON, at, end)
            at = text.find(name, end)


def without_overlaps(found: Iterable[Found]) -> list[Found]:
    """Return what covers all that was found: of what overlaps, the kind of the longest.

    What a loser covers beyond the winner is personal data too, so it goes with it.
    """
    groups: list[list[Found]] = []
    end = -1
    for each in sorted(found, key=lambda one: (one.start, -one.end)):
        if each.start < end:
            groups[-1].append(each)
        else:
            groups.append([each])
        end = max(end, each.end) if each.start < end else each.end
    return [_merged(group) for group in groups]


def _merged(group: Sequence[Found]) -> Found:
    winner = min(group, key=lambda one: (one.start - one.end, _RANK[one.kind]))
    return Found(winner.kind, min(one.start for one in group), max(one.end for one in group))
