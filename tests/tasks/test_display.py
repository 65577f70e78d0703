"""What a person reads in the terminal at the end of a run."""

import sys

import pytest

from tasks.display import print_outcome

BETTER = "Optuna #4 is significantly better than champion v3 by 0.62 points, p = 0.0002"
ALIKE = "No significant difference between Optuna #4 and Auto-PyTorch #7 (+0.02 points)"
HEAD = "rank,trial,engine,stage,state,metric,value,val_accuracy,parameters,seconds"


@pytest.fixture
def outcome(tmp_path):
    """The winner is shown to be better than the champion, not than the other engine's best."""
    leaderboard = tmp_path / "leaderboard.csv"
    leaderboard.write_text(
        f"{HEAD}\n1,4,optuna,search,complete,accuracy,0.9912,0.9912,29434,14.1\n"
    )
    return {
        "leaderboard": str(leaderboard),
        "engines": {"optuna": {"trials": 4, "complete": 3, "pruned": 1, "stopped": 0, "failed": 0}},
        "winner": {
            "engine": "optuna",
            "trial": 4,
            "metric": "accuracy",
            "value": 0.9912,
            "val_accuracy": 0.9912,
            "test_accuracy": 0.9903,
            "test_interval": [0.9882, 0.992],
            "test_text": "99.03%  (95% CI 98.82% to 99.20%)",
            "configuration": {"lr": 0.006},
        },
        "ensemble": None,
        "folds": [],
        "comparisons": [{"sentence": BETTER}, {"sentence": ALIKE}],
        "model": "models:/automl-mnist@champion",
        "challenger": None,
        "promotion": {"promoted": True, "why": BETTER},
        "artifacts": {"diagram_pdf": "architecture.pdf"},
        "report": "report.html",
        "seconds": {"search": 24.2},
    }


def test_a_run_without_a_diagram_names_none(outcome, capsys):
    outcome["artifacts"] = {"diagram_pdf": None}
    print_outcome(outcome, sys.stdout)
    assert "Diagram" not in capsys.readouterr().out


def test_every_comparison_is_said_once(outcome, capsys):
    print_outcome(outcome, sys.stdout)
    said = capsys.readouterr().out
    assert said.count(BETTER) == 1
    assert f"Promotion   registered as champion ({BETTER})" in said
    assert f"Compared    {ALIKE}" in said
    assert "99.03%  (95% CI 98.82% to 99.20%)" in said


def test_a_test_set_that_stayed_closed_is_said(outcome, capsys):
    outcome["winner"] |= {"test_accuracy": None, "test_interval": None}
    print_outcome(outcome | {"untested": "test is 'never'"}, sys.stdout)
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("Test")]
    assert "test is 'never'" in line
