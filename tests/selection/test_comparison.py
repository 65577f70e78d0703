import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from in_memory import validation_logits
from made import made_rung

from pipeline_lib.data.decode import brightness
from pipeline_lib.data.source import Source
from pipeline_lib.data.splits import Split
from pipeline_lib.home import Home
from pipeline_lib.models.convnet import design
from pipeline_lib.models.saved import build_model, load_model, save_model
from pipeline_lib.outcome import Champion, ComparisonResult
from pipeline_lib.registry.promotion import champion, promote, promote_over
from pipeline_lib.registry.versions import Candidate, register
from pipeline_lib.resampling import ALPHA, bootstrap_interval, paired_counts
from pipeline_lib.run.finish import current_champion
from pipeline_lib.selection.comparison import chosen_from, compare, decide, tags
from pipeline_lib.selection.ensemble import MIXTURES, Candidates
from pipeline_lib.statistics import Comparison, mcnemar
from pipeline_lib.tracking import Recorder
from pipeline_lib.trial import ENSEMBLE, Trial, TrialState

ARCHITECTURE = design(
    {"multiply_adds": 2e5, "stem": "stride", "stem_kernel": 5, "conv3": 0.0, "padding": "valid",
     "fc": 0, "dropout": 0.0}, (1, 28, 28), 10,
)  # fmt: skip

WINNER = Trial("s", "optuna", 41, TrialState.COMPLETE, {}, rungs=(made_rung(100, 0.99, 1.0),))


def a_champion(**tags: object) -> Champion:
    told = {"split_digest": "s", "chosen_from": "10", "val_accuracy": "0.9900"} | {
        name: str(value) for name, value in tags.items()
    }
    return Champion(3, "an older run", told)


def compared(*pairs: Comparison, **changed: object) -> ComparisonResult:
    given_ = {
        "winner": "Optuna #41",
        "comparisons": pairs,
        "split_digest": "s",
        "size": 6000,
        "chosen_from": 10,
        "temperature": 1.0,
        "brightness": (0.0, 1.0),
        "champion": a_champion(),
    }
    return ComparisonResult(**{**given_, **changed})


def pair(p: float, low: float, ahead: bool = True, difference: float = 0.005) -> Comparison:
    names = ("Optuna #41", "champion v3") if ahead else ("champion v3", "Optuna #41")
    return Comparison(*names, difference, (low, 0.01), p, p, 0.003)


def test_the_first_winner_becomes_champion_unless_never() -> None:
    first = compared(champion=None)
    assert decide("significant", first, WINNER).promote
    assert decide("better", first, WINNER).promote
    assert decide("significant", first, WINNER).why == "first model"
    assert not decide("never", first, WINNER).promote


@pytest.mark.parametrize(
    ("found", "significant", "better"),
    [
        (pair(0.001, 0.002), True, True),
        (pair(0.06, 0.002), False, True),
        (pair(0.001, 0.0), False, True),
        (pair(0.001, 0.002, ahead=False), False, False),
        (pair(1.0, -0.01, difference=0.0), False, False),
    ],
)
def test_what_the_rules_ask_for(found: Comparison, significant: bool, better: bool) -> None:
    one = compared(found)
    assert decide("significant", one, WINNER).promote is significant
    assert decide("better", one, WINNER).promote is better
    assert not decide("never", one, WINNER).promote
    assert decide("significant", one, WINNER).why == found.sentence()


def test_the_best_of_many_more_needs_more_evidence() -> None:
    found = pair(0.01, 0.002)
    assert decide("significant", compared(found, chosen_from=10), WINNER).promote
    assert decide("significant", compared(found, chosen_from=40), WINNER).promote
    many = decide("significant", compared(found, chosen_from=60), WINNER)
    assert not many.promote
    assert "the best of 60, 6 times as many as the champion was chosen from" in many.why
    unknown = a_champion()
    unknown = replace(unknown, tags={"split_digest": "s"})  # says not how it was chosen
    assert not decide("significant", compared(found, champion=unknown), WINNER).promote


