"""What a sentence's neighbours tell of it."""

import numpy as np

from atrium_meeting.domain.analysis.acts import weights
from atrium_meeting.domain.analysis.context import in_context


def scores(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    return chance.normal(-4, 2, count), chance.normal(-4, 2, count)


def test_there_is_a_weight_for_every_feature():
    features = in_context(*scores(30)).shape[1]
    for with_vectors in (False, True):
        learned = weights(with_vectors=with_vectors)
        for each in (learned.decision_in_context, learned.action_in_context):
            assert each.shape == (features,)
            assert np.isfinite(each).all()


def test_the_scores_themselves_stand_in_front():
    decision, action = scores(30)
    features = in_context(decision, action)
    assert np.array_equal(features[:, 1], np.clip(decision, -8, 8))
    assert np.array_equal(features[:, 2], np.clip(action, -8, 8))


def test_what_is_said_later_changes_nothing_of_what_lies_far_before():
    decision, action = scores(60)
    assert np.array_equal(
        in_context(decision, action)[:32], in_context(decision[:40], action[:40])[:32]
    )


def test_a_talk_ends_as_if_it_went_on_with_nothing_in_particular():
    decision, action = scores(30)
    longer = [np.concatenate([each, np.full(8, -4.0)]) for each in (decision, action)]
    assert np.array_equal(in_context(decision, action), in_context(*longer)[:30])


def test_a_talk_shorter_than_the_window_has_features_too():
    assert in_context(*scores(3)).shape[0] == 3
