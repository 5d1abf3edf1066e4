"""Which kind a disfluency is, told by what follows it."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_meeting.domain.cleanup.guards import EDIT, FILLER, KEEP
from atrium_meeting.domain.cleanup.units import Case, Unit
from atrium_meeting.domain.transcript import Disfluency


def name_kinds(units: Sequence[Unit], labels: Sequence[int]) -> list[Disfluency | None]:
    """Return the kind of each word.

    A stretch that comes again word by word is a repetition; one of which a part comes again, or
    whose last word was only begun, a repair; one of which nothing does, a false start.
    """
    kinds: list[Disfluency | None] = [
        Disfluency.FILLER if label == FILLER else None for label in labels
    ]
    place, count = 0, len(labels)
    while place < count:
        if labels[place] != EDIT:
            place += 1
            continue
        end = place
        while end < count and labels[end] != KEEP:
            end += 1
        edits = [at for at in range(place, end) if labels[at] == EDIT]
        kept = [at for at in range(end, min(count, end + 3 * len(edits) + 8)) if labels[at] == KEEP]
        kind = _kind([units[at] for at in edits], [units[at] for at in kept[: len(edits) + 2]])
        for at in edits:
            kinds[at] = kind
        place = end
    return kinds


def _kind(said: Sequence[Unit], after: Sequence[Unit]) -> Disfluency:
    cores = [unit.core for unit in said]
    following = [unit.core for unit in after]
    everything = cores + following
    count = len(cores)
    for period in range(1, count + 1):
        if everything[period : period + count] == cores:
            return Disfluency.REPETITION
    if not following:  # said before, at the end
        return Disfluency.REPETITION
    begun = said[-1].case is Case.BROKEN or any(
        other.startswith(cores[-1]) and other != cores[-1] for other in following[:2]
    )
    if begun or set(cores) & set(following):
        return Disfluency.REPAIR
    return Disfluency.FALSE_START
