from __future__ import annotations

import numpy as np

from atrium_meeting.domain.audio import SAMPLE_RATE, Region
from atrium_meeting.domain.transcript import Word
from atrium_meeting.domain.windows import Window, pack, split, uncovered
from atrium_meeting.testing import silence, tone


def test_neighbours_share_a_window_as_long_as_it_holds_them() -> None:
    regions = [Region(0, 4_000), Region(4_500, 9_000), Region(60_000, 65_000)]
    first, second = pack(regions, 10_000, 800)
    assert first.regions == (regions[0], regions[1])
    assert second.regions == (regions[2],)
    (all_of_them,) = pack(regions, 15_000, 800)
    assert all_of_them.length_ms == 4_000 + 500 + 4_500 + 800 + 5_000


def test_a_window_sounds_as_long_as_it_says() -> None:
    sound = np.arange(30 * SAMPLE_RATE, dtype=np.float32)
    window = Window((Region(1_000, 2_000), Region(2_300, 3_000), Region(20_000, 20_500)), 600)
    heard = window.sound(sound)
    assert len(heard) == window.length_ms * 16 == (1_000 + 300 + 700 + 600 + 500) * 16
    assert heard[0] == 16_000
    assert heard[-500 * 16] == 20_000 * 16


def test_times_in_a_window_are_times_of_the_recording() -> None:
    window = Window((Region(1_000, 2_000), Region(20_000, 20_500)), 600)
    assert window.place(0) == (0, 1_000)
    assert window.place(999.6) == (0, 2_000)
    assert window.place(1_300) == (0, 2_000)
    assert window.place(1_600) == (1, 20_000)
    assert window.place(1_850) == (1, 20_250)
    assert window.place(9_999) == (1, 20_500)
    assert window.place(-5) == (0, 1_000)


def test_what_is_too_long_is_divided_where_it_is_quiet() -> None:
    sound = np.concatenate([tone(7), silence(0.4), tone(8), silence(0.4), tone(7)])
    parts = split(sound, [Region(0, 22_800)], 10_000)
    assert [part.start_ms for part in parts[1:]] == [part.end_ms for part in parts[:-1]]
    assert all(part.length_ms <= 10_000 for part in parts)
    assert 7_000 <= parts[0].end_ms <= 7_400
    assert 15_400 <= parts[1].end_ms <= 15_800


def test_regions_beyond_the_sound_are_cut_to_it() -> None:
    assert split(
        silence(2), [Region(-5, 900), Region(1_500, 9_000), Region(5_000, 6_000)], 30_000
    ) == [
        Region(0, 900),
        Region(1_500, 2_000),
    ]


def test_speech_without_words_is_found() -> None:
    regions = [
        Region(0, 5_000),
        Region(6_000, 12_000),
        Region(13_000, 13_900),
        Region(14_000, 14_500),
    ]
    words = [
        Word("a", 100, 400),
        Word("b", 500, 5_000),  # badly placed: nobody takes so long for a word
        Word("c", 6_000, 6_500),
        Word("d", 9_000, 9_500),
        Word("e", 10_000, 11_000),
    ]
    assert uncovered(regions, words, 1_500) == [
        Region(1_300, 5_000),
        Region(6_500, 9_000),
        Region(13_000, 13_900),
    ]
