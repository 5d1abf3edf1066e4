"""How well boundaries between utterances agree with known ones.

A segmentation of n utterances is the set of those (1 to n - 1) that begin a part.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def matches(found: Collection[float], known: Collection[int], tolerance: float) -> int:
    """Return how many known boundaries have a found one within `tolerance`, one to one."""
    pairs = sorted((abs(f - k), f, k) for f in found for k in known if abs(f - k) <= tolerance)
    used_found: set[float] = set()
    used_known: set[int] = set()
    for _, f, k in pairs:
        if f not in used_found and k not in used_known:
            used_found.add(f)
            used_known.add(k)
    return len(used_known)


def f1(right: int, found: int, known: int) -> float:
    """Return the harmonic mean of precision and recall."""
    return 2 * right / (found + known) if found + known else 1.0


def pk(found: Collection[int], known: Collection[int], n: int) -> float:
    """Return how often two utterances, half a mean part apart, are wrongly together or apart.

    Beeferman, Berger and Lafferty, 1999. Less is better.
    """
    k = _window(known, n)
    a, b = _parts(found, n), _parts(known, n)
    wrong = sum((a[i] == a[i + k]) != (b[i] == b[i + k]) for i in range(n - k))
    return wrong / max(n - k, 1)


def window_diff(found: Collection[int], known: Collection[int], n: int) -> float:
    """Return how often a window holds another number of boundaries than it should.

    Pevzner and Hearst, 2002. Less is better.
    """
    k = _window(known, n)
    a, b = _parts(found, n), _parts(known, n)
    wrong = sum((a[i + k] - a[i]) != (b[i + k] - b[i]) for i in range(n - k))
    return wrong / max(n - k, 1)


def _window(known: Collection[int], n: int) -> int:
    return max(1, min(n - 1, round(n / (len(known) + 1) / 2)))


def _parts(starts: Collection[int], n: int) -> Sequence[int]:
    part, parts, begins = 0, [], set(starts)
    for i in range(n):
        part += i in begins
        parts.append(part)
    return parts
