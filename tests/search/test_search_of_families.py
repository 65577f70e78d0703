"""Several families in one search, and files of the user's that fail while it runs."""

from __future__ import annotations

import textwrap
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_lib.errors import ConfigurationError, FamilyError
from pipeline_lib.families.family import Family
from pipeline_lib.search.contenders import Contender, Contenders
from pipeline_lib.search.engine import SearchRequest
from pipeline_lib.search.fidelity import Ladder
from pipeline_lib.search.finalists import Finalist, clearly_behind, next_finalist
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.trial import Trial, TrialState

HERE = Path(__file__).parents[1] / "families"
CONVNET, BOOK = Family("convnet"), Family("book")
MLP = Family.find(str(HERE / "mlp.py"))


@pytest.fixture
def make_request(tiny_data, tmp_path):
    def make(*families: Family, **changes) -> SearchRequest:
        usual = SearchRequest(
            "study", tiny_data, "default", time.monotonic() + 600, 120.0, 6, 1, 3,
            tmp_path / "study", first_rung=50, families=families,
        )  # fmt: skip
        return replace(usual, **changes)

    return make


def searched(request: SearchRequest) -> list[Trial]:
    engine = OptunaEngine("random")
    engine.search(request, lambda trial: None, threading.Event())
    return engine.trials(request.study, request.directory)


def written(tmp_path: Path, source: str, name: str = "mine.py") -> Family:
    path = tmp_path / name
    begin = "import torch\nfrom torch import nn\n\n"
    path.write_text(begin + textwrap.dedent(source), encoding="utf-8")
    return Family.find(str(path))


def test_families_take_turns_and_their_numbers_are_unique(make_request):
    trials = [t for t in searched(make_request(CONVNET, BOOK, MLP)) if t.stage == "search"]
    assert Counter(t.family for t in trials) == {"convnet": 2, "book": 2, "mlp.py": 2}
    assert [t.number for t in trials] == list(range(6))
    assert [t.family for t in trials] == 2 * ["convnet", "book", "mlp.py"]
    assert all(t.multiply_adds and t.parameters for t in trials)
    by_family = {t.family: tuple(r.samples for r in t.rungs) for t in trials[:3]}
    assert by_family["convnet"][0] == by_family["mlp.py"][0] == 50
    assert by_family["book"][0] == 320  # a pass, as the chapter has it


def test_a_counted_search_of_families_finds_the_same_again(make_request, tmp_path):
    def found(name):
        request = make_request(CONVNET, MLP, directory=tmp_path / name)
        return [(t.label, t.family, t.configuration, t.value) for t in searched(request)]

    assert found("one") == found("again")


def test_finals_go_to_the_best_of_all_families_and_their_variants(make_request):
    trials = searched(make_request(CONVNET, MLP, budget_seconds=600.0, workers=2))
    finals = [t for t in trials if t.stage == "final"]
    assert len(finals) == 2
    labels = {t.label: t for t in trials}
    for final in finals:
        origin = labels[final.notes["final"].removeprefix("of ").split(",")[0]]
        assert final.family == origin.family
        variant = {"convnet": "upright", "mlp.py": "deep"}[final.family]
        kept = {n: v for n, v in final.configuration.items() if n != variant}
        assert kept.items() <= origin.configuration.items()


def test_a_search_of_families_continues_and_no_other_does(make_request):
    first = searched(make_request(CONVNET, MLP, trials=2))
    more = searched(make_request(CONVNET, MLP, trials=2))
    assert [t for t in more if t in first] == first
    assert Counter(t.family for t in more if t.stage == "search") == {"convnet": 2, "mlp.py": 2}
    for others in ((MLP, CONVNET), (CONVNET,), (CONVNET, BOOK)):
        with pytest.raises(ConfigurationError, match=r"family: .*mlp\.py, SHA-256"):
            OptunaEngine("random").check(make_request(*others))


def test_a_study_goes_on_from_what_a_family_found_in_another(make_request, tmp_path):
    before = searched(make_request(CONVNET, MLP, trials=4))
    earlier = (("study", tmp_path / "study"),)
    request = make_request(
        MLP, study="later", directory=tmp_path / "later", trials=1, warm_start=earlier
    )
    first = searched(request)[0]
    best = min((t for t in before if t.family == "mlp.py"), key=lambda trial: trial.regret)
    assert first.configuration == best.configuration
    assert first.notes["from"] == f"{best.label} of study"


