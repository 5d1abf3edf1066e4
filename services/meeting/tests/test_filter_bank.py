import numpy as np
import pytest

from atrium_meeting.domain.filter_bank import filter_bank
from atrium_meeting.testing import tone


def test_the_numbers_are_kaldis():
    # compute-fbank-feats of kaldi-native-fbank 1.23, 80 bins, no dither, on the same samples.
    time = np.arange(8000) / 16000
    sound = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 2500 * time**2)

    features = filter_bank(sound.astype(np.float32))

    assert features.shape == (48, 80)
    assert features[[0, 0, 20, 47], [0, 13, 40, 79]] == pytest.approx(
        [-2.9889, 2.6354, -15.1217, -15.9424], abs=1e-3
    )


def test_a_tone_is_in_its_band():
    features = filter_bank(tone(0.5, hertz=1000.0))

    assert {int(bin_) for bin_ in features.argmax(1)} == {27}


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2)])
def test_only_whole_frames_count(samples: int, frames: int):
    assert filter_bank(np.zeros(samples, np.float32)).shape == (frames, 80)


def test_silence_is_the_floor():
    assert np.allclose(filter_bank(np.zeros(1600, np.float32)), np.log(np.finfo(np.float32).eps))
