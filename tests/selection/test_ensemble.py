"""The ensemble: how it is drawn, kept, and treated as a candidate like any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from in_memory import validation_logits
from made import made_rung

from pipeline_lib.config import RunConfig
from pipeline_lib.data.sources.catalogued import Catalogued
from pipeline_lib.data.splits import Split
from pipeline_lib.errors import ConfigurationError, ModelError
from pipeline_lib.home import Home
from pipeline_lib.models.convnet import design
from pipeline_lib.models.ensemble import combine
from pipeline_lib.models.saved import (
    ARCHITECTURE,
    WEIGHTS,
    build_model,
    load_model,
    save_model,
)
from pipeline_lib.outcome import Ensemble, Member
from pipeline_lib.report.diagram import draw
from pipeline_lib.report.files import load, write
from pipeline_lib.run.agreement import Verdict
from pipeline_lib.run.gc import Policy, clean
from pipeline_lib.run.pipeline import find_model
from pipeline_lib.run.reproduce import reproduce
from pipeline_lib.run.run import Run
from pipeline_lib.run.sync import sync
from pipeline_lib.search import fidelity as ladder
from pipeline_lib.selection import leaderboard
from pipeline_lib.selection.calibration import fit_temperature
from pipeline_lib.selection.comparison import compare, tags
from pipeline_lib.selection.ensemble import (
    ROUNDS,
    Candidates,
    add_ensemble,
    choose,
    library,
    select,
)
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.recorder import runs_of_study
from pipeline_lib.training.loop import predict
from pipeline_lib.trial import ENSEMBLE, Trial, TrialState

CONVNET = design(
    {"multiply_adds": 1e5, "stem": "stride", "stem_kernel": 5, "conv3": 0.0, "padding": "valid",
     "fc": 0, "dropout": 0.0}, (1, 28, 28), 10,
)  # fmt: skip
PERCEPTRON = {
    "kind": "autopytorch", "shape": [1, 28, 28], "classes": 10, "preprocessing": [],
    "network": {"layer": "Sequential", "layers": [
        {"layer": "Linear", "in": 784, "out": 16}, {"layer": "Tanh"},
        {"layer": "Linear", "in": 16, "out": 10}]},
}  # fmt: skip


@st.composite
def libraries(draw):
    """Probabilities (models, images, classes) and the images' classes."""
    models, images, classes = (draw(st.integers(low, 6)) for low in (1, 1, 2))
    raw = draw(arrays.arrays(np.float64, (models, images, classes), elements=st.floats(0.01, 1)))
    labels = draw(arrays.arrays(np.int64, images, elements=st.integers(0, classes - 1)))
    return raw / raw.sum(2, keepdims=True), labels


def accuracy_of(probabilities, labels):
    return float((probabilities.argmax(1) == labels).mean())


def mixed(probabilities, chosen, draws=None):
    """The mean of what was drawn first."""
    return probabilities[list(chosen.drawn[:draws])].mean(0)


def log_loss(probabilities, labels):
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


@given(libraries(), st.integers(1, 6))
def test_a_selection_keeps_its_promises(made, most):
    probabilities, labels = made
    chosen = select(probabilities, labels, most)
    singles = [accuracy_of(own, labels) for own in probabilities]
    assert singles[chosen.drawn[0]] == max(singles)
    assert sum(chosen.weights.values()) == pytest.approx(1)
    assert 1 <= len(chosen.weights) <= most
    assert 1 <= len(chosen.drawn) <= ROUNDS
    assert set(chosen.weights) <= set(range(len(probabilities)))
    assert ROUNDS <= chosen.tried <= ROUNDS * len(probabilities)
    first = probabilities[chosen.drawn[0]]
    assert log_loss(mixed(probabilities, chosen), labels) <= log_loss(first, labels) + 1e-9
    assert select(probabilities.copy(), labels.copy(), most) == chosen


def test_a_lucky_model_does_not_keep_a_better_mixture_from_being_kept():
    """The first is right everywhere, narrowly; the mean of all errs once and is surer."""
    labels = np.zeros(20, np.int64)
    probabilities = np.full((3, 20, 2), (0.9, 0.1))
    probabilities[0] = (0.6, 0.4)
    probabilities[1:, 0] = (0.3, 0.7)
    chosen = select(probabilities, labels, 5)
    assert accuracy_of(mixed(probabilities, chosen, 1), labels) == 1
    assert accuracy_of(mixed(probabilities, chosen), labels) == pytest.approx(0.95)
    assert {0, 1} <= set(chosen.drawn)


