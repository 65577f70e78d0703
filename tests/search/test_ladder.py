import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import made_rung

from pipeline_lib.search.fidelity import REDUCTION, Ladder
from pipeline_lib.search.finalists import Finalist, next_finalist
from pipeline_lib.trial import Trial, TrialState

LADDER_OF_THREE = Ladder((100, 300, 900), 3)


def test_the_chapter_trains_two_epochs_and_has_no_finals():
    ladder = Ladder.of_passes((1, 2), 54_000)
    assert ladder.rungs == (54_000, 108_000)
    assert not ladder.has_finals
    assert ladder.search_seconds(2000.0) == 2000.0


SIZES = st.integers(1, 2 * 10**6)


@given(st.floats(0.1, 1e6), SIZES, st.floats(1, 1e12))
def test_rungs_rise_by_the_reduction_and_the_search_leaves_time_for_finals(budget, size, room):
    for ladder in (Ladder.counted(budget, size), Ladder.of_room(budget, size, room)):
        check_form(ladder, budget)


def check_form(ladder, budget):
    assert ladder.rungs[0] >= 1
    for lower, upper in zip(ladder.rungs, ladder.rungs[1:], strict=False):
        assert upper == REDUCTION * lower
    assert ladder.top == ladder.rungs[-1]
    assert 0 < ladder.search_seconds(budget) < budget


@given(st.floats(0.1, 1e5), st.floats(0.1, 1e5), SIZES)
def test_a_larger_budget_never_has_a_lower_ladder(one, other, size):
    low, high = sorted((one, other))
    assert Ladder.counted(low, size).top <= Ladder.counted(high, size).top


@given(st.integers(150, 1_200_000), st.floats(1e-5, 1e-1))
def test_in_300_s_the_first_rung_says_something_and_three_trials_reach_the_top(size, pace):
    """One to fifty passes or 20,000 samples, wherever three trials of so many can be trained."""
    room = 2 * 100 / pace  # two cores search for a third of the budget
    ladder = Ladder.of_room(300, size, room)
    first, height = ladder.rungs[0], len(ladder.rungs)
    if room >= 3 * min(size, 20_000):
        assert first >= 20_000 or 1 <= first / size <= 50
    reached_by_three = sum(3 * 3 ** (height - 1 - step) * n for step, n in enumerate(ladder.rungs))
    assert reached_by_three <= room * 1.001


def test_a_family_that_knows_what_its_first_rung_needs_has_no_less():
    assert Ladder.counted(60, 54_000).rungs[0] < 10_000
    assert Ladder.counted(60, 54_000, 10_000).rungs[0] == 10_000
    assert Ladder.of_room(60, 54_000, 9e4, 10_000).rungs[0] == 10_000
    assert Ladder.of_room(60, 54_000, 9e4).rungs[0] < 10_000


@pytest.mark.parametrize("ladder", [LADDER_OF_THREE, Ladder((320, 640), 2, has_finals=False)])
def test_a_ladder_is_kept_as_json(ladder):
    assert Ladder.from_json(json.loads(json.dumps(ladder.as_json()))) == ladder


LADDER = Ladder((100, 300), 3)


@given(st.floats(0.01, 100), st.floats(-10, 1000), st.booleans())
def test_a_final_ends_within_the_time_left(seconds, left, counted):
    reached = made_rung(300, 0.9, seconds)
    final = LADDER.final(reached, left, counted)
    if final is None:
        assert left < 1.3 * seconds
    else:
        assert 0 < final.seconds < left
        assert final.seconds >= 1.19 * seconds


def test_a_counted_search_has_finals_of_fixed_length():
    for left in (100.0, 1000.0):
        assert LADDER.final(made_rung(300, 0.9, 1.0), left, True).samples == 900


def test_elsewhere_the_clock_ends_a_final_that_is_faster_than_its_rung():
    final = LADDER.final(made_rung(300, 0.9, 1.0), 100.0, False)
    assert final.samples > 1.5 * 300 * final.seconds


@pytest.mark.parametrize("left", [1.0, 0.0, -5.0])
def test_time_that_has_run_out_leaves_no_final(left):
    assert LADDER.final(made_rung(300, 0.9, 1.0), left, False) is None


