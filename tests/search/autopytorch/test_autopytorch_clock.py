from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.search.autopytorch.clock import Clock
from pipeline_lib.search.autopytorch.fidelity import ETA, epochs_for


def curve(epochs: int, seconds: float) -> list[dict[str, float]]:
    return [{"epoch": epoch, "seconds": seconds} for epoch in range(1, epochs + 1)]


def test_what_is_unknown_gets_what_it_wants() -> None:
    assert Clock(time.monotonic() + 5, 2).epochs_that_fit(1, 18) == 18


def test_nothing_starts_after_the_deadline() -> None:
    assert Clock(time.monotonic() - 1, 2).epochs_that_fit(1, 2) == 0


def test_the_last_evaluations_get_the_epochs_that_fit() -> None:
    clock = Clock(time.monotonic() + 115, 2)
    clock.learn(1, seconds=25, curve=curve(2, 10))  # 10 s an epoch and 5 s beside
    assert clock.epochs_that_fit(1, 18) == 9
    assert clock.epochs_that_fit(1, 6) == 6


def test_too_few_epochs_are_not_started() -> None:
    clock = Clock(time.monotonic() + 20, 3)
    clock.learn(1, seconds=15, curve=curve(1, 10))
    assert clock.epochs_that_fit(1, 18) == 0


def test_a_new_configuration_is_taken_for_a_slow_one() -> None:
    clock = Clock(time.monotonic() + 100, 1)
    for number, seconds in enumerate((1, 2, 3, 20)):
        clock.learn(number, seconds=seconds, curve=curve(1, seconds))
    assert clock.epochs_that_fit(99, 50) == 4
    assert clock.epochs_that_fit(0, 50) == 50


@given(seconds=st.floats(1, 1e6), samples=st.integers(10, 10**6))
def test_rungs_are_whole_powers_apart(seconds: float, samples: int) -> None:
    low, high = epochs_for(seconds, samples)
    assert 1 <= low < high
    assert high in (low * ETA, low * ETA**2)


@given(seconds=st.floats(1, 1e5), samples=st.integers(10, 10**6))
def test_more_time_never_means_fewer_epochs(seconds: float, samples: int) -> None:
    assert epochs_for(2 * seconds, samples)[1] >= epochs_for(seconds, samples)[1]


def test_the_chapters_budget_on_two_cores() -> None:
    assert epochs_for(2 * 2000, 54_000) == (5, 45)
    assert epochs_for(2 * 300, 54_000) == (2, 6)


def test_a_thinned_curve_says_the_same_as_a_whole_one() -> None:
    whole, thinned = Clock(time.monotonic() + 1000, 2), Clock(time.monotonic() + 1000, 2)
    points = curve(10, 10)
    whole.learn(1, seconds=120, curve=points)
    thinned.learn(1, seconds=120, curve=points[1::2])
    assert whole.epochs_that_fit(1, 500) == thinned.epochs_that_fit(1, 500)
