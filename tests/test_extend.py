"""The examples of docs/extend.md, run as they stand there."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from in_memory import validation_logits

from pipeline_lib import names
from pipeline_lib.config import RunConfig
from pipeline_lib.data.splits import Split
from pipeline_lib.families.family import Family
from pipeline_lib.home import Home
from pipeline_lib.models.saved import load_model
from pipeline_lib.run.agreement import Verdict
from pipeline_lib.run.pipeline import find_model
from pipeline_lib.run.reproduce import reproduce
from pipeline_lib.run.sync import sync
from pipeline_lib.search.engine import SearchRequest, find_engine
from pipeline_lib.trial import Trial, TrialState, by_regret

TESTS = Path(__file__).parent
for room in ("families", "search"):  # where the contracts are
    sys.path.append(str(TESTS / room))
contract, family_contract = map(importlib.import_module, ("contract", "family_contract"))

DOCUMENT = (TESTS.parent / "docs" / "extend.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```python\n# (.+?)\n(.*?)```", DOCUMENT, re.DOTALL))
FILES = {name: text for name, text in BLOCKS.items() if name.endswith(".py")}
LINES = {name: text for name, text in BLOCKS.items() if name not in FILES}
COMMANDS = re.findall(r"^    automl run mnist (.+)$", DOCUMENT, re.MULTILINE)
PARTS = {"SAMPLERS": "neighbour", "PRUNERS": "leaders", "ENGINES": "flat"}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with every file; those of the product are imported as if they lay in it."""
    monkeypatch.chdir(tmp_path)
    added = set()
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        if "/" in name:
            module = name.removesuffix(".py").replace("/", ".")
            package = importlib.import_module(module.rpartition(".")[0])
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(file.parent)])
            added.add(module)
    for place, line in LINES.items():
        file, table = place.split(": ")
        assert file == "pipeline_lib/names.py"
        ((name, address),) = re.findall(r'^"(.+)": "(.+)",$', line)
        assert name == PARTS[table]
        monkeypatch.setitem(getattr(names, table), name, address)
    yield tmp_path
    for module in added & sys.modules.keys():
        del sys.modules[module]


def config_of(*words: str) -> RunConfig:
    """The configuration of the document's command that has these words."""
    (command,) = (text for text in COMMANDS if set(words) <= set(shlex.split(text)))
    options = shlex.split(command)
    fields: dict[str, list[str]] = {}
    for option, value in zip(options[::2], options[1::2], strict=True):
        fields.setdefault(option.removeprefix("--"), []).append(value)
    return RunConfig(**{n: v if n == "family" else v[0] for n, v in fields.items()})


