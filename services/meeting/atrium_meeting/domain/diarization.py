"""From what short windows tell of their speakers to who spoke when in a whole meeting.

Each window is cut into frames; in each frame nobody, one or two of its at most three *local*
speakers speak (powerset classes, Plaquet and Bredin 2023). A local speaker who speaks enough has
an embedding. Clustering names the local speakers; where windows overlap, they vote (Bredin 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.clustering import Labels, Vectors, cluster, unit
from atrium_meeting.domain.transcript import SpeakerTurn

FRAME_SAMPLES: Final = 270
"""Samples from one frame to the next: 16.875 ms."""
FRAME_MS: Final = 16.875
FIRST_FRAME_MS: Final = 22.5
"""Where the first frame of a window begins: half a step before the middle of what it looks at."""
WINDOW_SAMPLES: Final = 160_000
WINDOW_FRAMES: Final = 589
LOCAL_SPEAKERS: Final = 3
STRETCH_FRAMES: Final = 148
"""Frames of a stretch of which a long one is made: 2.5 s."""
BRIDGED_FRAMES: Final = 6
"""Pauses up to this many frames, a tenth of a second, end no stretch."""
ACTIVE: Final = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.bool_
)
"""Who speaks in each class, [classes, local speakers]."""

Frames = npt.NDArray[np.uint8]
Activity = npt.NDArray[np.bool_]

_MOST_GROUPS: Final = 2000
"""Groups that are compared to find the speakers; of more, those of most speech."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was tuned (``tests/eval/diarization``).

    Args:
        threshold: Least mean similarity of groups of hardly any speech that are of one speaker.
        reliable_s: Speech, in seconds, from which a stretch takes part in the clustering; the
            others go to the nearest speaker that came of it.
        least_speaker_s: Who says less in all is taken for somebody else; windows that overlap count
            the same speech several times.
        least_speaker_share: The same as a share of all speech, for long meetings.
        much_threshold: The same for groups of much speech, and for single stretches.
        much_speech_s: How much speech, in seconds, is much.
        switch: What it costs that a local speaker becomes another one, in similarity times seconds.
        switch_at_pause: The same after a pause.
        shortest_ms: Shorter turns are dropped.
        gap_ms: Shorter pauses of a speaker belong to the turn.
    """

    threshold: float = 0.2
    reliable_s: float = 1.0
    least_speaker_s: float = 1.5
    least_speaker_share: float = 0.002
    much_threshold: float = 0.52
    much_speech_s: float = 36.0
    switch: float = 0.6
    switch_at_pause: float = 0.3
    shortest_ms: int = 150
    gap_ms: int = 250


@dataclass(frozen=True, slots=True)
class Stretches:
    """Stretches in which a local speaker speaks, all fields of one length.

    Args:
        windows: The window.
        speakers: The local speaker, 0 to 2.
        firsts: First frame of the window.
        lasts: The frame after the last one.
        seconds: Speech that the embedding stands for; 0: no embedding.
        embeddings: Voices, [stretches, dimensions]; zeros where there was too little speech.
    """

    windows: Labels
    speakers: Labels
    firsts: Labels
    lasts: Labels
    seconds: Vectors
    embeddings: Vectors

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.windows)


@dataclass(frozen=True, slots=True)
class ExaminedPiece:
    """What is known of a piece.

    Args:
        offset_ms: Where the piece begins in the recording.
        starts: Where each window begins, in frames of the piece, [windows].
        classes: Powerset class of each frame, [windows, frames].
        stretches: In order of window, local speaker and time.
    """

    offset_ms: int
    starts: Labels
    classes: Frames
    stretches: Stretches


def cut_stretches(active: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the stretches, first frame and the one after the last, of one speaker's frames.

    They end at pauses, since a model may take two similar voices of a window for one; long ones are
    cut into equal parts for the same reason.
    """
    changes = np.diff(active.astype(np.int8), prepend=0, append=0)
    runs: list[tuple[int, int]] = []
    for start, end in zip(
        np.flatnonzero(changes == 1).tolist(), np.flatnonzero(changes == -1).tolist(), strict=True
    ):
        if runs and start - runs[-1][1] <= BRIDGED_FRAMES:
            start = runs.pop()[0]
        runs.append((start, end))
    stretches = []
    for start, end in runs:
        edges = np.linspace(start, end, max(1, round((end - start) / STRETCH_FRAMES)) + 1)
        places = np.rint(edges).astype(int).tolist()
        stretches += list(pairwise(places))
    return stretches


def find_turns(
    pieces: Sequence[ExaminedPiece], speakers: int = 0, tuning: Tuning | None = None
) -> list[SpeakerTurn]:
    """Return who spoke when; "S1" is who spoke first.

    Args:
        pieces: In order of time.
        speakers: How many speakers there are; 0: found out.
        tuning: Other values than the tuned ones.
    """
    tuning = tuning or Tuning()
    voiced = [piece for piece in pieces if piece.stretches.seconds.any()]
    if not voiced:
        return []
    means = find_speakers(
        np.concatenate([piece.stretches.embeddings for piece in voiced]),
        np.concatenate([piece.stretches.seconds for piece in voiced]),
        speakers,
        tuning,
    )
    found: list[SpeakerTurn] = []
    for piece in voiced:
        found += _turns_of_piece(piece, _name_stretches(piece.stretches, means, tuning))
    return in_order_of_speaking(tidy(found, tuning.gap_ms, tuning.shortest_ms))


