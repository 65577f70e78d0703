"""What a report says, and what it is made of."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made import made_rung
from synthetic import report_data

from pipeline_lib.outcome import ComparisonResult
from pipeline_lib.report import Section, Table, build_card, build_report, files
from pipeline_lib.report.build import board, cost, duration
from pipeline_lib.report.charts import (
    pareto_front,
    rung_flow,
    value_against_cost,
    value_over_time,
)
from pipeline_lib.report.curves import learning_curves
from pipeline_lib.report.figures import log_axis
from pipeline_lib.report.hyperparameter_charts import charts as hyperparameter_charts
from pipeline_lib.report.hyperparameters import comparable, hyperparameters, importances
from pipeline_lib.statistics import Comparison
from pipeline_lib.trial import Trial, TrialState

SECTIONS = [
    "leaderboard", "time", "pareto", "hyperparameters", "rungs", "statistics", "test",
    "architecture", "spaces", "cost", "use",
]  # fmt: skip
VOID = {"meta", "link", "input", "br", "img"}


class Outline(HTMLParser):
    """Sections by id, attributes that load something, and whether every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.loads: list[str] = []
        self.depth: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self.sections.append(given["id"] or "")
        loading = ("src", "srcset", "data", "poster", "action", "xlink:href")
        self.loads += [v or "" for k, v in attrs if k in loading or (k, tag) == ("href", "link")]
        if tag not in VOID:
            self.depth.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass  # of the diagram: closes itself

    def handle_endtag(self, tag: str) -> None:
        assert self.depth.pop() == tag, tag


def test_it_is_one_well_formed_file_in_the_agreed_order(html: str) -> None:
    outline = Outline(html)
    assert outline.sections == SECTIONS
    assert outline.depth == []
    assert len(html.encode()) <= 5e6


def test_it_loads_nothing(html: str) -> None:
    outline = Outline(html)
    assert all(address.startswith("data:") for address in outline.loads)
    assert not re.search(r"@import|url\((?!data:)|\bfetch\(|XMLHttpRequest|import\(", html)
    # What is left of addresses are the names of XML's and SVG's vocabularies.
    assert set(re.findall(r"https?://[\w./]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_plotly_is_in_it_once(html: str) -> None:
    assert html.count('id="plotly"') == 1
    assert html.count("H4sI") == 1  # how gzip begins in base64


def test_what_a_trial_says_cannot_break_out_of_the_page() -> None:
    data = report_data(20)
    bad = "</script><script>alert(1)</script><b>"
    trials = tuple(
        replace(t, reason=bad, configuration={**t.configuration, "optimizer": bad, bad: n % 3})
        for n, t in enumerate(data.trials)
    )
    winner = trials[-1]
    html = build_report(replace(data, trials=trials, winner=winner, verdict=bad, name=bad))
    assert "alert(1)" in html
    assert "<script>alert" not in html
    assert html.count("<script") == build_report(data).count("<script")
    Outline(html)


def test_a_tiny_run_has_a_report() -> None:
    """One trial of one engine: no front to speak of, nothing that varies, nothing optional."""
    data = report_data(500)
    bare = replace(
        data.winner, parameters=None, multiply_adds=None, stage="search", engine="optuna", number=0
    )
    test = replace(data.test, calibration=None, robustness={})
    bare_run = replace(data, trials=(bare,), winner=bare, test=test, statistics=Section())
    nothing = replace(
        bare_run, readings=(), model=None, architecture_svg="", architecture_text="", spaces={}
    )
    html = build_report(nothing)
    absent = {"pareto", "hyperparameters", "statistics", "architecture", "spaces"}
    assert Outline(html).sections == [each for each in SECTIONS if each not in absent]
    assert "was not registered" in html


def test_a_winner_without_test_figures_is_reported_by_its_validation_figures() -> None:
    data = report_data(20)
    untested = replace(data, test=None, untested="test is 'never'")
    html, card = build_report(untested), build_card(untested)
    assert Outline(html).sections == Outline(build_report(data)).sections
    for text in (html, card):
        assert "test is &#39;never&#39;" in text or "test is 'never'" in text
        assert "Test accuracy" not in text
        assert f"{data.test.accuracy:.2%}" not in text.replace(data.verdict, "")
    _, head, _ = card.split("---\n", 2)
    result = yaml.safe_load(head)["model-index"][0]["results"][0]
    assert result["dataset"]["split"] == "validation"
    assert result["metrics"][0]["value"] == pytest.approx(data.winner.value, abs=1e-6)
    assert "mnist-20261124-0200/optuna-0300" in html  # the ledger is shown all the same


def test_it_shows_what_it_was_handed() -> None:
    table = Table("Pairs", ("models", "p"), (("Optuna #1 and champion v2", "0.0312"),))
    data = report_data(20, statistics=Section(("No difference shown.",), (table,)))
    html = build_report(data)
    for text in ("No difference shown.", "Pairs", "champion v2", "0.0312", data.verdict):
        assert text in html


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9), st.integers(1, 9)), max_size=30))
def test_the_front_is_what_nobody_beats(costs: list[tuple[int, int, int]]) -> None:
    trials = [
        Trial("s", "optuna", n, TrialState.COMPLETE, {}, (made_rung(1, a / 10, 1.0),), p, m)
        for n, (a, p, m) in enumerate(costs)
    ]

    def beats(one: Trial, other: Trial) -> bool:
        a, b = ((-t.rungs[0].value, t.parameters, t.multiply_adds) for t in (one, other))
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    front = pareto_front(trials)
    assert not any(beats(one, other) for one in trials for other in front)
    for other in trials:
        same = [(t.value, t.parameters, t.multiply_adds) for t in front]
        mine = (other.value, other.parameters, other.multiply_adds)
        assert mine in same or any(beats(one, other) for one in front)
    accuracies = [trial.value for trial in front]
    assert accuracies == sorted(accuracies, reverse=True)