def test_models_that_err_elsewhere_are_put_together():
    labels = np.zeros(30, np.int64)
    probabilities = np.full((3, 30, 2), (0.9, 0.1))
    for model in range(3):
        probabilities[model, 10 * model : 10 * model + 10] = (0.4, 0.6)
    chosen = select(probabilities, labels, 5)
    assert accuracy_of(mixed(probabilities, chosen, 1), labels) == pytest.approx(2 / 3)
    assert accuracy_of(mixed(probabilities, chosen), labels) == 1
    assert len(select(probabilities, labels, 1).weights) == 1
    assert select(probabilities[:1], labels, 5).drawn == (0,)  # to draw it again adds nothing


def test_equally_accurate_ones_are_told_apart_by_log_loss():
    labels = np.zeros(4, np.int64)
    probabilities = np.stack([np.full((4, 2), (p, 1 - p)) for p in (0.6, 0.9, 0.7)])
    assert select(probabilities, labels, 5).weights == {1: 1.0}


def test_one_image_more_by_chance_is_no_reason_to_join():
    """The third is right where the first errs, and hopeless elsewhere."""
    labels = np.zeros(100, np.int64)
    probabilities = np.stack([np.full((100, 2), (p, 1 - p)) for p in (0.98, 0.95, 0.4)])
    probabilities[:2, 0] = (0.45, 0.55)
    probabilities[2, 0] = (1.0, 0.0)
    assert 2 not in select(probabilities, labels, 5).weights


def alike(*of_truth, images=20):
    """Models that give every image's class, 0 of two, this probability."""
    probabilities = np.stack([np.full((images, 2), (p, 1 - p)) for p in of_truth])
    return probabilities, np.zeros(images, np.int64)


def test_four_finals_answer_together_in_equal_parts_the_surest_first():
    probabilities, labels = alike(0.9, 0.88, 0.8, 0.89, 0.99, 0.91)
    probabilities[5, 0] = (0.4, 0.6)
    chosen = choose(
        ["final", "final", "search", "final", "search", "final"], probabilities, labels, 8
    )
    assert chosen.weights == {0: 0.25, 3: 0.25, 1: 0.25, 5: 0.25}
    assert list(chosen.drawn) == [0, 3, 1, 5]
    assert chosen.tried == 1


def test_what_is_far_less_sure_stays_out_of_the_mean_of_finals():
    probabilities, labels = alike(0.9, 0.9, 0.9, 0.85, 0.9)  # 0.85: a log loss 1.54 times as large
    assert set(choose(["final"] * 5, probabilities, labels, 8).weights) == {0, 1, 2, 4}
    probabilities, labels = alike(0.9, 0.9, 0.9, 0.87, 0.9)  # 1.32 times
    assert set(choose(["final"] * 5, probabilities, labels, 8).weights) == {0, 1, 2, 3, 4}
    assert set(choose(["final"] * 5, probabilities, labels, 4).weights) == {0, 1, 2, 4}


@given(libraries(), st.integers(1, 6), st.data())
def test_with_fewer_finals_it_is_drawn_greedily(made, most, data):
    probabilities, labels = made
    stages = data.draw(
        st.lists(
            st.sampled_from(["search", "final"]),
            min_size=len(probabilities),
            max_size=len(probabilities),
        )
    )
    chosen = choose(stages, probabilities, labels, most)
    if stages.count("final") < 4 or most < 4:
        assert chosen == select(probabilities, labels, most)
    assert len(chosen.weights) <= most


def test_models_that_err_far_more_often_are_not_in_the_library(trials):
    good = replace(trials[0], rungs=(made_rung(trials[0].rungs[0].samples, 0.99),))
    as_good = replace(trials[1], rungs=(made_rung(trials[1].rungs[0].samples, 0.985),))
    assert library([good, as_good, *trials[2:]], 20) == [good, as_good]


def test_the_library_has_as_many_models_of_each_family(trials):
    one, other, *_ = trials
    best = [replace(one, number=n, rungs=(made_rung(100, 0.99),), family="best") for n in range(2)]
    second = replace(other, number=2, rungs=(made_rung(100, 0.98),), family="mine.py")
    assert library([*best, second], 2) == [best[0], second]