def find_speakers(embeddings: Vectors, seconds: Vectors, speakers: int, tuning: Tuning) -> Vectors:
    """Return the mean voice of each speaker, unit vectors."""
    reliable = seconds >= tuning.reliable_s
    if reliable.sum() < max(1, speakers):
        reliable = seconds > 0
    voices, weights = unit(embeddings[reliable]), seconds[reliable]
    labels = cluster(voices, weights, threshold=tuning.much_threshold)
    return unit(_few(*_sums(voices, weights, labels), speakers, tuning))


def name_voices(embeddings: Vectors, seconds: Vectors, speakers: int = 0) -> Labels:
    """Return the speaker of each of some voices that were told apart piece by piece.

    Args:
        embeddings: One a voice and piece, [voices, dimensions]; zeros where it is not known.
        seconds: Speech of each; 0 where the embedding is not known.
        speakers: How many there are; 0: found out.
    """
    if not seconds.any():
        return np.zeros(len(seconds), np.int64)
    # Windows overlap four times, so what is tuned on them counts each second four times.
    means = find_speakers(embeddings, 4 * seconds, speakers, Tuning())
    labels: Labels = (unit(embeddings) @ means.T).argmax(1)
    return labels


def _sums(voices: Vectors, seconds: Vectors, labels: Labels) -> tuple[Vectors, Vectors]:
    sums = np.zeros((int(labels.max()) + 1, voices.shape[1]), np.float32)
    weights = np.zeros(len(sums), np.float32)
    np.add.at(sums, labels, voices * seconds[:, None])
    np.add.at(weights, labels, seconds)
    return sums, weights


def _few(sums: Vectors, weights: Vectors, speakers: int, tuning: Tuning) -> Vectors:
    """Return the sums of voices of as many speakers as there are.

    Groups come together as long as they are alike enough: the more speech there is of both, the
    more alike they must be, since means of much speech differ little by chance. Then groups with
    hardly any speech go.
    """
    sums, weights = _put_together(sums, weights, 0, tuning)
    order = np.argsort(-weights, kind="stable")
    sums, weights = sums[order], weights[order]
    least = max(tuning.least_speaker_s, tuning.least_speaker_share * float(weights.sum()))
    kept = max(1, int((weights >= least).sum()), speakers)
    sums, _ = _put_together(sums[:kept], weights[:kept], speakers or kept, tuning)
    return sums


def _put_together(
    sums: Vectors, weights: Vectors, count: int, tuning: Tuning
) -> tuple[Vectors, Vectors]:
    """Merge the most alike groups: down to a count or, if that is 0, while alike enough."""
    order = np.argsort(-weights, kind="stable")[:_MOST_GROUPS]
    sums, weights = sums[order], weights[order]

    def alike(places: Labels) -> Vectors:
        """Return how alike some groups and all are, without those that may not be merged."""
        means = sums / weights[:, None]
        found: Vectors = means[places] @ means.T
        if not count:
            much = np.minimum(1.0, weights / tuning.much_speech_s)
            extra = np.minimum(much[places, None], much)
            least = tuning.threshold + (tuning.much_threshold - tuning.threshold) * extra
            found[found < least] = -np.inf
        found[:, gone] = -np.inf
        found[np.arange(len(places)), places] = -np.inf
        return found

    gone = np.zeros(len(weights), bool)
    matrix = alike(np.arange(len(weights)))
    for _ in range(len(weights) - max(1, count)):
        one, other = sorted(int(place) for place in np.unravel_index(matrix.argmax(), matrix.shape))
        if matrix[one, other] == -np.inf:
            break
        sums[one] += sums[other]
        weights[one] += weights[other]
        gone[other] = True
        matrix[other] = matrix[:, other] = -np.inf
        matrix[one] = matrix[:, one] = alike(np.array([one]))[0]
    return sums[~gone], weights[~gone]


def _name_stretches(stretches: Stretches, means: Vectors, tuning: Tuning) -> Labels:
    """Return the speaker of each stretch: the likeliest way through those of a local speaker.

    A local speaker may become another one, at a price (Viterbi 1967).
    """
    gain = stretches.embeddings @ means.T * stretches.seconds[:, None]
    labels = np.zeros(len(stretches), np.int64)
    owner = stretches.windows * LOCAL_SPEAKERS + stretches.speakers
    edges = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(stretches)]
    for start, end in pairwise(edges):
        best = gain[start].copy()
        came_from: list[Labels] = []
        for place in range(start + 1, end):
            pause = stretches.firsts[place] > stretches.lasts[place - 1]
            price = tuning.switch_at_pause if pause else tuning.switch
            switched = best.max() - price
            came_from.append(np.where(best >= switched, np.arange(len(means)), best.argmax()))
            best = np.maximum(best, switched) + gain[place]
        labels[end - 1] = best.argmax()
        for place in range(end - 2, start - 1, -1):
            labels[place] = came_from[place - start][labels[place + 1]]
    if len(means) > 1:
        _tell_apart(stretches, labels, gain)
    return labels


