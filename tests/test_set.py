"""`--set NAME=VALUE`: what is read from texts, lists and mappings, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.settings import normalised, parsed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lr=0.001", 0.001), ("lr=1e-3", 0.001), ("lr=.5", 0.5), ("units=64", 64),
        ("width=[32,64]", (32, 64)), ("width=[32, 64]", (32, 64)), ("width=[32]", (32,)),
        ("activation=[relu, tanh]", ("relu", "tanh")), ("stem=pool", "pool"),
        ("double=true", True), ("double=[True,false]", (True, False)),
        ("stem=two words", "two words"), ("stem=a=b", "a=b"),
        ('stem="1"', "1"), ('stem=["1",2]', ("1", 2)), ('stem=["a,b",c]', ("a,b", "c")),
        ("network_backbone:__choice__=MLP", "MLP"),
    ],
)  # fmt: skip
def test_what_a_text_says(text, value):
    (found,) = parsed([text]).values()
    assert (found, type(found)) == (value, type(value))
    assert parsed(normalised(text)) == parsed([text])


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ("lr", "'lr'"), ("=3", "NAME=VALUE"), ("lr=", "''"), ("lr=[]", "nothing to choose"),
        ("lr=nan", "finite"), ("lr=[1,inf]", "finite"), ("lr=null", "None"), ("lr={}", "{}"),
        ("lr=[1,,2]", "''"), ("lr=[[1]]", "[1]"), (["lr=1", "lr=2"], "twice"),
        ({"a=b": 1}, "'a=b'"), ({"": 1}, "''"), ({"lr": None}, "None"), ({"lr": []}, "nothing"),
    ],
)  # fmt: skip
def test_what_is_no_setting_is_refused_in_one_line(given_, says):
    with pytest.raises(ConfigurationError) as caught:
        RunConfig(set=given_)
    assert caught.value.where == "set"
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_and_mappings_that_say_the_same_are_equal():
    listed = RunConfig(set=["width=[32,64]", "lr=1e-3", "stem=pool"])
    assert listed == RunConfig(set={"stem": "pool", "lr": 0.001, "width": [32, 64]})
    assert listed == RunConfig(set={"stem": "pool", "lr": "1e-3", "width": [32, 64]})  # YAML's
    assert listed.settings == {"lr": 0.001, "stem": "pool", "width": (32, 64)}


scalars = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
words = st.text(min_size=1).filter(lambda text: text.strip() == text)


@given(st.dictionaries(words.filter(lambda name: "=" not in name), st.lists(scalars, min_size=1)))
def test_numbers_and_booleans_come_back_as_they_were(values):
    found = parsed(normalised(values))
    assert {name: list(each) for name, each in found.items()} == values
    assert all(type(a) is type(b) for n in values for a, b in zip(found[n], values[n], strict=True))


@given(words)
def test_any_text_is_read_as_it_is_written(text):
    try:
        (once,) = normalised({"name": text})
    except ConfigurationError:
        return
    assert normalised(once) == (once,)


def test_older_records_have_search_space_updates():
    row = {"node": "optimizer", "hyperparameter": "AdamWOptimizer:lr", "range": [1e-4, 1e-2]}
    chosen = {"node": "optimizer", "hyperparameter": "__choice__", "range": ["AdamWOptimizer"]}
    old = {"seed": 4, "search_space_updates": [row | {"log": True}, chosen]}
    config = RunConfig.of_record(old)
    assert config.settings == {
        "optimizer:AdamWOptimizer:lr": (1e-4, 1e-2),
        "optimizer:__choice__": ("AdamWOptimizer",),
    }
    assert RunConfig.of_record({"seed": 4, "search_space_updates": []}) == RunConfig.of_record(
        {"seed": 4}
    )
    with pytest.raises(ConfigurationError, match="search_space_updates"):
        RunConfig.parse(old)
