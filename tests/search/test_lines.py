from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import made_rung

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.search.engine import SearchRequest
from pipeline_lib.search.lines import Journal
from pipeline_lib.trial import Epoch, Trial, TrialState

Requests = Callable[..., SearchRequest]


def a_trial(number: int, directory: Path, accuracy: float = 0.9) -> Trial:
    return Trial(
        study="tiny",
        engine="autopytorch",
        number=number,
        state=TrialState.COMPLETE,
        configuration={"lr": 1e-3, "dropout": True, "shape": "brick", "units": 64},
        rungs=(
            made_rung(2000, accuracy, 1.5, (Epoch(1000, 0.5, 0.8), Epoch(2000, 0.3, accuracy))),
        ),
        parameters=123,
        multiply_adds=100,
        started=5.0,
        seconds=2.0,
        model=directory / "trials" / f"{number:04d}",
        notes={"epochs": "2"},
    )


def test_a_trial_comes_back_as_it_was(make_request: Requests) -> None:
    request = make_request()
    journal = Journal("autopytorch", request.study, request.directory)
    journal.open(request)
    trial = a_trial(3, request.directory)
    journal.write(replace(trial, state=TrialState.RUNNING, rungs=(), model=None))
    journal.write(trial)
    assert Journal("autopytorch", request.study, request.directory).trials() == [trial]


def test_what_older_versions_called_failed_for_want_of_time_was_stopped(
    make_request: Requests,
) -> None:
    request = make_request()
    journal = Journal("autopytorch", request.study, request.directory)
    journal.open(request)
    lost = {"state": TrialState.FAILED, "rungs": (), "model": None}
    for number, reason in enumerate(("the search time was over", "it diverged")):
        journal.write(replace(a_trial(number, request.directory), **lost, reason=reason))
    assert [t.state for t in journal.trials()] == [TrialState.STOPPED, TrialState.FAILED]


def test_a_trial_that_a_kill_left_running_has_not_ended(make_request: Requests) -> None:
    request = make_request()
    journal = Journal("autopytorch", request.study, request.directory)
    journal.open(request)
    journal.write(replace(a_trial(0, request.directory), state=TrialState.RUNNING))
    journal.write(a_trial(1, request.directory))
    assert [trial.number for trial in journal.trials()] == [1]
    assert [trial.number for trial in journal.last_states()] == [0, 1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(cut=st.integers(min_value=0))
def test_a_kill_in_the_middle_of_a_line_costs_that_line_only(
    make_request: Requests, cut: int
) -> None:
    request = make_request()
    journal = Journal("autopytorch", request.study, request.directory)
    file = request.directory / "study.jsonl"
    file.unlink(missing_ok=True)
    journal.open(request)
    journal.write(a_trial(0, request.directory))
    whole = file.read_bytes()
    journal.write(a_trial(1, request.directory))
    line = file.read_bytes()[len(whole) :]
    file.write_bytes(whole + line[: cut % len(line)])
    assert [trial.number for trial in journal.trials()][:1] == [0]
    journal.write(a_trial(2, request.directory))
    assert journal.trials()[-1] == a_trial(2, request.directory)
    assert journal.trials()[0] == a_trial(0, request.directory)


@pytest.mark.parametrize(("field", "other"), [("seed", {"seed": 9}), ("space", {"space": "full"})])
def test_a_study_is_continued_only_as_it_was_begun(
    make_request: Requests, field: str, other: dict[str, object]
) -> None:
    begun = make_request()
    Journal("autopytorch", begun.study, begun.directory).open(begun)
    changed = make_request(**other)
    with pytest.raises(ConfigurationError, match=f"{field}: the study 'tiny' was begun with"):
        Journal("autopytorch", changed.study, changed.directory).open(changed)


def test_nothing_is_written_before_a_study_is_opened(make_request: Requests) -> None:
    request = make_request()
    assert Journal("autopytorch", request.study, request.directory).trials() == []
    assert not request.directory.exists()
