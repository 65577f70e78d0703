import threading
from dataclasses import replace
from pathlib import Path

import pytest
from made import made_rung

from pipeline_lib.run.progress import Progress, Snapshot
from pipeline_lib.trial import Trial, TrialState


def trial(number, *accuracies, state=TrialState.RUNNING, stage="search"):
    rungs = tuple(made_rung(100 * 3**i, a, 1.0) for i, a in enumerate(accuracies))
    return Trial("s", "optuna", number, state, {}, rungs, stage=stage, model=Path("kept"))


@pytest.fixture
def progress():
    return Progress("optuna", 60.0)


def test_before_the_first_trial(progress):
    standing = progress.look()
    assert (standing.running, standing.complete, standing.pruned, standing.failed) == (0, 0, 0, 0)
    assert standing.incumbent is None
    assert progress.first_trial is None
    assert "best none yet" in standing.line()


def test_a_later_snapshot_of_a_trial_replaces_the_earlier(progress):
    for snapshot in (
        trial(0), trial(1), trial(2), trial(0, 0.9), trial(1, 0.8),
        trial(1, 0.8, state=TrialState.PRUNED), trial(2, state=TrialState.FAILED),
        trial(3, stage="final"),
    ):  # fmt: skip
        progress.add(snapshot)
    standing = progress.look()
    assert (standing.running, standing.complete, standing.pruned, standing.failed) == (2, 0, 1, 1)
    assert standing.incumbent.number == 0
    assert set(standing.rungs) == {"#0 rung 2", "#3 final"}
    assert progress.first_trial is not None


def test_see_tells_of_a_new_incumbent_only(progress):
    assert not progress.add(trial(0))
    assert progress.add(trial(0, 0.90))
    assert not progress.add(trial(1, 0.89))
    assert not progress.add(trial(2, 0.90))
    assert progress.add(trial(1, 0.89, 0.95))
    assert not progress.add(trial(1, 0.89, 0.95, state=TrialState.COMPLETE))
    assert progress.look().incumbent.number == 1


def test_the_share_of_the_budget_never_passes_one(progress):
    standing = progress.look()
    assert 0 <= standing.share < 1
    assert replace(standing, elapsed=30.0).share == 0.5
    assert replace(standing, elapsed=61.0).share == 1.0


def test_the_line_for_logs():
    best = trial(12, 0.98765, state=TrialState.COMPLETE)
    standing = Snapshot("optuna", 30.4, 60.0, 2, 3, 4, 5, 1, best, ())
    assert standing.line() == (
        "optuna 30/60 s · 3 complete · 4 pruned · 5 stopped · 1 failed · best 98.77% by #12"
    )


def test_it_may_be_read_while_it_is_written(progress):
    done = threading.Event()
    problems = []

    def read():
        while not done.is_set():
            standing = progress.look()
            if standing.running + standing.complete > 300:
                problems.append(standing)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(300):
        progress.add(trial(number, 0.5))
        progress.add(trial(number, 0.5, 0.6, state=TrialState.COMPLETE))
    done.set()
    reader.join()
    assert not problems
    assert progress.look().complete == 300


def test_trials_are_called_by_their_family_where_there_are_several(progress):
    progress.add(replace(trial(0, 0.9), family="convnet"))
    assert progress.look().best == "#0"
    progress.add(replace(trial(1, 0.95), family="mine.py"))
    standing = progress.look()
    assert "by #1 mine.py" in standing.line()
    assert set(standing.rungs) == {"#0 convnet rung 2", "#1 mine.py rung 2"}
