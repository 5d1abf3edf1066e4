"""Conversations put together from single utterances, with turns that are known exactly.

Each speaker takes 5 to 8 turns of 2 to 12 seconds, cut out of the utterances at pauses. Turns
follow one another in random order; one in five begins .3 to 1.5 s before the last one ends, the
others .1 to 1.5 s after. Voices differ in level by up to 6 dB; white noise lies 45 dB below full
scale. A turn of the reference is what is louder than 2 % of the utterance's loudest moment,
pauses under .5 s bridged: nothing that is evaluated takes part in it. All by a seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples
from atrium_meeting.domain.transcript import SpeakerTurn

_STEP = SAMPLE_RATE // 100


@dataclass(frozen=True)
class Mixture:
    """A conversation.

    Args:
        name: Number of speakers and seed.
        samples: Its sound.
        turns: Who speaks when.
    """

    name: str
    samples: Samples
    turns: tuple[SpeakerTurn, ...]


def mix(voices: Mapping[str, Sequence[Samples]], speakers: int, seed: int) -> Mixture:
    """Put a conversation together.

    Args:
        voices: Utterances by speaker; at least ``speakers`` of them.
        speakers: How many take part.
        seed: Of everything that is random.
    """
    random = np.random.default_rng([seed, speakers])
    chosen = random.choice(sorted(voices), speakers, replace=False).tolist()
    order = _order(random, [name for name in chosen for _ in range(random.integers(5, 9))])
    level = {name: 10 ** (random.uniform(-3, 3) / 20) for name in chosen}
    unused = {name: random.permutation(len(voices[name])).tolist() for name in chosen}
    placed: list[tuple[int, Samples]] = []
    turns: list[SpeakerTurn] = []
    end = SAMPLE_RATE // 2
    for turn, name in enumerate(order):
        number = unused[name].pop(0)
        unused[name].append(number)
        piece, spoken = _cut_out(random, voices[name][number])
        overlapped = turn > 0 and random.random() < 0.2
        shift = -random.uniform(0.3, 1.5) if overlapped else random.uniform(0.1, 1.5)
        start = max(0, end + round(shift * SAMPLE_RATE))
        placed.append((start, piece * np.float32(level[name] * 0.1 / max(1e-4, _loudness(piece)))))
        begin_ms = start * 1000 // SAMPLE_RATE
        turns += [
            SpeakerTurn(name, begin_ms + region.start_ms, begin_ms + region.end_ms)
            for region in spoken
        ]
        end = max(end, start + len(piece))
    samples = random.normal(0, 10 ** (-45 / 20) / 3, end + SAMPLE_RATE // 2).astype(np.float32)
    for start, piece in placed:
        samples[start : start + len(piece)] += piece
    turns.sort(key=lambda turn: (turn.start_ms, turn.end_ms))
    return Mixture(f"{speakers}-speakers-{seed}", np.clip(samples, -1, 1), tuple(turns))


def _order(random: np.random.Generator, names: list[str]) -> list[str]:
    """Return the turns in random order, nobody after themselves where it can be helped."""
    left = [names[place] for place in random.permutation(len(names))]
    order: list[str] = []
    while left:
        next_ = next((name for name in left if not order or name != order[-1]), left[0])
        left.remove(next_)
        order.append(next_)
    return order


def _cut_out(random: np.random.Generator, utterance: Samples) -> tuple[Samples, list[Region]]:
    """Return 2 to 12 seconds of an utterance, from pause to pause, and where they are speech."""
    regions = loud_regions(utterance, gap_ms=150)
    wanted_ms = random.uniform(2000, 12000)
    starts = [r.start_ms for r in regions if regions[-1].end_ms - r.start_ms >= 2000]
    start = int(random.choice(starts)) if starts else regions[0].start_ms
    ends = [r.end_ms for r in regions if 2000 <= r.end_ms - start <= 12000]
    end = min(ends, key=lambda end: abs(end - start - wanted_ms)) if ends else start + 12000
    turns = [
        Region(max(0, region.start_ms - start), min(region.end_ms, end) - start)
        for region in loud_regions(utterance)
        if region.end_ms > start and region.start_ms < end
    ]
    per_ms = SAMPLE_RATE // 1000
    return utterance[start * per_ms : end * per_ms], turns


def _loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def loud_regions(samples: Samples, gap_ms: int = 500) -> list[Region]:
    """Return where an utterance is louder than its noise (see above), pauses bridged."""
    frames = len(samples) // _STEP
    energy = np.sqrt((samples[: frames * _STEP].reshape(frames, _STEP) ** 2).mean(1))
    smooth = np.convolve(energy, np.ones(5) / 5, "same")
    loudest = np.convolve(energy, np.ones(10) / 10, "same").max()
    loud = smooth > max(0.04 * loudest, 1.6 * np.quantile(smooth, 0.05))
    regions: list[Region] = []
    for place in np.flatnonzero(loud).tolist():
        start, end = 10 * place, 10 * place + 10
        if regions and start - regions[-1].end_ms < gap_ms:
            start = regions.pop().start_ms
        regions.append(Region(start, end))
    return regions