def test_no_p_value_is_written_as_zero() -> None:
    certain = Comparison("Optuna #1", "Optuna #2", 0.1, (0.09, 0.11), 1e-9, 3e-9, 0.002)
    compared = ComparisonResult("Optuna #1", (certain,), "split", 6000, 1, 1.0, (0.0, 1.0), None)
    [table] = files.statistics_of(compared).tables
    assert table.rows[0][3:5] == ("< 0.0001", "< 0.0001")


def test_a_few_trials_have_hyperparameter_charts_without_importance() -> None:
    few = [trial for trial in report_data().trials if trial.engine == "optuna" and trial.rungs][:4]
    found = hyperparameter_charts("optuna", few)
    keys = [chart.key for chart in found]
    assert keys[0] == "parallel-optuna"
    assert any(key.startswith("slice-optuna") for key in keys)
    names = [line["name"] for line in found[0].figure["data"]]
    assert names[-1] == "best"
    assert hyperparameter_charts("optuna", few[:2]) == []


def test_every_axis_that_shows_has_a_title() -> None:
    data = report_data()
    drawn = [value_over_time(data.trials), *value_against_cost(data.trials, {})]
    drawn += [learning_curves(data.trials), *hyperparameter_charts("optuna", data.trials)]
    for chart in drawn:
        layout = chart.figure["layout"]
        if chart.key.startswith("parallel"):  # its axes have their names above them
            continue
        assert layout["xaxis"]["title"]["text"], chart.key
        if not chart.key.startswith("importance"):
            assert layout["yaxis"]["title"]["text"], chart.key


def test_learning_curves_are_of_the_best_trials_that_have_one() -> None:
    trials = report_data().trials
    chart = learning_curves(trials)
    assert chart is not None
    followed = [trial for trial in trials if trial.rungs and trial.rungs[-1].curve]
    best = sorted(followed, key=lambda t: -(t.value or 0))[:5]
    lines = chart.figure["data"]
    assert [line["name"] for line in lines] == [f"{t.engine} #{t.number}" for t in best]
    assert lines[0]["x"] == [epoch.samples for epoch in best[0].rungs[-1].curve]
    assert learning_curves([t for t in trials if t not in followed]) is None


def test_the_leaderboard_tells_trials_apart() -> None:
    """A hyperparameter that all trials of an engine share stands once, below the table."""
    trials = report_data(30).trials
    same = tuple(replace(t, configuration={**t.configuration, "a:b:__choice__": 7}) for t in trials)
    rows = board(same)
    assert all("b" not in dict(row["configuration"]) for row in rows)
    assert {"lr", "dropout"} <= dict(rows[0]["configuration"]).keys()
    html = build_report(replace(report_data(30), trials=same, winner=same[-1]))
    assert html.count("The same in all trials of optuna: b 7.") == 1


