from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.search.autopytorch.description import describe_space
from pipeline_lib.search.autopytorch.engine import AutoPytorchEngine
from pipeline_lib.search.autopytorch.settings import settable_names, with_settings
from pipeline_lib.search.autopytorch.spaces import (
    SPACES,
    TINY_CS,
    Space,
    SpaceUpdate,
    find_space,
)
from pipeline_lib.settings import parsed

UPDATABLE = {
    "network_backbone": {
        "__choice__": {"range": ["ShapedResNetBackbone", "ShapedMLPBackbone"], "log": False},
        "ShapedResNetBackbone:max_units": {"range": [10, 1024], "log": True},
        "ShapedResNetBackbone:num_groups": {"range": [1, 15], "log": False},
        "ShapedResNetBackbone:activation": {"range": ["relu", "tanh"], "log": False},
        "ShapedResNetBackbone:use_shake_shake": {"range": [True, False], "log": False},
        "ShapedMLPBackbone:max_units": {"range": [10, 1024], "log": True},
    },
    "optimizer": {
        "__choice__": {"range": ["SGDOptimizer", "AdamWOptimizer"], "log": False},
        "SGDOptimizer:lr": {"range": [1e-5, 1e-1], "log": True},
        "AdamWOptimizer:lr": {"range": [1e-5, 1e-1], "log": True},
    },
    "data_loader": {"batch_size": {"range": [32, 320], "log": True}},
}
"""As the package says it of a few."""


def test_an_unknown_space_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean tiny_cs"):
        find_space("tiny_sc")


def test_book_is_the_chapters_preset() -> None:
    assert find_space("book") is TINY_CS


def with_(space: Space, *settings: str) -> Space:
    return with_settings(space, parsed(settings), UPDATABLE)


def updates_of(space: Space) -> dict[str, SpaceUpdate]:
    return {update.name: update for update in space.updates}


def test_a_range_takes_the_place_of_the_presets_own_and_keeps_its_scale() -> None:
    name = "network_backbone:ShapedResNetBackbone:max_units"
    space = with_(TINY_CS, f"{name}=[64,512]", "data_loader:batch_size=[32,64]")
    found = updates_of(space)
    assert found[name].range == (64, 512)
    assert found[name].log
    assert found[name].as_json()["default"] == 181  # the geometric middle
    assert found["data_loader:batch_size"].log  # the package's: the preset's is fixed, with none
    assert found.keys() == updates_of(TINY_CS).keys()


def test_what_the_preset_leaves_to_the_package_keeps_the_packages_scale() -> None:
    name = "network_backbone:ShapedResNetBackbone:num_groups"
    space = with_(Space(include={}), f"{name}=[2,3]", "data_loader:batch_size=[64,128]")
    assert {n: u.log for n, u in updates_of(space).items()} == {
        name: False, "data_loader:batch_size": True,
    }  # fmt: skip


def test_a_fixed_value_is_a_range_of_one() -> None:
    update = updates_of(with_(TINY_CS, "data_loader:batch_size=64"))["data_loader:batch_size"]
    assert (update.range, update.log, update.first_value) == ((64,), False, 64)


def test_choosing_components_drops_what_belongs_to_the_others() -> None:
    for value in ("AdamWOptimizer", "[AdamWOptimizer]"):
        space = with_(TINY_CS, f"optimizer:__choice__={value}")
        assert space.include["optimizer"] == ["AdamWOptimizer"]
        assert not [u for u in space.updates if u.hyperparameter.startswith("SGD")]


