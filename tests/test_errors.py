import pickle

import pytest

from pipeline_lib import errors
from pipeline_lib.errors import AutomlError, ConfigurationError, UserError

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type)]


def test_an_error_reads_where_problem_value_remedy():
    error = ConfigurationError("trials", "must be above zero", value=0, remedy="give at least 1")
    assert str(error) == "trials: must be above zero, got 0; give at least 1"
    assert (error.where, error.problem) == ("trials", "must be above zero")
    assert (error.value, error.remedy) == (0, "give at least 1")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AutomlError("search", "found nothing"), "search: found nothing"),
        (AutomlError("name", "is empty", value=""), "name: is empty, got ''"),
        (AutomlError("name", "is absent", value=None), "name: is absent, got None"),
        (AutomlError("home", "is full", remedy="make room"), "home: is full; make room"),
    ],
)
def test_parts_that_are_absent_leave_no_trace(error, text):
    assert str(error) == text


@pytest.mark.parametrize("kind", ALL)
def test_errors_cross_process_borders_whole(kind):
    error = kind("port", "is taken", value=4200, remedy="choose another")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = {}
    for line in errors.__doc__.splitlines()[2:]:
        name = (
            line.replace("─", " ").replace("│", " ").replace("├", " ").replace("└", " ").split()[0]
        )
        drawn[name] = line.index(name)
    root = drawn["AutomlError"]
    depths = {kind.__name__: len(kind.__mro__) - len(AutomlError.__mro__) for kind in ALL}
    assert {name: (column - root) // 4 for name, column in drawn.items()} == depths


def test_what_the_user_can_mend_is_a_user_error():
    mendable = {kind.__name__ for kind in UserError.__subclasses__()}
    assert mendable == {
        "ConfigurationError", "DataError", "FamilyError", "HomeError", "ImageError", "ModelError",
        "ServerError",
    }  # fmt: skip
    assert not issubclass(errors.EngineUnavailable, UserError)
    assert not issubclass(errors.TrialFailure, UserError)
