import numpy as np
import pytest

from atrium_meeting.domain.diarization import (
    ACTIVE,
    FIRST_FRAME_MS,
    FRAME_MS,
    WINDOW_FRAMES,
    ExaminedPiece,
    Stretches,
    cut_stretches,
    find_turns,
    in_order_of_speaking,
    tidy,
)
from atrium_meeting.domain.transcript import SpeakerTurn

NOBODY, FIRST, SECOND, BOTH = 0, 1, 2, 4
A, B, C = np.eye(3, 192, dtype=np.float32)


def piece(
    classes: list[tuple[int, int]],
    voices: dict[tuple[int, int], np.ndarray],
    *,
    offset_ms: int = 0,
    seconds: float | None = None,
) -> ExaminedPiece:
    """One window: (class, frames) from its beginning; voices by local speaker and stretch."""
    frames = np.repeat([c for c, _ in classes], [n for _, n in classes]).astype(np.uint8)
    frames = np.concatenate([frames, np.zeros(WINDOW_FRAMES - len(frames), np.uint8)])
    rows = []
    for local in range(3):
        for number, (first, last) in enumerate(cut_stretches(ACTIVE[frames][:, local])):
            length = (last - first) * FRAME_MS / 1000 if seconds is None else seconds
            rows.append((0, local, first, last, length, voices[local, number]))
    return ExaminedPiece(
        offset_ms,
        np.zeros(1, np.int64),
        frames[None],
        Stretches(
            *(np.array([row[column] for row in rows], np.int64) for column in range(4)),
            np.array([row[4] for row in rows], np.float32),
            np.array([row[5] for row in rows], np.float32).reshape(len(rows), 192),
        ),
    )


def milliseconds(frame: int) -> int:
    return round(FIRST_FRAME_MS + frame * FRAME_MS)


def test_each_voice_is_a_speaker_and_the_first_one_to_speak_is_s1():
    turns = find_turns(
        [piece([(NOBODY, 20), (SECOND, 140), (NOBODY, 30), (FIRST, 140)], {(1, 0): A, (0, 0): B})]
    )

    assert turns == [
        SpeakerTurn("S1", milliseconds(20), milliseconds(160)),
        SpeakerTurn("S2", milliseconds(190), milliseconds(330)),
    ]


def test_two_who_speak_at_once_both_have_turns():
    turns = find_turns([piece([(FIRST, 140), (BOTH, 40), (SECOND, 140)], {(0, 0): A, (1, 0): B})])

    assert turns == [
        SpeakerTurn("S1", milliseconds(0), milliseconds(180)),
        SpeakerTurn("S2", milliseconds(140), milliseconds(320)),
    ]


def test_the_same_voice_is_the_same_speaker_in_every_piece():
    early = piece([(FIRST, 140), (NOBODY, 40), (SECOND, 140)], {(0, 0): A, (1, 0): B})
    late = piece(
        [(FIRST, 140), (NOBODY, 40), (SECOND, 140)], {(0, 0): B, (1, 0): A}, offset_ms=300_000
    )

    turns = find_turns([early, late])

    assert [turn.speaker for turn in turns] == ["S1", "S2", "S2", "S1"]
    assert turns[2].start_ms == 300_000 + milliseconds(0)


def test_a_local_speaker_who_is_two_voices_is_cut_where_the_voice_changes():
    turns = find_turns([piece([(FIRST, 140), (NOBODY, 20), (FIRST, 140)], {(0, 0): A, (0, 1): B})])

    assert [turn.speaker for turn in turns] == ["S1", "S2"]


def test_voices_that_overlap_and_sound_alike_are_still_two_speakers():
    # Both embeddings of the overlap are of the louder voice; somebody else was heard before.
    turns = find_turns(
        [
            piece(
                [(FIRST, 140), (NOBODY, 30), (SECOND, 140), (BOTH, 60)],
                {(0, 0): A, (0, 1): B, (1, 0): B},
            )
        ]
    )

    assert {turn.speaker for turn in turns if turn.end_ms > milliseconds(320)} == {"S1", "S2"}


def test_a_given_number_of_speakers_is_kept_to():
    three = piece(
        [(FIRST, 140), (NOBODY, 30), (SECOND, 140), (NOBODY, 30), (FIRST, 140)],
        {(0, 0): A, (1, 0): B, (0, 1): (A + 0.3 * C)},
    )
    alike = piece([(FIRST, 140), (NOBODY, 30), (SECOND, 140)], {(0, 0): A, (1, 0): A + 0.3 * B})

    assert len({turn.speaker for turn in find_turns([three], speakers=2)}) == 2
    assert len({turn.speaker for turn in find_turns([three], speakers=1)}) == 1
    assert len({turn.speaker for turn in find_turns([alike])}) == 1


def test_speech_too_short_for_an_embedding_goes_with_its_neighbours():
    turns = find_turns(
        [
            piece([(FIRST, 140), (NOBODY, 8), (FIRST, 12)], {(0, 0): A, (0, 1): A}),
        ]
    )

    assert turns == [SpeakerTurn("S1", milliseconds(0), milliseconds(160))]


def test_without_any_voice_nobody_speaks():
    nothing = piece([(NOBODY, 100)], {})
    unheard = piece([(FIRST, 20)], {(0, 0): np.zeros(192, np.float32)}, seconds=0.0)

    assert find_turns([]) == []
    assert find_turns([nothing, unheard]) == []


def test_stretches_end_at_pauses_and_long_speech_is_cut():
    active = np.zeros(WINDOW_FRAMES, bool)
    active[10:50] = active[54:100] = active[120:560] = True

    assert cut_stretches(active) == [(10, 100), (120, 267), (267, 413), (413, 560)]


def test_short_pauses_are_bridged_and_short_turns_dropped():
    turns = [
        SpeakerTurn("a", 0, 1000),
        SpeakerTurn("b", 900, 1000),
        SpeakerTurn("a", 1200, 2000),
        SpeakerTurn("a", 2300, 3000),
    ]

    assert tidy(turns, gap_ms=250, shortest_ms=150) == [
        SpeakerTurn("a", 0, 2000),
        SpeakerTurn("a", 2300, 3000),
    ]


def test_speakers_are_numbered_by_their_first_turn():
    turns = [SpeakerTurn("x", 0, 1), SpeakerTurn("c", 1, 2), SpeakerTurn("x", 2, 3)]

    assert [turn.speaker for turn in in_order_of_speaking(turns)] == ["S1", "S2", "S1"]


@pytest.mark.parametrize("speakers", [0, 5])
def test_more_speakers_than_voices_is_no_trouble(speakers: int):
    one = piece([(FIRST, 140)], {(0, 0): A})

    assert {turn.speaker for turn in find_turns([one], speakers=speakers)} == {"S1"}