def test_a_champion_of_another_split_stays_but_for_better() -> None:
    why = "it was chosen on another split"
    current_champion = a_champion(split_digest="t", val_accuracy=0.985)
    other = compared(champion=current_champion, not_compared=why)
    kept = decide("significant", other, WINNER)
    assert not kept.promote
    assert "champion v3 cannot be compared: it was chosen on another split" in kept.why
    assert "`automl promote`" in kept.why
    assert "another split" in other.sentences()[-1]
    assert decide("better", other, WINNER).promote
    assert "99.00% on its validation images, better than the 98.50% of champion v3" in (
        decide("better", other, WINNER).why
    )
    as_good = compared(champion=a_champion(val_accuracy=0.99), not_compared=why)
    assert not decide("better", as_good, WINNER).promote


@given(
    st.sampled_from(["significant", "better", "never"]),
    st.floats(0, 1),
    st.floats(-0.01, 0.01),
    st.booleans(),
    st.integers(1, 500),
    st.integers(1, 500),
)
def test_no_champion_falls_without_evidence(
    rule: str, p: float, low: float, ahead: bool, field: int, champions_field: int
) -> None:
    one = compared(
        pair(p, low, ahead), chosen_from=field, champion=a_champion(chosen_from=champions_field)
    )
    decision = decide(rule, one, WINNER)
    assert decision.why
    if rule == "significant" and (not ahead or low <= 0 or p >= ALPHA):
        assert not decision.promote
    if rule == "never" or not ahead:
        assert not decision.promote


