from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.search.autopytorch.description import describe_space, with_updates
from pipeline_lib.search.autopytorch.spaces import (
    SPACES,
    TINY_CS,
    Space,
    SpaceUpdate,
    check_updates,
    find_space,
    parse_updates,
)


def test_an_unknown_space_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean tiny_cs"):
        find_space("tiny_sc")


def test_book_is_the_chapters_preset() -> None:
    assert find_space("book") is TINY_CS


def test_updates_are_read_as_the_issue_writes_them() -> None:
    row = {
        "node": "network_backbone",
        "hyperparameter": "ShapedResNetBackbone:max_units",
        "range": [64, 512],
        "log": True,
    }
    (update,) = parse_updates([row])
    assert update == SpaceUpdate(row["node"], row["hyperparameter"], (64, 512), log=True)
    assert update.as_json()["default"] == 181  # the geometric middle


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rnge": [1, 2]}, "did you mean range"),
        ({"node": 3}, r"\[0\].node: must be a name"),
        ({"range": []}, r"\[0\].range: must be a list"),
        ({"range": 5}, r"\[0\].range: must be a list"),
        ({"range": [5, 1]}, "upside down"),
        ({"range": [0, 1], "log": True}, "must be > 0 with log"),
        ({"log": "yes"}, r"\[0\].log: must be true or false"),
    ],
)
def test_a_bad_update_is_refused_in_one_line(change: dict[str, object], problem: str) -> None:
    row = {"node": "optimizer", "hyperparameter": "AdamWOptimizer:lr", "range": [1e-4, 1e-2]}
    with pytest.raises(ConfigurationError, match=problem):
        parse_updates([row | change])


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


def test_a_users_update_takes_the_place_of_the_presets_own() -> None:
    mine = SpaceUpdate("data_loader", "batch_size", (32, 64))
    space = with_updates(TINY_CS, (mine,))
    batches = [update for update in space.updates if update.hyperparameter == "batch_size"]
    assert batches == [mine]
    assert len(space.updates) == len(TINY_CS.updates)


def test_choosing_components_drops_what_belongs_to_the_others() -> None:
    choice = SpaceUpdate("optimizer", "__choice__", ("AdamWOptimizer",))
    space = with_updates(TINY_CS, (choice,))
    assert space.include["optimizer"] == ["AdamWOptimizer"]
    assert not [u for u in space.updates if u.hyperparameter.startswith("SGD")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "tiny_cs", "full"])
def test_the_package_itself_accepts_every_space(engine_home: Home, name: str) -> None:
    described = describe_space(engine_home, name)
    names = {entry["name"] for entry in described["hyperparameters"]}
    check_updates(SPACES[name].updates, described)
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
    described = describe_space(engine_home, "tiny_cs")
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
def test_names_are_held_against_the_package(engine_home: Home) -> None:
    described = describe_space(engine_home, "full")
    good = SpaceUpdate("network_backbone", "ShapedResNetBackbone:max_units", (64, 512))
    check_updates([good], described)
    with pytest.raises(ConfigurationError, match="did you mean network_backbone"):
        check_updates([SpaceUpdate("network_bakbone", "x", (1,))], described)
    with pytest.raises(ConfigurationError, match="did you mean ShapedResNetBackbone:max_units"):
        check_updates([SpaceUpdate("network_backbone", "ShapedResNet:max_unit", (1,))], described)


def test_the_full_space_restricts_nothing() -> None:
    assert find_space("full") == Space(include={})