def test_what_is_another_engines_changes_nothing() -> None:
    assert with_(TINY_CS, "lr=0.1", "stem:kernel=3") == TINY_CS


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("optimizer:SGDOptimizer:lr=[0.1,0.01]", "upside down"),
        ("optimizer:SGDOptimizer:lr=[0,0.1]", "logarithmic"),
        ("optimizer:SGDOptimizer:lr=[0.1,0.2,0.3]", "lowest"),
        ("optimizer:SGDOptimizer:lr=fast", "lowest"),
        ("network_backbone:ShapedResNetBackbone:activation=[relu,tahn]", "did you mean tanh"),
        ("network_backbone:ShapedResNetBackbone:use_shake_shake=1", "'?1"),
        ("optimizer:__choice__=AdamW", "did you mean AdamWOptimizer"),
        ("optimizer:AdamWOptimizer:lr=0.1", "set optimizer:__choice__=AdamWOptimizer too"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(setting: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        with_(TINY_CS, setting)
    assert caught.value.where == "set"
    assert "\n" not in str(caught.value)
    with_(TINY_CS, "optimizer:__choice__=AdamWOptimizer", "optimizer:AdamWOptimizer:lr=0.1")


@given(
    low=st.floats(1e-6, 1e3),
    factor=st.floats(1.0, 1e3),
    log=st.booleans(),
    whole=st.booleans(),
)
def test_the_value_tried_first_lies_in_the_range(
    low: float, factor: float, log: bool, whole: bool
) -> None:
    bounds = (max(1, round(low)), max(1, round(low * factor))) if whole else (low, low * factor)
    first = SpaceUpdate("n", "h", bounds, log).first_value
    assert bounds[0] * (1 - 1e-9) <= first <= bounds[1] * (1 + 1e-9)
    assert isinstance(first, int) == whole


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "tiny_cs", "full"])
def test_the_package_itself_accepts_every_space(engine_home: Home, name: str) -> None:
    described = describe_space(engine_home, SPACES[name])
    names = {entry["name"] for entry in described["hyperparameters"]}
    assert set(updates_of(SPACES[name])) <= set(settable_names(described["updatable"]))
    for node, components in SPACES[name].include.items():
        (choices,) = (
            entry["range"]
            for entry in described["hyperparameters"]
            if entry["name"] == f"{node}:__choice__"
        )
        assert sorted(choices) == sorted(components)
    if name == "full":
        assert len(names) == 219


@pytest.mark.slow
def test_tiny_cs_has_the_chapters_ranges(engine_home: Home) -> None:
    described = describe_space(engine_home, TINY_CS)
    ranges = {entry["name"]: entry for entry in described["hyperparameters"]}
    backbone = "network_backbone:ShapedResNetBackbone:"
    assert ranges[f"{backbone}blocks_per_group"]["range"] == [1, 4]
    assert ranges[f"{backbone}max_units"]["range"] == [10, 1024]
    assert ranges[f"{backbone}max_units"]["log"]
    assert ranges[f"{backbone}num_groups"]["range"] == [1, 9]
    assert ranges["optimizer:SGDOptimizer:lr"]["range"] == [1e-4, 0.1]
    assert ranges["data_loader:batch_size"]["range"] == [125]
    assert ranges["feature_preprocessor:TruncatedSVD:target_dim"]["range"] == [100]


@pytest.mark.slow
def test_a_setting_is_in_the_space_that_the_package_describes(engine_home: Home) -> None:
    name = "network_backbone:ShapedMLPBackbone:max_units"
    settings = parsed([f"{name}=[300,400]", "trainer:__choice__=StandardTrainer"])
    engine = AutoPytorchEngine(engine_home, settings)
    rows = {row["name"]: row for row in engine.describe("default", 60.0)}
    assert (rows[name]["range"], rows[name]["log"]) == ([300, 400], True)
    assert rows["trainer:__choice__"]["range"] == ["StandardTrainer"]
    known = engine.settable("default")
    assert known is not None
    assert name in known
    assert "network_backbone:ResNetBackbone:num_group" not in known


@pytest.mark.slow
def test_what_the_package_refuses_is_the_users_mistake(engine_home: Home) -> None:
    settings = parsed(["network_backbone:ResNetBackbone:use_dropout=false"])
    with pytest.raises(ConfigurationError, match="Auto-PyTorch refuses") as caught:
        AutoPytorchEngine(engine_home, settings).settable("default")
    assert caught.value.where == "set"


def test_what_may_be_set_is_unknown_until_the_environment_stands(tmp_path: Path) -> None:
    assert AutoPytorchEngine(Home(tmp_path)).settable("default") is None


def test_the_full_space_restricts_nothing() -> None:
    assert find_space("full") == Space(include={})
