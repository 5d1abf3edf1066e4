from collections import Counter

import pytest

from atrium_knowledge.domain.fusion import Scored, fuse, ranked
from atrium_knowledge.domain.keywords import passage_vector, query_vector, term_id


def test_equal_scores_stand_by_point_after_rounding():
    leg = [Scored(3, 0.5), Scored(1, 0.5000000001), Scored(2, 0.6)]
    assert ranked(leg, 10) == [Scored(2, 0.6), Scored(1, 0.5), Scored(3, 0.5)]
    assert ranked(leg, 2) == [Scored(2, 0.6), Scored(1, 0.5)]


def test_a_point_of_both_legs_comes_before_points_of_one():
    fused = fuse([Scored(1, 9.0), Scored(2, 8.1)], [Scored(3, 0.9), Scored(2, 0.8), Scored(4, 0.4)])
    assert [(one.point, one.keyword_rank, one.vector_rank) for one in fused] == [
        (2, 2, 2),
        (1, 1, 0),
        (3, 0, 1),
        (4, 0, 3),
    ]
    assert [one.similarity for one in fused] == [0.8, None, 0.9, 0.4]


@pytest.mark.parametrize("holding", [1, 2])
def test_a_word_that_few_passages_hold_stands_out_where_vectors_do_not_know_it(holding: int):
    keyword = [Scored(1000 + i, 7.0) for i in range(holding)]
    vector = [Scored(i, 0.8 + 0.1 / (1 + i)) for i in range(50)]
    fused = fuse(keyword, vector)
    assert {one.point for one in fused[:10]} >= {one.point for one in keyword}


def test_keyword_legs_of_many_hits_are_measured_by_themselves():
    keyword = [Scored(point, 40.0 - point) for point in range(20)]
    scores = [one.score for one in fuse(keyword, [])]
    assert scores[0] == pytest.approx(0.45 * (0.5 + 9.5 / 5.766281 / 6), abs=1e-6)
    assert scores[0] + scores[-1] == pytest.approx(0.45, abs=1e-5)


def test_it_counts_by_how_much_a_point_leads():
    vector = [Scored(2, 0.62), Scored(1, 0.6), Scored(3, 0.2)]
    clear = [Scored(1, 9.0), Scored(2, 2.0), Scored(4, 1.9)]
    close = [Scored(1, 9.0), Scored(2, 8.9), Scored(4, 1.0)]
    assert [one.point for one in fuse(clear, vector)][:2] == [1, 2]
    assert [one.point for one in fuse(close, vector)][:2] == [2, 1]


def test_the_scales_of_the_legs_do_not_matter():
    keyword, vector = [Scored(1, 9.0), Scored(2, 3.0)], [Scored(2, 0.7), Scored(3, 0.5)]
    louder = [Scored(one.point, one.score * 40) for one in keyword]
    closer = [Scored(one.point, one.score / 10 + 0.9) for one in vector]
    assert [(one.point, one.score) for one in fuse(louder, closer)] == [
        (one.point, one.score) for one in fuse(keyword, vector)
    ]


def test_a_single_hit_of_the_vectors_counts_half():
    assert [(one.point, one.score) for one in fuse([], [Scored(7, 0.3)])] == [(7, 0.275)]


def test_one_leg_alone_keeps_its_order():
    leg = [Scored(point, 1.0 / point) for point in range(1, 20)]
    assert [one.point for one in fuse(leg, [])] == list(range(1, 20))
    assert [one.point for one in fuse([], leg)] == list(range(1, 20))


def test_a_term_counts_more_often_but_not_without_bound():
    once, twice, often = (
        passage_vector(Counter({"leave": n, "other": 100 - n}))[term_id("leave")]
        for n in (1, 2, 90)
    )
    assert once < twice < often < 2.2


def test_a_term_counts_less_in_a_longer_passage():
    short = passage_vector(Counter({"leave": 1, "x": 10}))[term_id("leave")]
    long = passage_vector(Counter({"leave": 1, "x": 500}))[term_id("leave")]
    assert long < short


def test_weights_of_a_passage_depend_on_nothing_else():
    # Part of the index format: a change of these numbers needs every index to be made again.
    assert passage_vector(Counter({"leave": 2, "pay": 1})) == {
        term_id("leave"): pytest.approx(1.894510, abs=1e-6),
        term_id("pay"): pytest.approx(1.663516, abs=1e-6),
    }
    assert (term_id("leave"), term_id("年假")) == (2556232202, 2152730802)


def test_a_query_counts_its_terms():
    assert query_vector(Counter({"leave": 2})) == {term_id("leave"): 2.0}