RAISES = """
def space(trial, problem, budget):
    return {"width": trial.suggest_int("width", 4, 8)}


class Net(nn.Sequential):
    def forward(self, x):
        if self.training:
            raise KeyError(f"no {x.shape[0] * 0}")
        return super().forward(x)


def build(configuration, problem):
    return Net(nn.Flatten(), nn.Linear(784, 10))
"""


def test_the_same_error_in_the_first_three_trials_ends_the_search(make_request, tmp_path, capfd):
    request = make_request(written(tmp_path, RAISES), trials=6)
    with pytest.raises(FamilyError, match=r"mine\.py: .*mine\.py:12: KeyError: 'no 0'"):
        searched(request)
    trials = OptunaEngine("random").trials("study", request.directory)
    assert [t.state for t in trials] == 3 * [TrialState.FAILED]
    assert {t.reason for t in trials} == {"mine.py:12: KeyError: 'no 0'"}
    assert "Traceback" not in capfd.readouterr().err


def test_a_broken_file_leaves_its_share_to_the_other_families(make_request, tmp_path):
    trials = searched(make_request(written(tmp_path, RAISES), CONVNET, trials=8))
    conducted = Counter(t.family for t in trials if t.stage == "search")
    assert conducted == {"mine.py": 3, "convnet": 5}


SOMETIMES = """
def build(trial, problem):
    width = trial.suggest_int("width", 4, 1000)
    if width > 20:
        raise ValueError(f"{width} is too wide")
    return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))
"""


def test_a_trial_that_raises_in_its_proposal_fails_alone(make_request, tmp_path):
    trials = searched(make_request(written(tmp_path, SOMETIMES), trials=4))
    failed = [t for t in trials if t.state is TrialState.FAILED]
    assert len(failed) == 4
    for trial in failed:
        width = trial.configuration["width"]
        assert trial.reason == f"mine.py:8: ValueError: {width} is too wide"


# The rule by which a family gives its share away


def trial(family: str, number: int, *regrets: float) -> Trial:
    from pipeline_lib.metrics import ACCURACY
    from pipeline_lib.trial import Rung

    rungs = tuple(
        Rung.of(ACCURACY, 100 * 3**i, {"accuracy": 1 - regret}, 1.0)
        for i, regret in enumerate(regrets)
    )
    return Trial("s", "optuna", number, TrialState.COMPLETE, {}, rungs, family=family)


def three(family: str, *regrets: float) -> list[Trial]:
    return [trial(family, number, *regrets) for number in range(3)]


def test_a_family_is_behind_with_more_than_twice_the_regret_at_the_same_rung():
    good = three("good", 0.10, 0.05)
    assert clearly_behind({"good": good, "same": three("same", 0.19)}) == set()
    assert clearly_behind({"good": good, "bad": three("bad", 0.21)}) == {"bad"}
    assert clearly_behind({"good": good, "low": three("low", 0.30, 0.09)}) == set()
    assert clearly_behind({"good": good, "new": three("new", 0.9)[:2], "none": []}) == set()


def test_where_a_family_has_no_trial_left_the_next_has_the_final():
    one, first, second = trial("one", 0, 0.10), trial("two", 1, 0.11), trial("two", 3, 0.12)
    names = {"one": "", "two": ""}
    finals = [Finalist(one), Finalist(first)]
    assert next_finalist([one, first, second], finals, names) == Finalist(second)
    assert next_finalist([one, first, second], [*finals, Finalist(second)], names) is None


def contender(name: str, *trials: Trial) -> Contender:
    from types import SimpleNamespace

    part = SimpleNamespace(family=Family(name))
    best = {each.number: each for each in trials}
    return Contender(part, Ladder((100, 300), 3), None, [], best=best)


def test_shares_are_equal_until_a_third_of_the_search_shows_who_is_behind():
    good, bad = contender("good", *three("good", 0.1)), contender("bad", *three("bad", 0.5))
    both = Contenders([good, bad])

    def turns(count):
        for _ in range(count):
            chosen = both.next(counted=True, running=[])
            chosen.conducted += 1
            yield chosen.name

    both.compare_families(0.3)
    assert [*turns(4)] == ["good", "bad", "good", "bad"]
    both.compare_families(0.34)
    assert [*turns(3)] == ["good", "good", "good"]


def test_by_the_clock_the_family_that_spent_least_is_next():
    one, other = contender("one"), contender("other")
    one.spent, other.spent = 10.0, 4.0
    both = Contenders([one, other])
    assert both.next(counted=False, running=[]) is other
    long_ago = time.monotonic() - 20
    assert both.next(counted=False, running=[(other, long_ago)]) is one
