from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pandas as pd
import pytest
from made import made_rung

from pipeline_lib.selection.leaderboard import (
    best,
    counts,
    leaderboard,
    outcomes,
    shown,
    write_leaderboard,
)
from pipeline_lib.trial import Trial, TrialState


def trial(number, *accuracies, state=TrialState.COMPLETE, **fields):
    rungs = tuple(made_rung(100 * 3**i, a, 1.0) for i, a in enumerate(accuracies))
    usual = {
        "study": "s",
        "engine": "optuna",
        "configuration": {"lr": 0.1 * number, "optimizer": "sgd"},
        "parameters": 1000,
        "multiply_adds": 5000,
        "model": Path("kept") if rungs else None,
    }
    return Trial(number=number, state=state, rungs=rungs, **(usual | fields))


TRIALS = [
    trial(0, 0.90, 0.95),
    trial(1, 0.97, state=TrialState.PRUNED, reason="below the best third"),
    trial(2, state=TrialState.FAILED, reason="diverged", parameters=None, multiply_adds=None),
    trial(3, 0.93, 0.96, 0.98, engine="autopytorch", configuration={"units": 64}, seconds=1.239),
    trial(4, 0.99, state=TrialState.RUNNING),
]


def test_the_leaderboard_has_a_row_for_each_trial_that_ended_best_first():
    frame = leaderboard(TRIALS)
    assert list(frame["trial"]) == [3, 1, 0, 2]
    assert list(frame["rank"]) == [1, 2, 3, 4]
    assert list(frame["engine"]) == ["autopytorch", "optuna", "optuna", "optuna"]
    assert list(frame["state"]) == ["complete", "pruned", "complete", "failed"]
    assert list(frame["val_accuracy"])[:3] == [0.98, 0.97, 0.95]
    assert pd.isna(frame["val_accuracy"][3])


def test_its_columns():
    frame = leaderboard(TRIALS)
    assert list(frame.columns) == [
        "rank", "engine", "trial", "stage", "state", "metric", "value", "val_accuracy", "samples",
        "parameters", "multiply_adds", "seconds", "reason", "from", "config.units", "config.lr",
        "config.optimizer",
    ]  # fmt: skip
    first, last = frame.iloc[0], frame.iloc[3]
    assert (first["samples"], first["seconds"], first["config.units"]) == (900, 1.24, 64)
    assert pd.isna(first["config.lr"])
    assert last["reason"] == "diverged"
    assert pd.isna(last["samples"])
    assert pd.isna(last["parameters"])
    assert str(frame["parameters"].dtype) == "Int64"


def test_without_trials_it_is_empty():
    assert leaderboard([]).empty
    assert leaderboard([trial(0, 0.9, state=TrialState.RUNNING)]).empty


@pytest.mark.parametrize("trials", [TRIALS, []])
def test_it_is_written_as_csv_and_parquet(tmp_path, trials):
    frame = leaderboard(trials)
    paths = write_leaderboard(frame, tmp_path / "new" / "run")
    assert [path.name for path in paths] == ["leaderboard.csv", "leaderboard.parquet"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == [p.name for p in paths]
    assert len(pd.read_parquet(paths[1])) == len(frame)
    if trials:
        pd.testing.assert_frame_equal(pd.read_parquet(paths[1]), frame)
        again = pd.read_csv(paths[0])
        assert list(again.columns) == list(frame.columns)
        assert list(again["trial"]) == list(frame["trial"])


def test_writing_again_replaces(tmp_path):
    for trials in (TRIALS, TRIALS[:1]):
        write_leaderboard(leaderboard(trials), tmp_path)
    assert len(pd.read_csv(tmp_path / "leaderboard.csv")) == 1


def test_ties_go_to_the_smaller_network_and_then_to_the_earlier_trial():
    large, small = trial(0, 0.9, parameters=2000), trial(1, 0.9, parameters=1000)
    later = trial(2, 0.9, parameters=1000)
    better = trial(3, 0.9001, parameters=9000)
    for order in permutations([large, small, later]):
        assert best(order) is small
        assert best([*order, better]) is better


def test_the_accuracy_that_counts_is_that_of_the_highest_rung():
    fell, rose = trial(0, 0.99, 0.80), trial(1, 0.70, 0.90)
    assert best([fell, rose]) is rose


def test_a_trial_whose_network_is_not_kept_cannot_be_best():
    lost, kept = trial(0, 0.99, model=None), trial(1, 0.5)
    assert best([lost, kept]) is kept
    assert best([lost, trial(2, state=TrialState.FAILED)]) is None
    assert best([]) is None


def test_the_best_is_the_first_of_the_leaderboard():
    ended = [t for t in TRIALS if t.state != TrialState.RUNNING]
    assert best(ended).number == leaderboard(ended)["trial"][0]


def test_counts():
    stopped = trial(5, 0.9, state=TrialState.STOPPED)
    tally = {"trials": 6, "complete": 2, "pruned": 1, "stopped": 1, "failed": 1}
    assert counts([*TRIALS, stopped]) == tally
    assert outcomes(tally) == "2 complete, 1 pruned, 1 stopped, 1 failed"
    assert counts([]) == dict.fromkeys(tally, 0)


def test_families_are_told_apart_where_a_run_has_several():
    alone = [replace(each, family="convnet") for each in TRIALS if each.engine == "optuna"]
    assert "family" not in leaderboard(alone).columns
    several = leaderboard([*alone, trial(7, 0.99, family="mine.py"), TRIALS[3]])
    assert list(several["family"])[:3] == ["mine.py", "", "convnet"]
    names = [row["trial"] for row in shown(several)]
    assert names[:3] == ["optuna #7 mine.py", "autopytorch #3", "optuna #1 convnet"]