@given(st.integers(0, 2**20), st.lists(st.integers(1, 5), min_size=2, max_size=4))
def test_the_mixture_is_the_weighted_mean_of_scaled_probabilities(seed, times):
    generator = torch.Generator().manual_seed(seed)
    logits = [torch.randn(7, 4, generator=generator) * 20 for _ in times]
    weights = [n / sum(times) for n in times]
    temperatures = [0.5 * n for n in times]
    wanted = sum(
        w * (own.double() / t).softmax(1)
        for w, t, own in zip(weights, temperatures, logits, strict=True)
    )
    mixed = combine(logits, weights, temperatures)
    assert torch.allclose(mixed.softmax(1).double(), wanted, atol=1e-5)


def a_trial(directory: Path, engine: str, number: int, data: Split) -> Trial:
    """A network with chance weights, and the accuracy that it has on validation images."""
    torch.manual_seed(100 * number + len(engine))
    architecture = PERCEPTRON if engine == "autopytorch" else CONVNET
    save_model(build_model(architecture), architecture, directory)
    logits = validation_logits(load_model(directory), data).numpy()
    accuracy = accuracy_of(logits, data.validation_targets)
    rungs = (made_rung(100, accuracy, 1.0),)
    sizes = {"parameters": 1000 + number, "multiply_adds": 2000}
    return Trial("s", engine, number, TrialState.COMPLETE, {}, rungs, model=directory, **sizes)


@pytest.fixture
def run(tmp_path):
    return Run(RunConfig(engine="all", budget_seconds=120), "first", Home(tmp_path / "home"))


@pytest.fixture
def trials(tmp_path, small_data):
    return [
        a_trial(tmp_path / f"{engine}{number}", engine, number, small_data)
        for engine in ("optuna", "autopytorch")
        for number in range(4)
    ]


def test_it_is_built_of_the_best_and_kept_as_any_model(run, trials, small_data):
    candidates = add_ensemble(run.config, run.ensembles, trials, small_data)
    (ensemble,) = run.ensembles.stored()
    trial = ensemble.trial
    assert candidates.trials == [*trials, trial]
    assert trial.label == "ensemble-0000"
    assert trial.title == "Ensemble"
    by_label = {each.label: each for each in trials}
    members = [by_label[label] for label in trial.configuration]
    assert sum(trial.configuration.values()) == pytest.approx(1)
    assert trial.parameters == sum(each.parameters for each in members)
    assert trial.multiply_adds == 2000 * len(members)
    assert [m.label for m in ensemble.members] == list(trial.configuration)
    assert (
        ensemble.members[0].alone
        == ensemble.members[0].joined
        == max(each.value for each in trials)
    )

    assert ensemble.members[-1].joined == pytest.approx(trial.value)

    logits = validation_logits(load_model(trial.model), small_data)
    alone = [validation_logits(load_model(each.model), small_data) for each in members]
    temperatures = [m.temperature for m in ensemble.members]
    assert torch.equal(logits, combine(alone, list(trial.configuration.values()), temperatures))
    labels = small_data.validation_targets
    fitted = [fit_temperature(own.numpy(), labels) for own in alone]
    assert temperatures == pytest.approx(fitted)
    assert np.array_equal(candidates.answers[trial.label], logits.numpy())
    assert trial.value == accuracy_of(logits.numpy(), labels)


def test_where_a_run_has_four_finals_it_is_their_mean(run, trials, small_data):
    best = leaderboard.best(trials)
    finals = [replace(best, number=number, stage="final") for number in range(10, 14)]
    built = add_ensemble(run.config, run.ensembles, [*trials, *finals], small_data).trials[
        len(trials) + 4 :
    ]
    assert [each.configuration for each in built] == [{each.label: 0.25 for each in finals}]
    searched = [replace(each, stage="search") for each in finals]
    drawn = add_ensemble(run.config, run.ensembles, [*trials, *searched], small_data).trials[
        len(trials) + 4 :
    ][-1]
    assert drawn.configuration != built[0].configuration


