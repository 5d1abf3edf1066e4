import numpy as np
import pytest

from atrium_meeting.domain import clustering
from atrium_meeting.domain.clustering import cluster, unit


def voices(speakers: int, each: int, *, noise: float, seed: int = 0) -> np.ndarray:
    """Embeddings of speakers in turn, around directions at right angles to each other."""
    random = np.random.default_rng(seed)
    centres = np.eye(192, dtype=np.float32)[:speakers]
    found = np.tile(centres, (each, 1))
    return found + random.normal(0, noise / np.sqrt(192), found.shape).astype(np.float32)


def test_each_speaker_becomes_one_group():
    labels = cluster(voices(5, 20, noise=0.8), np.ones(100, np.float32), threshold=0.35)

    assert labels.tolist() == [0, 1, 2, 3, 4] * 20


def test_nothing_is_put_together_that_is_less_alike_than_asked_for():
    pair = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)

    assert cluster(pair, np.ones(2, np.float32), threshold=0.61).tolist() == [0, 1]
    assert cluster(pair, np.ones(2, np.float32), threshold=0.59).tolist() == [0, 0]


def test_long_speech_counts_for_more():
    # The middle one is nearer to the left; what comes of both is .48 like the right one when all
    # weigh the same, and .79 when the middle one stands for most of the speech.
    angles = np.radians([0.0, 35.0, 75.0])
    three = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)

    evenly = cluster(three, np.ones(3, np.float32), threshold=0.6)
    by_length = cluster(three, np.array([1, 20, 1], np.float32), threshold=0.6)

    assert evenly.tolist() == [0, 0, 1]
    assert by_length.tolist() == [0, 0, 0]


def test_blocks_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch):
    everything = voices(7, 60, noise=1.0, seed=3)
    weights = np.random.default_rng(4).uniform(1, 4, len(everything)).astype(np.float32)
    whole = cluster(everything, weights, threshold=0.3)

    monkeypatch.setattr(clustering, "_BLOCK", 100)
    in_blocks = cluster(everything, weights, threshold=0.3)

    assert len(set(whole.tolist())) == 7
    assert in_blocks.tolist() == whole.tolist()


def test_strangers_beyond_one_block_stay_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clustering, "_BLOCK", 50)

    labels = cluster(np.eye(192, dtype=np.float32), np.ones(192, np.float32), threshold=0.2)

    assert labels.tolist() == list(range(192))


def test_beyond_what_memory_holds_strangers_are_put_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clustering, "_BLOCK", 50)
    monkeypatch.setattr(clustering, "_MOST", 100)

    labels = cluster(np.eye(192, dtype=np.float32), np.ones(192, np.float32), threshold=0.2)

    assert len(set(labels.tolist())) <= 100


def test_500_speakers_are_told_apart():
    random = np.random.default_rng(7)
    centres = unit(random.normal(size=(500, 192)))
    everything = np.repeat(centres, 6, axis=0) + random.normal(0, 0.03, (3000, 192))

    labels = cluster(everything.astype(np.float32), np.ones(3000, np.float32), threshold=0.4)

    assert labels.tolist() == np.repeat(np.arange(500), 6).tolist()


def test_the_same_voice_many_times_is_one_group():
    same = np.ones((300, 192), np.float32)

    assert set(cluster(same, np.ones(300, np.float32), threshold=0.9).tolist()) == {0}


@pytest.mark.parametrize("many", [0, 1])
def test_hardly_anything_is_no_trouble(many: int):
    labels = cluster(np.ones((many, 192), np.float32), np.ones(many, np.float32), threshold=0.5)

    assert labels.tolist() == [0] * many


def test_a_vector_of_zeros_has_no_direction():
    assert unit(np.zeros((2, 3), np.float32)).tolist() == [[0, 0, 0], [0, 0, 0]]