def best_of(count: int, wrong: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rightness of the best of so many models, each wrong on image i with chance `wrong[i]`."""
    right = generator.random((count, len(wrong))) >= wrong
    chosen: np.ndarray = right[right.sum(1).argmax()]
    return chosen


def pair_of(after: np.ndarray, before: np.ndarray, generator: np.random.Generator) -> Comparison:
    """As `compare_all` compares them, with fewer resamplings: all images are of one class."""
    table = paired_counts(after, before, np.zeros(len(after), dtype=np.int64))
    table[0, 0] += 5820
    only_after, only_before = int(table[0, 1]), int(table[0, 2])
    p = mcnemar(only_after, only_before)
    low, high = bootstrap_interval(table, generator, resamples=400)
    difference = (only_after - only_before) / 6000
    if difference < 0:
        return Comparison("champion v3", "Optuna #41", -difference, (-high, -low), p, p, 0.003)
    return Comparison("Optuna #41", "champion v3", difference, (low, high), p, p, 0.003)


def a_field(count: int, state: TrialState = TrialState.COMPLETE) -> list[Trial]:
    """So many trials of one rung each, all of them ranked."""
    rungs = (made_rung(100, 0.99, 1.0),)
    return [Trial("s", "optuna", n, state, {}, rungs, model=Path("kept")) for n in range(count)]


def test_every_trial_that_could_win_counts_however_it_ended() -> None:
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.STOPPED, TrialState.FAILED)
    ranked = [trial for state in states for trial in a_field(2, state)]
    lost = replace(ranked[0], model=None)
    nothing = replace(ranked[0], rungs=())
    mixed = replace(ranked[0], engine=ENSEMBLE, notes={MIXTURES: "40"})
    assert chosen_from([*ranked, lost, nothing]) == 8
    assert chosen_from([*ranked, mixed]) == 48


@pytest.mark.parametrize(
    ("field", "champions_field", "state"),
    [
        (1, 1, TrialState.COMPLETE),
        (30, 30, TrialState.COMPLETE),
        (30, 1, TrialState.PRUNED),
        (100, 7, TrialState.STOPPED),
    ],
)
def test_nights_without_a_real_difference_rarely_change_the_champion(
    field: int, champions_field: int, state: TrialState
) -> None:
    """400 nights of equally good models, both sides the best of theirs on 6,000 images."""
    generator = np.random.default_rng(11)
    counted = chosen_from(a_field(field, state))
    current_champion = a_champion(chosen_from=champions_field)
    falls = 0
    for _ in range(400):
        hard = generator.beta(0.5, 2.0, 180)  # the other 5,820 images every model gets right
        before = best_of(champions_field, hard, generator)
        after = best_of(field, hard, generator)
        found = pair_of(after, before, generator)
        one = compared(found, chosen_from=counted, champion=current_champion)
        falls += decide("significant", one, WINNER).promote
    assert falls <= 20, "more than the 5 % that the rule claims"


def test_a_real_difference_is_found_by_most_nights() -> None:
    generator = np.random.default_rng(12)
    current_champion = a_champion(chosen_from=10)
    found = 0
    for _ in range(100):
        hard = generator.beta(0.5, 2.0, 180)
        after, before = best_of(10, hard / 4, generator), best_of(10, hard, generator)
        one = compared(pair_of(after, before, generator), champion=current_champion)
        found += decide("significant", one, WINNER).promote
    assert found >= 80


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("compared") / "home")


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def a_trial(directory: Path, engine: str, number: int, seed: int, data: Split) -> Trial:
    """A network with chance weights, and the accuracy that it has on validation images."""
    torch.manual_seed(seed)
    save_model(build_model(ARCHITECTURE), ARCHITECTURE, directory)
    answers = validation_logits(load_model(directory), data).argmax(1).numpy()
    accuracy = float((answers == data.validation_targets).mean())
    return Trial(
        "s",
        engine,
        number,
        TrialState.COMPLETE,
        {},
        (made_rung(1, accuracy, 1.0),),
        model=directory,
    )


def test_engines_and_the_champion_meet_on_the_same_images(
    home: Home, small_mnist: Source, small_data: Split, tmp_path: Path
) -> None:
    recorder = Recorder.open(home, "mnist", "first", {})
    trials = [
        a_trial(tmp_path / f"{engine}{number}", engine, number, 7 * number + seed, small_data)
        for engine, seed in (("optuna", 0), ("autopytorch", 50))
        for number in (1, 2)
    ]
    winner = max(trials, key=lambda trial: trial.value or 0.0)

    def run_id_of_tonight() -> str:
        return "another run"

    def meet(run_id, best, data):
        return compare(
            Candidates(trials, {}), best, data, current_champion(home, run_id, best, data)
        )

    alone = meet(recorder.run_id, winner, small_data)
    assert (alone.champion, alone.against_champion, alone.chosen_from) == (None, None, 4)
    (only,) = alone.comparisons
    tops = [
        max((t for t in trials if t.engine == engine), key=lambda t: t.value or 0.0)
        for engine in ("optuna", "autopytorch")
    ]
    assert {only.a, only.b} == {top.title for top in tops}
    accuracies = sorted((top.value or 0.0 for top in tops), reverse=True)
    assert only.difference == pytest.approx(accuracies[0] - accuracies[1], abs=1e-6)
    typical = brightness(small_data.examples, small_data.train)
    assert alone.brightness == typical
    assert alone.split_digest == small_data.digest

    assert winner.model is not None
    version = register(
        home,
        Candidate(
            winner.model,
            "mnist",
            small_data.problem.target.names,
            recorder.run_id,
            {},
            tags(alone, winner),
        ),
    )
    assert promote_over(home, "mnist", version, None, "there was no champion yet")
    again = meet(recorder.run_id, winner, small_data)
    assert again.is_champion
    assert decide("better", again, winner).why == "it is champion already"

    rival = next(top for top in tops if top is not winner)
    met = meet(run_id_of_tonight(), rival, small_data)
    assert len(met.comparisons) == 3
    assert met.against_champion is not None
    assert not met.is_champion
    assert not decide("significant", met, rival).promote
    same = next(c for c in met.comparisons if {c.a, c.b} == {winner.title, f"champion v{version}"})
    assert (same.difference, same.interval, same.p) == (0.0, (0.0, 0.0), 1.0)

    elsewhere = replace(small_data, seed=1)
    apart = meet(run_id_of_tonight(), rival, elsewhere)
    assert apart.champion is not None
    assert apart.against_champion is None
    assert len(apart.comparisons) == 1
    assert apart.sentences()[-1].startswith(
        f"The champion v{version} was not compared: it was chosen on another split"
    )

    shutil.rmtree(home.mlflow_artifacts)
    gone = meet(run_id_of_tonight(), rival, small_data)
    assert gone.against_champion is None
    assert "model: cannot be fetched" in gone.sentences()[-1]
    assert not decide("significant", gone, rival).promote


def test_the_registry_remembers_how_a_champion_was_chosen(home: Home) -> None:
    current_champion = champion(home, "mnist")
    assert current_champion is not None
    assert current_champion.tags["chosen_from"] == "4"
    assert len(current_champion.tags["split_digest"]) == 64
    with pytest.raises(Exception, match="champion already"):
        promote(home, "mnist", current_champion.version, "")