def test_members_of_both_engines_make_one_model(run, trials, small_data, tmp_path):
    chosen = [trials[0], trials[5], trials[2]]
    shares = ((0.5, 0.3, 0.2), (1.0, 0.7, 3.0))  # weights and temperatures
    members = tuple(
        Member(trial.label, trial.title, weight, 0.1, 0.1, temperature)
        for trial, weight, temperature in zip(chosen, *shares, strict=True)
    )
    ensemble = Ensemble(Trial("first", ENSEMBLE, 0, TrialState.COMPLETE, {}), members)
    run.ensembles.save(ensemble, [trial.model for trial in chosen])
    (kept,) = run.ensembles.stored()
    assert kept == replace(ensemble, trial=replace(ensemble.trial, model=kept.trial.model))
    network = load_model(kept.trial.model)
    images, _ = small_data.examples.batch(small_data.validation[:50])
    alone = [predict(load_model(trial.model), [images]) for trial in chosen]
    assert torch.equal(predict(network, [images]), combine(alone, *shares))
    assert torch.allclose(network(images), network(images.float()))
    save_model(network, json.loads((kept.trial.model / ARCHITECTURE).read_text()), tmp_path / "2")
    assert (tmp_path / "2" / WEIGHTS).read_bytes() == (kept.trial.model / WEIGHTS).read_bytes()
    assert draw(network, (1, 28, 28), tmp_path).svg.read_text().count("LogSoftmax") == 3


def test_a_continued_run_builds_another_only_where_the_choice_is_another(run, trials, small_data):
    first = add_ensemble(run.config, run.ensembles, trials, small_data)
    again = add_ensemble(run.config, run.ensembles, trials, small_data)
    assert again.trials == first.trials
    lead = next(iter(first.trials[-1].configuration))
    fewer = [trial for trial in trials if trial.label != lead]
    later = add_ensemble(run.config, run.ensembles, fewer, small_data)
    assert [t.label for t in later.trials[len(fewer) :]] == ["ensemble-0000", "ensemble-0001"]
    assert later.trials[-1].title == "Ensemble #1"
    assert run.ensembles.leading().trial == leaderboard.best(later.trials[len(fewer) :])


def test_it_wins_by_validation_accuracy_alone_and_meets_the_others(run, trials, small_data):
    candidates = add_ensemble(run.config, run.ensembles, trials, small_data)
    best = leaderboard.best(trials)
    together = candidates.trials[-1]
    rung = together.rungs[0]
    ahead = replace(together, rungs=(made_rung(rung.samples, best.value + 0.001),))
    assert leaderboard.best([*trials, ahead]) == ahead
    level = replace(together, rungs=best.rungs)
    assert leaderboard.best([*trials, level]) == best

    compared = compare(candidates, together, small_data, None)
    assert compared.winner == "Ensemble"
    assert {"Ensemble", best.title} <= {c.a for c in compared.comparisons} | {
        c.b for c in compared.comparisons
    }
    assert compared.chosen_from == len(trials) + int(together.notes["mixtures"])
    assert compared == compare(Candidates(candidates.trials, {}), together, small_data, None)
    members = tags(compared, together)["ensemble"].split(", ")
    assert [each.split()[0] for each in members] == list(together.configuration)
    assert "ensemble" not in tags(compared, best)


def test_where_there_is_nothing_to_put_together_there_is_none(run, trials, small_data):
    def built(config: RunConfig, given: list[Trial]) -> list[Trial]:
        return add_ensemble(config, run.ensembles, given, small_data).trials[len(given) :]

    alone = RunConfig(engine="all", ensemble=1)
    assert built(alone, trials) == []
    assert built(run.config, trials[:1]) == []
    assert built(run.config, []) == []
    twice = [trials[0], replace(trials[0], number=9)]
    assert built(run.config, twice) == []


def test_a_short_budget_asks_fewer_models(trials):
    assert library(trials, 2) == leaderboard.ranked(
        [leaderboard.best(trials[:4]), leaderboard.best(trials[4:])]
    )
    assert len(library(trials, 20)) == 8
    assert library([], 20) == []


def test_models_whose_weights_were_removed_are_left_out(run, trials, small_data):
    lost = leaderboard.best(trials)
    (lost.model / WEIGHTS).unlink()
    candidates = add_ensemble(run.config, run.ensembles, trials, small_data)
    assert lost.label not in candidates.trials[-1].configuration


def test_what_is_damaged_is_said(run, trials, small_data):
    add_ensemble(run.config, run.ensembles, trials, small_data)
    (ensemble,) = run.ensembles.stored()
    path = ensemble.trial.model / "trial.json"
    path.write_text("{")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        run.ensembles.stored()
    architecture = json.loads((path.parent / ARCHITECTURE).read_text())
    for weight in (0.0, -1.0, 2.0, "x", None):
        architecture["members"][0]["weight"] = weight
        (path.parent / ARCHITECTURE).write_text(json.dumps(architecture))
        with pytest.raises(ModelError, match="cannot be read"):
            load_model(path.parent)