def test_there_is_one_figure_of_cost() -> None:
    data = report_data(50)
    spent = sum(trial.seconds for trial in data.trials)
    rows = [cost(data, engine) for engine in ("optuna", "autopytorch")]
    assert sum(row["seconds"] for row in rows) == pytest.approx(spent)
    assert f"<dd>{duration(spent)}</dd>" in build_report(data)


def test_a_report_says_how_many_of_the_mistakes_it_shows(html: str) -> None:
    test = report_data().test
    wrong = test.size - sum(row[at] for at, row in enumerate(test.confusion))
    assert f"{len(test.mistakes)} of {wrong} mistakes" in html


def test_the_best_so_far_never_falls() -> None:
    lines = [
        t for t in value_over_time(report_data().trials).figure["data"] if t["mode"] == "lines"
    ]
    assert [line["name"] for line in lines] == ["optuna, best so far", "autopytorch, best so far"]
    for line in lines:
        assert line["y"] == sorted(line["y"], reverse=True)  # errors
        assert line["x"] == sorted(line["x"])


def test_rungs_count_every_trial_once_where_it_ended() -> None:
    data = report_data()
    bars = rung_flow(data.trials).figure["data"]
    ended = sum(sum(bar["x"]) for bar in bars if bar["name"] != "promoted to the next rung")
    assert ended == sum(trial.stage == "search" for trial in data.trials)
    climbed = next(bar for bar in bars if bar["name"] == "promoted to the next rung")
    by_name = dict(zip(climbed["y"], climbed["x"], strict=True))
    optuna = [trial for trial in data.trials if (trial.engine, trial.stage) == ("optuna", "search")]
    assert by_name["optuna · 10,000 samples"] == sum(len(trial.rungs) > 1 for trial in optuna)
    assert by_name["optuna · 30,000 samples"] == sum(len(trial.rungs) > 2 for trial in optuna)


def test_hyperparameters_are_compared_at_the_fidelity_that_most_reached() -> None:
    optuna = [trial for trial in report_data().trials if trial.engine == "optuna"]
    samples, found = comparable(optuna)
    assert samples == 10_000
    assert len(found) == sum(bool(t.rungs) and t.stage == "search" for t in optuna)
    assert all(rung == trial.rungs[0] for trial, rung in found)


def test_the_hyperparameter_that_decides_is_the_important_one() -> None:
    draw = random.Random(1)
    trials = [
        Trial("s", "e", n, TrialState.COMPLETE,
              {"lr": 10 ** draw.uniform(-4, -1), "fc": draw.choice([0, 64]), "same": 3,
               "dropout": draw.uniform(0, 0.5), "sgd": True if n % 2 else None})
        for n in range(200)
    ]  # fmt: skip
    found = hyperparameters(trials)
    kinds = {each.name: each.kind for each in found}
    assert kinds == {"lr": "log", "fc": "category", "dropout": "linear", "sgd": "category"}
    accuracies = [
        0.99 - 0.02 * abs(math.log10(float(t.configuration["lr"] or 1)) + 2.5) for t in trials
    ]
    shares = importances(found, accuracies)
    assert shares["lr"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_long_names_are_cut_to_what_tells_them_apart() -> None:
    trials = [
        Trial("s", "e", n, TrialState.COMPLETE, {"a:B:lr": n, "c:D:units": n, "e:F:units": n})
        for n in range(10)
    ]
    assert [each.name for each in hyperparameters(trials)] == ["lr", "D:units", "F:units"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (48, "48 s"), (725, "12 min 5 s"), (3600, "60 min"),
     (12000, "3 h 20 min")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_card_opens_with_what_the_hub_reads() -> None:
    data = report_data(20)
    card = build_card(data)
    _, head, body = card.split("---\n", 2)
    front = yaml.safe_load(head)
    assert front["pipeline_tag"] == "image-classification"
    result = front["model-index"][0]["results"][0]
    assert result["dataset"]["type"] == "mnist"
    assert result["metrics"][0]["value"] == data.test.accuracy
    for said in (
        data.verdict,
        *data.statistics.sentences,
        "load_model",
        "--seed 0",
        "evaluation 2",
    ):
        assert said in body


@given(st.lists(st.floats(1e-6, 1e9), min_size=1), st.integers(1, 6))
def test_a_logarithmic_axis_always_has_labels(values, labels):
    """Two networks of 1.13 and 1.32 M multiply-adds have no round number between them."""
    shown = log_axis(values, labels=labels)["tickvals"]
    assert 1 <= len(shown) <= labels
    assert all(min(values) / 1.11 <= tick <= max(values) * 1.11 for tick in shown)