@pytest.fixture
def searched(written: Path, tiny_data: Split) -> Callable[..., list[Trial]]:
    """The trials of a short search, configured as the document's command with these words."""

    def search(*words: str, **changes) -> list[Trial]:
        config, home = config_of(*words), Home(written / "home")
        families = tuple(Family.find(text).kept(home) for text in config.families)
        usual = SearchRequest(
            "extended", replace(tiny_data, metric=config.metric), "default",
            time.monotonic() + 600, 120.0, 2, 1, 0, written / "study", first_rung=64,
            families=families,
        )  # fmt: skip
        name = config.engine if config.engine in PARTS.values() else "optuna"
        engine = find_engine(name).of(config, home)
        engine.check_code()
        done = contract.run_search(engine, replace(usual, **changes))
        assert {trial.state for trial in done.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
        return [trial for trial in done.trials if trial.stage == "search"]

    return search


def test_every_example_is_short_and_has_its_command():
    (chapter,) = (text for name, text in FILES.items() if name == "chapter.py")
    for text in set(FILES.values()) - {chapter}:
        assert 3 < sum(bool(line.strip()) for line in text.splitlines()) < 30
    for name in FILES:
        stem = PARTS.get(name, Path(name).stem)
        assert any(re.search(rf"\b{stem}\b", command) for command in COMMANDS), name


def test_the_chapters_class_is_the_one_that_other_tests_use():
    """`tests/families/chapter.py`, which the linter reads."""
    ours = (TESTS / "families" / "chapter.py").read_text(encoding="utf-8")
    code = re.sub(r"  # noqa.*", "", ours.partition('"""\n\n')[2])
    assert FILES["chapter.py"] == code


@pytest.mark.parametrize("name", ["mlp.py", "deep.py", "chapter.py"])
def test_a_family(name, searched, written, monkeypatch):
    monkeypatch.setenv("AUTOML_HOME", str(written / "home"))
    trials = [each for each in searched(name, trials=4) if each.family == name]
    assert len(trials) >= 2
    own = {"mlp.py": "width", "deep.py": "layers", "chapter.py": "num_conv_layers"}[name]
    for trial in trials:
        assert {own, "lr", "batch_size"} <= trial.configuration.keys()
        answers = load_model(trial.model)(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
        assert answers.shape == (2, 10)


def test_a_metric(searched, tiny_data):
    for trial in searched("top2.py:score"):
        logits = validation_logits(load_model(trial.model), tiny_data).numpy()
        order, targets = np.argsort(-logits, axis=1), tiny_data.validation_targets
        assert trial.metric.name == "top2.py:score"
        assert trial.accuracy == pytest.approx((order[:, 0] == targets).mean())
        second = (order[:, 1] == targets).mean()
        assert trial.value == pytest.approx(trial.accuracy + second)
        assert second > 0


def test_a_sampler(searched):
    """It takes most values from the best trial; the priors come first."""
    *before, last = searched("neighbour", trials=8)
    best = min((t for t in before if t.state is TrialState.COMPLETE), key=by_regret)
    same = best.configuration.items() & last.configuration.items()
    assert len(same) > len(last.configuration) / 2
    assert last.configuration != best.configuration


def test_a_pruner(searched):
    """The first three climb; after them, a trial that fewer than three before it equal."""
    trials = searched("leaders", trials=8)
    assert {trial.state for trial in trials[:3]} == {TrialState.COMPLETE}
    for index, trial in enumerate(trials):
        for number, rung in enumerate(trial.rungs[:-1]):  # after which it climbed
            before = [t.rungs[number].value for t in trials[:index] if len(t.rungs) > number]
            assert sum(value >= rung.value for value in before) < 3
    assert any("leaders" in trial.reason for trial in trials)


def test_an_engine(searched):
    trials = searched("flat", "5", trials=3)
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert len({str(trial.configuration) for trial in trials}) == 3
    assert [[rung.samples for rung in trial.rungs] for trial in trials] == 3 * [[64]]


@pytest.mark.slow
def test_an_engine_runs_as_the_others_do(written, fresh_home, monkeypatch):
    """From the configuration to the registered winner, and what is made of its records later."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = RunConfig(
        engine="flat", name="own", trials=3, workers=1, budget_seconds=300, first_rung=1000,
        ensemble=2, validation_folds=2,
    )  # fmt: skip
    assert "flat" not in RunConfig().engines  # it does not say that it searches by default
    outcome = find_model(config, fresh_home)
    assert sum(trial.engine == "flat" for trial in outcome.trials) == 3
    assert outcome.winner.title.startswith(("Flat search #", "Ensemble"))
    assert "Flat search" in (outcome.directory / "report.html").read_text(encoding="utf-8")
    assert sync(fresh_home, "own")["flat"] == 3
    facts = reproduce(fresh_home, "own", lambda line: None)
    assert [fact for fact in facts if fact.verdict is Verdict.DIFFERS] == []
    assert any(fact.what.startswith("flat") for fact in facts)


class TestTheSampler(contract.SamplerContract):
    @pytest.fixture
    def make(self, written):
        return names.load(names.SAMPLERS["neighbour"])


class TestThePruner(contract.PrunerContract):
    @pytest.fixture
    def make(self, written):
        return names.load(names.PRUNERS["leaders"])


class TestTheFamily(family_contract.FamilyContract):
    named = "mlp.py"
    problems = ("tiny", "grey", "colour")

    @pytest.fixture(autouse=True)
    def _files(self, written):
        pass


class TestTheDefineByRunFamily(TestTheFamily):
    named = "deep.py"