COUNTED = {"trials": 3, "workers": 1, "first_rung": 300}
CONFIG = RunConfig(engine="optuna", budget_seconds=300, name="first", ensemble=2, **COUNTED)


@pytest.fixture(scope="module")
def home(mnist: Catalogued, test_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("ensemble") / "home")
    home.root.mkdir()
    home.data.symlink_to(test_home.data)
    return home


@pytest.fixture(scope="module")
def outcome(home: Home):
    """A run of three trials, each a few hundred samples long, and two models that are as good."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        second = property(lambda self: self.rungs[-2])  # then a final is as long as the top rung
        patch.setattr(ladder.Ladder, "top", second)
        yield find_model(CONFIG, home)


@pytest.mark.long
class TestInARun:
    def test_it_wins_if_and_only_if_it_is_more_accurate(self, outcome):
        together = [trial for trial in outcome.trials if trial.engine == ENSEMBLE]
        best = leaderboard.best(trial for trial in outcome.trials if trial.engine != ENSEMBLE)
        assert len(together) == 1
        assert 1 < len(together[0].configuration) <= 2
        wins = together[0].value > best.value
        assert outcome.winner == (together[0] if wins else best)
        assert wins  # of three that saw so little, every time

    def test_it_hangs_together_in_mlflow(self, home, outcome):
        client = open_store(home).client
        runs = runs_of_study(open_store(home), "first")
        (recorded,) = (r for r in runs if r.data.tags.get("automl.engine") == ENSEMBLE)
        assert recorded.data.tags["mlflow.parentRunId"] == outcome.run_id
        assert recorded.data.metrics["val_accuracy"] == outcome.winner.value
        assert recorded.info.status == "FINISHED"
        assert set(recorded.data.params) == set(outcome.winner.configuration)
        version = client.get_model_version_by_alias("automl-mnist", "champion")
        assert version.tags["trial"] == "ensemble-0000"
        named = [each.split()[0] for each in version.tags["ensemble"].split(", ")]
        assert named == list(outcome.winner.configuration)

    def test_mlflow_serves_it(self, home, outcome, small_data):
        import mlflow.pyfunc

        images, _ = small_data.examples.batch(small_data.validation[:20])
        logits = predict(load_model(outcome.winner.model), [images])
        temperature = outcome.findings.compared.temperature
        assert temperature != 1
        wanted = (logits / temperature).softmax(1)
        (folder,) = (path.parent for path in home.mlflow_artifacts.rglob("MLmodel"))
        served = mlflow.pyfunc.load_model(str(folder)).predict(images.numpy())
        assert np.allclose(served, wanted.numpy(), atol=1e-5)
        assert not [p for p in folder.rglob("*") if p.suffix in (".pkl", ".pt", ".pth", ".bin")]

    def test_people_can_read_what_each_member_adds(self, home, outcome):
        data = load(home, "first")
        assert data.winner == outcome.winner
        page, card = write(home.run("first"), data)
        ensemble = Run(CONFIG, "first", home).ensembles.leading()
        for member in ensemble.members:
            for text in (page.read_text(), card.read_text()):
                assert f"{member.joined:.2%}" in text
                assert member.title in text
        assert "ensemble" in (home.run("first") / "leaderboard.csv").read_text()
        assert outcome.test.accuracy > 0.3

    def test_it_is_had_again_bit_for_bit(self, home, outcome):
        facts = reproduce(home, "first", lambda line: None)
        assert "ensemble weights" in {fact.what for fact in facts}
        assert not [fact for fact in facts if fact.verdict is Verdict.DIFFERS], facts

    def test_sync_and_gc_know_it(self, home, outcome):
        assert sync(home, "first") == {"optuna": len(outcome.trials) - 1, ENSEMBLE: 1}
        clean(home, Policy(1, 0), dry_run=False)
        load_model(outcome.winner.model)

    def test_a_continued_run_keeps_it(self, home, outcome):
        # It trains another final, and compares on folds.
        again = find_model(CONFIG.model_copy(update={"validation_folds": 2}), home)
        assert again.run_id == outcome.run_id
        assert outcome.winner in again.trials
        assert again.winner.value >= outcome.winner.value
        assert again.findings.compared.is_champion == (again.winner == outcome.winner)
        (on_folds,) = again.findings.compared.folded.comparisons
        assert len(on_folds.differences) == 2
        assert any(name.startswith("Ensemble") for name in (on_folds.a, on_folds.b))
        assert on_folds.sentence() in (home.run("first") / "report.html").read_text()
