"""Diarization with what ships: segmentation-3.0, CAM++ and clustering; no torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from atrium_meeting.adapters.onnx_speaker_models import (
    DIMENSIONS,
    LEAST_FRAMES,
    OnnxSpeakerEncoder,
    Segmentation,
)
from atrium_meeting.app.ports import SpeakerPiece
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples
from atrium_meeting.domain.clustering import Labels, Vectors
from atrium_meeting.domain.diarization import (
    ACTIVE,
    FIRST_FRAME_MS,
    FRAME_MS,
    FRAME_SAMPLES,
    LOCAL_SPEAKERS,
    WINDOW_SAMPLES,
    ExaminedPiece,
    Frames,
    Stretches,
    cut_stretches,
    find_turns,
)
from atrium_meeting.domain.filter_bank import STEP_SAMPLES, filter_bank
from atrium_meeting.domain.transcript import SpeakerTurn

STEP_FRAMES: Final = 148
"""Frames from one window to the next: 2.5 s, so that each moment is seen four times."""
_FEATURE_MS: Final = 1000 * STEP_SAMPLES / SAMPLE_RATE
_NO_VOICE: Final = np.zeros(DIMENSIONS, np.float32)


class OnnxDiarizer:
    """Overlap-aware diarization (Bredin 2023) of pieces, put together over the whole meeting.

    Args:
        threads: Of ONNX Runtime, for each of the two networks.
        step_frames: Frames from one window to the next.
    """

    model = "segmentation-3.0+campplus"

    def __init__(self, threads: int = 2, step_frames: int = STEP_FRAMES) -> None:
        self._segmentation = Segmentation(threads)
        self._encoder = OnnxSpeakerEncoder(threads)
        self._step = step_frames

    def examine(self, samples: Samples, speech: Sequence[Region], offset_ms: int) -> SpeakerPiece:
        """Return classes of frames and embeddings of the windows in which somebody speaks."""
        starts = window_starts(len(samples), speech, self._step)
        classes = self._segmentation.classes(samples, starts)
        stretches = self._stretches(samples, starts, classes)
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            starts=np.array(starts, np.int32),
            classes=classes,
            places=np.array(
                [stretches.windows, stretches.speakers, stretches.firsts, stretches.lasts], np.int32
            ),
            seconds=stretches.seconds,
            embeddings=stretches.embeddings.astype(np.float16),
        )
        return SpeakerPiece(offset_ms, stream.getvalue())

    def assign(self, pieces: Sequence[SpeakerPiece], speakers: int = 0) -> list[SpeakerTurn]:
        """Return who spoke when, over all pieces."""
        return find_turns([read_piece(piece) for piece in pieces], speakers)

    def _stretches(self, samples: Samples, starts: Sequence[int], classes: Frames) -> Stretches:
        features = filter_bank(samples)
        places: list[tuple[int, int, int, int]] = []
        seconds: list[float] = []
        embeddings: list[npt.NDArray[np.float32]] = []
        for window, (start, some) in enumerate(zip(starts, classes, strict=True)):
            active = ACTIVE[some]
            alone = active & (active.sum(1, keepdims=True) == 1)
            offset = (FIRST_FRAME_MS + start * FRAME_MS) / _FEATURE_MS
            for local in range(LOCAL_SPEAKERS):
                for first, last in cut_stretches(active[:, local]):
                    known = np.zeros(0, np.int64)
                    # Where nobody else speaks; for want of that, all of it.
                    for frames in (alone[:, local], active[:, local]):
                        if len(known) < LEAST_FRAMES:
                            known = _features_within(frames, first, last, offset, len(features))
                    embedding = self._encoder.embed(features[known])
                    places.append((window, local, first, last))
                    seconds.append(
                        0.0
                        if embedding is None
                        else max(0.1, float(alone[first:last, local].sum() * FRAME_MS / 1000))
                    )
                    embeddings.append(_NO_VOICE if embedding is None else embedding)
        return _stretches_of(
            np.array(places, np.int64).reshape(-1, 4).T,
            np.array(seconds, np.float32),
            np.array(embeddings, np.float32).reshape(-1, DIMENSIONS),
        )


def read_piece(piece: SpeakerPiece) -> ExaminedPiece:
    """Return what `OnnxDiarizer.examine` wrote."""
    with np.load(io.BytesIO(piece.data), allow_pickle=False) as arrays:
        return ExaminedPiece(
            piece.offset_ms,
            arrays["starts"].astype(np.int64),
            arrays["classes"],
            _stretches_of(
                arrays["places"].astype(np.int64),
                arrays["seconds"],
                arrays["embeddings"].astype(np.float32),
            ),
        )


def _stretches_of(places: Labels, seconds: Vectors, embeddings: Vectors) -> Stretches:
    """Return stretches whose windows, local speakers, first and last frames are four rows."""
    windows, speakers, firsts, lasts = places
    return Stretches(windows, speakers, firsts, lasts, seconds, embeddings)


def window_starts(samples: int, speech: Sequence[Region], step: int) -> list[int]:
    """Return where windows begin, in frames: all that meet speech, the last flush with the end."""
    last = max(0, (samples - WINDOW_SAMPLES) // FRAME_SAMPLES)
    starts = [*range(0, last, step), last] if samples else []
    return [
        start
        for start in starts
        if any(
            region.start_ms < (start * FRAME_SAMPLES + WINDOW_SAMPLES) / 16
            and region.end_ms > start * FRAME_SAMPLES / 16
            for region in speech
        )
    ]


def _features_within(
    frames: npt.NDArray[np.bool_], first: int, last: int, offset: float, many: int
) -> npt.NDArray[np.int64]:
    """Return the features that fall into those of some frames that are marked.

    ``offset`` is where the first frame of the window begins, in features; a feature looks at 25 ms,
    so its middle lies 12.5 ms after its beginning.
    """
    begin, end = (int(offset + place * FRAME_MS / _FEATURE_MS) for place in (first, last))
    places = np.arange(max(0, begin), min(many, end))
    inside = ((places - offset + 1.25) * _FEATURE_MS / FRAME_MS).astype(np.int64)
    return places[frames[np.clip(inside, first, last - 1)]]
