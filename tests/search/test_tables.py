"""Every line of the tables of names: what it leads to, and its contract."""

from __future__ import annotations

import re
from pathlib import Path

import optuna
import pytest
from contract import PrunerContract, SamplerContract, climb

from pipeline_lib import names
from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.search.engine import Engine, find_engine
from pipeline_lib.search.fidelity import Ladder

LADDER = Ladder((100, 300, 900), 3)


class TestSamplers(SamplerContract):
    @pytest.fixture(params=names.SAMPLERS)
    @classmethod
    def make(cls, request):
        return names.load(names.SAMPLERS[request.param])


class TestPruners(PrunerContract):
    @pytest.fixture(params=names.PRUNERS)
    @classmethod
    def make(cls, request):
        return names.load(names.PRUNERS[request.param])


@pytest.mark.parametrize("name", names.ENGINES)
def test_every_engine_says_what_it_is(name, tmp_path):
    engine = find_engine(name).of(RunConfig(engine=name), Home(tmp_path))
    assert Engine in type(engine).__mro__  # whose defaults it has
    assert (engine.name, bool(engine.title)) == (name, True)
    assert "default" in engine.spaces
    assert engine.least_seconds(RunConfig(engine=name), 1000) > 0
    can_run, line = engine.availability()
    assert isinstance(can_run, bool)
    assert "\n" not in line


def test_every_engine_has_a_class_that_holds_it_to_the_contract():
    sources = Path(__file__).parent.rglob("test_*.py")
    held = [re.findall(r"class Test(\w+)\(EngineContract\)", path.read_text()) for path in sources]
    engines = {names.ENGINES[name].partition(":")[2] for name in names.ENGINES}
    assert engines <= {name for found in held for name in found}


def test_an_unknown_engine_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'optuna'"):
        find_engine("optunna")


def climbed(pruner, values):
    made = names.load(names.PRUNERS[pruner])(LADDER)
    study = optuna.create_study(direction="maximize", pruner=made)
    return [climb(study, LADDER, value) for value in values]


def test_rungs_let_the_best_third_climb():
    assert climbed("rungs", [0.9, 0.5, 0.6, 0.8, 0.91]) == [3, 1, 1, 1, 3]


def test_the_median_lets_five_climb_and_then_the_better_half():
    assert climbed("median", [0.9, 0.8, 0.7, 0.6, 0.5, 0.65, 0.75]) == [3, 3, 3, 3, 3, 1, 3]


def test_without_a_pruner_all_climb():
    assert climbed("none", [0.9, 0.1, 0.5]) == [3, 3, 3]