def _tell_apart(stretches: Stretches, labels: Labels, gain: Vectors) -> None:
    """Give two local speakers who speak at once different labels: the less certain one changes.

    Where voices overlap, both embeddings are of the louder one.
    """
    edges = [0, *(np.flatnonzero(np.diff(stretches.windows)) + 1).tolist(), len(stretches)]
    for start, end in pairwise(edges):
        for one, other in combinations(range(start, end), 2):
            if (
                labels[one] != labels[other]
                or stretches.speakers[one] == stretches.speakers[other]
                or stretches.firsts[one] >= stretches.lasts[other]
                or stretches.firsts[other] >= stretches.lasts[one]
            ):
                continue
            label = labels[one]
            second = [np.delete(gain[place], label) for place in (one, other)]
            loss = [
                gain[place, label] - rest.max()
                for place, rest in zip((one, other), second, strict=True)
            ]
            changed = int(loss[1] < loss[0])
            best = int(second[changed].argmax())
            labels[(one, other)[changed]] = best + (best >= label)


def _turns_of_piece(piece: ExaminedPiece, labels: Labels) -> list[SpeakerTurn]:
    """Let the windows vote on each frame: how many speak, and who."""
    stretches = piece.stretches
    window_frames = piece.classes.shape[1]
    frames = int(piece.starts.max()) + window_frames
    names, places = np.unique(labels, return_inverse=True)
    votes = np.zeros((len(names), frames), np.float32)
    total, speaking = np.zeros(frames, np.float32), np.zeros(frames, np.float32)
    trust = _trust(window_frames)
    active = ACTIVE[piece.classes]
    for start, who in zip(piece.starts.tolist(), active, strict=True):
        total[start : start + window_frames] += trust
        speaking[start : start + window_frames] += trust * who.sum(1)
    for window, local, first, last, place in zip(
        stretches.windows.tolist(),
        stretches.speakers.tolist(),
        stretches.firsts.tolist(),
        stretches.lasts.tolist(),
        places.tolist(),
        strict=True,
    ):
        start = int(piece.starts[window])
        votes[place, start + first : start + last] += (
            trust[first:last] * active[window, first:last, local]
        )
    count = np.rint(speaking / np.maximum(total, 1e-6)).astype(np.int64)
    ranks = np.argsort(np.argsort(-votes, axis=0, kind="stable"), axis=0, kind="stable")
    chosen = (ranks < count) & (votes > 0)
    turns = []
    for index, name in enumerate(names.tolist()):
        changes = np.diff(chosen[index].astype(np.int8), prepend=0, append=0)
        for begin, end in zip(
            np.flatnonzero(changes == 1), np.flatnonzero(changes == -1), strict=True
        ):
            turns.append(
                SpeakerTurn(
                    f"S{name + 1}",
                    piece.offset_ms + round(FIRST_FRAME_MS + begin * FRAME_MS),
                    piece.offset_ms + round(FIRST_FRAME_MS + end * FRAME_MS),
                )
            )
    return turns


def _trust(frames: int) -> Vectors:
    """Return how much each frame of a window counts: less at its ends, where context is missing."""
    return (0.1 + np.hanning(frames + 2)[1:-1]).astype(np.float32)


def tidy(turns: Sequence[SpeakerTurn], gap_ms: int, shortest_ms: int) -> list[SpeakerTurn]:
    """Return the turns with short pauses bridged and short turns dropped, in order."""
    last: dict[str, SpeakerTurn] = {}
    done: list[SpeakerTurn] = []
    for turn in sorted(turns, key=lambda turn: turn.start_ms):
        before = last.get(turn.speaker)
        if before is not None and turn.start_ms - before.end_ms < gap_ms:
            turn = SpeakerTurn(turn.speaker, before.start_ms, max(before.end_ms, turn.end_ms))
        elif before is not None:
            done.append(before)
        last[turn.speaker] = turn
    kept = [turn for turn in [*done, *last.values()] if turn.end_ms - turn.start_ms >= shortest_ms]
    return sorted(kept, key=lambda turn: (turn.start_ms, turn.end_ms, turn.speaker))


def in_order_of_speaking(turns: Sequence[SpeakerTurn]) -> list[SpeakerTurn]:
    """Return the turns with speakers numbered by their first one."""
    names = {name: f"S{n}" for n, name in enumerate(dict.fromkeys(t.speaker for t in turns), 1)}
    return [SpeakerTurn(names[turn.speaker], turn.start_ms, turn.end_ms) for turn in turns]
