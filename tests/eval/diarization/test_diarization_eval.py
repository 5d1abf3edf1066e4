from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from atrium_meeting.domain.transcript import SpeakerTurn
from tests.eval.diarization.mixtures import loud_regions, mix
from tests.eval.diarization.run import read_rttm
from tests.eval.diarization.scoring import best_pairs, score


def turns(*rows: tuple[str, int, int]) -> list[SpeakerTurn]:
    return [SpeakerTurn(*row) for row in rows]


REFERENCE = turns(
    ("A", 0, 10_000), ("B", 12_000, 20_000), ("A", 24_000, 27_000), ("C", 30_000, 40_000)
)


def test_names_do_not_matter():
    found = turns(
        ("x", 0, 10_000), ("y", 12_000, 20_000), ("x", 24_000, 27_000), ("z", 30_000, 40_000)
    )

    assert score(REFERENCE, found).rate == 0


def test_each_kind_of_error_is_counted_by_hand():
    found = turns(
        ("a", 2_000, 13_000), ("b", 13_000, 14_000), ("c", 14_000, 20_000), ("b", 22_000, 38_000)
    )

    total = score(REFERENCE, found)

    # Speech 31 s. Missed: 0-2, 38-40. False alarm: 10-12, 22-24, 27-30. Pairs: A-a (8 s), B-c
    # (6 s), C-b (8 s); so a in 12-13, b in 13-14 and b in 24-27 are of the wrong speaker.
    assert (total.speech, total.missed, total.false_alarm, total.confusion) == (
        31_000,
        4_000,
        7_000,
        5_000,
    )
    assert total.rate == pytest.approx(16 / 31)


def test_one_speaker_found_where_two_speak_at_once_is_missed_speech():
    reference = turns(("A", 0, 10_000), ("B", 8_000, 12_000))
    found = turns(("x", 0, 12_000))

    scored, left_out = score(reference, found), score(reference, found, overlap=False)

    assert (scored.speech, scored.missed, scored.confusion) == (14_000, 2_000, 2_000)
    assert (left_out.speech, left_out.missed, left_out.confusion) == (10_000, 0, 2_000)


def test_the_mapping_is_the_one_that_leaves_least():
    reference = turns(("A", 0, 6_000), ("B", 6_000, 10_000))
    found = turns(("x", 0, 5_000), ("x", 6_000, 10_000), ("y", 5_000, 6_000))

    assert score(reference, found).confusion == 5_000  # x-A and y-nobody, not x-B and y-A


def test_only_what_lies_within_the_bounds_is_scored():
    found = turns(("x", 0, 10_000), ("y", 35_000, 60_000))

    assert score(REFERENCE, found, start_ms=0, end_ms=11_000).rate == 0
    assert score(REFERENCE, found, start_ms=30_000, end_ms=40_000).missed == 5_000


def test_silence_as_silence_is_right_and_speech_in_silence_is_wrong():
    assert score([], []).rate == 0
    assert score([], turns(("x", 0, 1_000))).rate == 1


def test_pairs_are_the_best_of_all():
    random = np.random.default_rng(5)
    for rows, columns in ((3, 3), (2, 5), (5, 2), (1, 4), (0, 3)):
        gain = random.integers(0, 20, (rows, columns)).astype(float)
        few, many = min(gain.shape), max(gain.shape)
        wide = gain if rows <= columns else gain.T
        best = max(
            sum(wide[row, column] for row, column in enumerate(chosen))
            for chosen in permutations(range(many), few)
        )

        pairs = best_pairs(gain)

        assert sum(gain[pair] for pair in pairs) == best
        assert len(pairs) == few


def hum(seconds: float, hertz: float) -> np.ndarray:
    time = np.arange(int(seconds * 16_000)) / 16_000
    return (0.2 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def test_a_mixture_is_the_same_for_the_same_seed_and_its_turns_are_where_the_sound_is():
    pause = np.zeros(16_000, np.float32)
    voices = {
        name: [np.concatenate([pause, hum(8, hertz), pause])] * 3
        for name, hertz in (("a", 200), ("b", 400), ("c", 800))
    }

    mixture, again, other = mix(voices, 2, 1), mix(voices, 2, 1), mix(voices, 2, 2)

    assert np.array_equal(mixture.samples, again.samples)
    assert mixture.turns == again.turns
    assert mixture.turns != other.turns
    assert len({turn.speaker for turn in mixture.turns}) == 2
    for turn in mixture.turns:
        inside = mixture.samples[turn.start_ms * 16 : turn.end_ms * 16]
        assert np.abs(inside[800:-800]).max() > 0.05
        assert 1_000 < turn.end_ms - turn.start_ms <= 12_000


def test_regions_end_where_the_noise_begins():
    random = np.random.default_rng(0)
    sound = random.normal(0, 0.002, 5 * 16_000).astype(np.float32)
    sound[16_000:48_000] += hum(2, 300)

    (region,) = loud_regions(sound)

    assert abs(region.start_ms - 1000) <= 30
    assert abs(region.end_ms - 3000) <= 30


def test_rttm_is_read(tmp_path: Path):
    file = tmp_path / "a.rttm"
    file.write_text("SPEAKER m1 1 1.440 11.872 <NA> <NA> MEE009 <NA> <NA>\n")

    assert read_rttm(file) == {"m1": [SpeakerTurn("MEE009", 1440, 13312)]}