@given(st.floats(1, 1e6), st.floats(1e-5, 0.1))
def test_finals_in_turn_share_the_time_evenly(budget, seconds_a_sample):
    """Four at most, as many as make eight passes each, and none shorter than 200 s but alone."""
    left = window = budget - LADDER.search_seconds(budget)
    shortest = LADDER.shortest_final(budget)
    reached = made_rung(300, 0.9, 300 * seconds_a_sample)
    turns = []
    while left > shortest / 2:
        turns.append(LADDER.turn(reached, left, shortest, train_size=54_000))
        left -= turns[-1]
    assert sum(turns) == pytest.approx(window)
    assert turns == pytest.approx([window / len(turns)] * len(turns))
    eight_passes = 8 * 54_000 * seconds_a_sample
    most = max(window / 4, 200, eight_passes)
    assert len(turns) == max(1, round(window / most))


def test_on_a_fast_machine_long_budgets_have_four_finals_in_turn_and_on_a_slow_one_one():
    left, shortest = 1333.0, LADDER.shortest_final(2000.0)
    for seconds, turns in ((0.2, 4), (0.3, 3), (0.5, 2), (0.9, 1)):
        reached = made_rung(300, 0.9, seconds)
        assert LADDER.turn(reached, left, shortest, 54_000) == pytest.approx(left / turns)


VARIANTS = {"convnet": "upright"}


def contender(number, accuracy, upright=None):
    view = {} if upright is None else {"upright": upright}
    rungs = (made_rung(100, accuracy, 1.0),)
    return Trial("s", "optuna", number, TrialState.COMPLETE, view, rungs, family="convnet")


def finals_of(searched, count):
    """Number of each finalist, and how its final sees images."""
    finalists = []
    for _ in range(count):
        finalists.append(next_finalist(searched, finalists, VARIANTS))
    return [(each.trial.number, each.variant) for each in finalists]


def alike(first, last, upright):
    return [contender(i, 0.99 - 0.0001 * i, upright) for i in range(first, last)]


def test_finals_see_images_both_ways_in_turn_the_best_first():
    both = [*alike(4, 8, False), *alike(0, 4, True)]
    one, other = [(0, True), (1, True), (2, True)], [(4, False), (5, False), (6, False)]
    assert finals_of(both, 6) == [one[0], other[0], one[1], other[1], one[2], other[2]]


def test_where_a_search_settled_on_one_way_the_other_takes_its_best_trials():
    settled = [*alike(0, 4, True), contender(4, 0.989, False), contender(5, 0.97, False)]
    assert finals_of(settled, 6) == [
        (0, True), (4, False), (1, True), (0, False), (2, True), (1, False),
    ]  # fmt: skip


def test_a_way_that_is_far_worse_gets_no_final():
    both = [*alike(0, 4, True), contender(4, 0.98, False)]
    assert finals_of(both, 3) == [(0, True), (1, True), (2, True)]


def test_ways_are_compared_at_a_rung_that_both_have():
    low = contender(4, 0.98, False)
    first = made_rung(100, 0.985, 1.0), made_rung(300, 0.995, 1.0)
    climbed = Trial(
        "s", "optuna", 0, TrialState.COMPLETE, {"upright": True}, first, family="convnet"
    )
    assert finals_of([low, climbed], 2) == [(0, True), (0, False)]
    hopeless = contender(4, 0.97, False)
    assert finals_of([hopeless, climbed], 1) == [(0, True)]
    second = next_finalist([hopeless, climbed], [Finalist(climbed, "upright", True)], VARIANTS)
    assert second == Finalist(hopeless, "upright", True)


def test_where_there_is_one_way_the_best_get_the_finals_and_then_no_more():
    searched = [contender(i, 0.9 + 0.01 * i) for i in range(4)]
    assert finals_of(searched, 3) == [(3, False), (2, False), (1, False)]
    assert next_finalist(searched, [Finalist(t, "upright") for t in searched], VARIANTS) is None
    assert next_finalist([], [], VARIANTS) is None
