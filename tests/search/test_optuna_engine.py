"""The Optuna engine: the contract, and what it promises beyond it."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from dataclasses import replace

import optuna
import psutil
import pytest
from contract import EngineContract, of_problem, run_search, searching

from pipeline_lib.data.problem import Classes, Image, Problem
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.families import book, convnet
from pipeline_lib.families.family import Family
from pipeline_lib.families.space import Space
from pipeline_lib.names import PRUNERS, SAMPLERS, load
from pipeline_lib.search import finalists
from pipeline_lib.search.engine import SearchRequest, trial_seed
from pipeline_lib.search.fidelity import Ladder
from pipeline_lib.search.journal import journal, open_storage
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.search.records import RECORD, read_trials
from pipeline_lib.search.study import Part, check_study, first_in_line, open_study
from pipeline_lib.selection.leaderboard import best, counts
from pipeline_lib.training.workers import warm_up
from pipeline_lib.trial import TrialState

pytestmark = pytest.mark.slow

BASE = 100  # samples at the lowest rung, so that a trial takes a second


GREY = Problem("grey", "grey", Image(1, 28, 28), Classes(("a", "b")), 100, 10, "digest")
CONVNET, BOOK = (Family("convnet"),), (Family("book"),)


def part_of(request):
    """The part of a request that its only family has."""
    problem, budget = request.split.problem, request.budget_seconds
    return Part(request, 0, Space(request.families[0], problem, budget, request.settings))


def long_budget():
    return {"budget_seconds": 600.0, "deadline": time.monotonic() + 600}


class TestOptunaEngine(EngineContract):
    first_rung = BASE

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls):
        return OptunaEngine("tpe")

    def test_rungs_climb_the_ladder(self, searched):
        rungs = Ladder.counted(self.budget_seconds, 320, 0, BASE).rungs
        assert rungs == (BASE, 3 * BASE, 9 * BASE)
        for trial in searching(searched.trials):
            reached = tuple(rung.samples for rung in trial.rungs)
            assert reached == rungs[: len(reached)]
            assert trial.state != TrialState.COMPLETE or reached == rungs

    def test_the_priors_come_first(self, searched):
        known = convnet.priors(GREY, self.budget_seconds)
        first = [trial.configuration["stem"] for trial in searching(searched.trials)[:2]]
        assert first == [prior["stem"] for prior in known]

    def test_finals_train_the_best_configurations_longer(self, searched):
        """The search ended by count, so each of the two workers had one final of fixed length."""
        finals = [trial for trial in searched.trials if trial.stage == "final"]
        best = sorted(searching(searched.trials), key=lambda t: -t.value)[: self.workers]
        assert len(finals) == self.workers
        assert [t.configuration for t in finals] == [t.configuration for t in best]
        for final, origin in zip(finals, best, strict=True):
            assert [rung.samples for rung in final.rungs] == [27 * BASE]
            assert final.notes["final"] == f"of {origin.label}"
            assert final.notes["device"] == origin.notes["device"] == str(warm_up())

    def test_only_the_best_climb(self, engine, make_request, tmp_path):
        done = run_search(engine, make_request(tmp_path, trials=8))
        trials = searching(done.trials)
        tally = counts(trials)
        assert tally["trials"] == tally["complete"] + tally["pruned"] == 8
        assert tally["pruned"] >= 1
        for trial in trials:
            if trial.state == TrialState.PRUNED:
                assert trial.reason
                assert len(trial.rungs) < 3

    def test_a_search_that_ended_by_count_before_the_priors_were_tried(
        self, engine, make_request, tmp_path
    ):
        """The final is of what was found, not of what waits in the queue."""
        done = run_search(engine, make_request(tmp_path, trials=1, workers=1))
        first, final = done.trials
        assert (first.stage, final.stage) == ("search", "final")
        assert final.configuration == first.configuration

    def test_finals_of_long_budgets_see_images_both_ways(
        self, engine, make_request, tmp_path, monkeypatch
    ):
        """There is one upright trial: the second upright final trains what saw them otherwise."""
        monkeypatch.setattr(finalists, "_RATIO", float("inf"))
        done = run_search(engine, make_request(tmp_path, trials=3, workers=4, **long_budget()))
        upright, one, other, *finals = done.trials
        better = max(one, other, key=lambda trial: trial.value)
        told = {final.notes["final"]: final.configuration for final in finals}
        assert told == {
            f"of {upright.label}": upright.configuration,
            f"of {one.label}": one.configuration,
            f"of {other.label}": other.configuration,
            f"of {better.label}, upright=True": {**better.configuration, "upright": True},
        }

    def test_finals_of_what_a_shorter_budget_found_train_just_that(
        self, engine, make_request, tmp_path
    ):
        """Its networks are smaller than those of the longer one, and it has no choice of views."""
        run_search(engine, make_request(tmp_path, trials=2))
        done = run_search(engine, make_request(tmp_path, trials=1, workers=4, **long_budget()))
        *_, found, final, another, last = done.trials
        assert {t.stage for t in (final, another, last)} == {"final"}
        origins = {t.label: t for t in (*done.trials[:2], found)}
        for each in (final, another, last):
            origin = origins[each.notes["final"].removeprefix("of ")].configuration
            kept = ("multiply_adds", "stem", "optimizer", "batch_size")
            assert [each.configuration[name] for name in kept] == [origin[name] for name in kept]
            assert each.configuration["upright"] == origin.get("upright", False)

    def test_one_worker_and_one_seed_give_the_same_trials(self, engine, make_request, tmp_path):
        def outcome(name, seed):
            request = make_request(tmp_path / name, workers=1, seed=seed, trials=4)
            return [
                (t.number, t.stage, t.state, dict(t.configuration), [r.curve for r in t.rungs])
                for t in run_search(engine, request).trials
            ]

        first = outcome("first", 3)
        assert outcome("same", 3) == first
        other = outcome("other", 4)
        assert [trial[3] for trial in other] != [trial[3] for trial in first]
        assert other[0][3] == first[0][3]  # the same prior, trained otherwise
        assert other[0][4] != first[0][4]

    def test_a_killed_worker_is_a_failed_trial_and_the_study_goes_on(
        self, engine, make_request, tmp_path
    ):
        before = set(psutil.Process().children(recursive=True))
        killed, heard = [], []

        def listen(trial):
            heard.append(trial)
            if trial.state == TrialState.RUNNING and not killed:
                (worker,) = set(psutil.Process().children(recursive=True)) - before
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(trial.number)

        request = make_request(tmp_path, trials=2, workers=1)
        engine.search(request, listen, threading.Event())
        trials = engine.trials(request.study, request.directory)
        victim = next(trial for trial in trials if trial.number == killed[0])
        assert victim.state == TrialState.FAILED
        assert "SIGKILL" in victim.reason
        assert victim.model is None
        others = [trial for trial in trials if trial.number != killed[0]]
        assert any(trial.state == TrialState.COMPLETE for trial in others)

    def test_a_trial_that_runs_out_of_time_is_stopped_and_may_win(
        self, engine, make_request, tmp_path
    ):
        """The first trial begins however late it is; there is no time for its second rung."""
        request = make_request(tmp_path, trials=1, workers=1, deadline=time.monotonic())
        done = run_search(engine, request)
        (trial,) = done.trials
        assert done.ends[-1] == trial
        assert trial.state == TrialState.STOPPED
        assert len(trial.rungs) == 1
        assert counts([trial])["pruned"] == 0
        assert best([trial]) == trial

    def test_no_worker_waits_while_somebody_listens_to_an_end(self, engine, make_request, tmp_path):
        request, meanwhile = make_request(tmp_path, trials=2, workers=1), []

        def listen(trial):
            if trial.number == 0 and trial.state != TrialState.RUNNING:
                storage = open_storage(request.directory)
                study = optuna.load_study(study_name=request.study, storage=storage)
                meanwhile.extend(other.state for other in study.trials[1:])

        engine.search(request, listen, threading.Event())
        assert meanwhile == [optuna.trial.TrialState.RUNNING]


@pytest.fixture
def request_in(tiny_data, tmp_path):
    return SearchRequest(
        "study", tiny_data, "book", 0.0, 60.0, 3, 1, 0, tmp_path / "study", families=BOOK
    )


def test_the_chapters_search(tiny_data, tmp_path):
    """SEED.md B: two epochs, pruning, counts, no finals; dead learning rates are no failures."""
    deadline = time.monotonic() + 300
    request = SearchRequest(
        "book", tiny_data, "book", deadline, 300.0, 4, 2, 0, tmp_path, families=BOOK
    )
    done = run_search(OptunaEngine("tpe"), request)
    assert len(done.trials) == 4
    assert counts(done.trials)["complete"] >= 1
    for trial in done.trials:
        assert trial.stage == "search"
        assert [rung.samples for rung in trial.rungs] == [320, 640][: len(trial.rungs)]


def reopened(request, ladder, sampler="random", seed=0):
    made = load(SAMPLERS[sampler])(seed)
    return open_study(part_of(request), ladder, made, load(PRUNERS["rungs"])(ladder))


def open_(request, sampler="random"):
    passes = request.families[0].passes
    if passes:
        chosen = Ladder.of_passes(passes, 100)
    else:
        chosen = Ladder.counted(request.budget_seconds, 100)
    return reopened(request, chosen, sampler, request.seed)


def test_the_value_of_a_study_has_a_name(request_in):
    assert open_(request_in).metric_names == ["validation accuracy"]
    assert open_(request_in).metric_names == ["validation accuracy"]


def test_an_interrupted_trial_is_run_once_more_and_not_again(request_in):
    trial = open_(request_in).ask()
    book.space(trial, None, 60.0)
    study = open_(request_in)
    ((parameters, why),) = first_in_line(study, part_of(request_in))
    assert parameters == trial.params
    study.enqueue_trial(parameters, user_attrs=why)
    book.space(study.ask(), None, 60.0)
    third = open_(request_in)
    assert first_in_line(third, part_of(request_in)) == []
    states = [frozen.state for frozen in third.get_trials(deepcopy=False)]
    assert states == [optuna.trial.TrialState.FAIL] * 2


def try_first(study, parameters, why):
    """Try what stands first in line."""
    study.enqueue_trial(parameters, user_attrs=why)
    trial = study.ask()
    convnet.space(trial, GREY, 60.0)
    trial.set_user_attr(RECORD, {"stage": "search", "reason": ""})
    study.tell(trial, 0.5)


def test_priors_are_tried_once_in_all_runs_of_a_study(request_in):
    request = replace(request_in, space="default", families=CONVNET)
    study = open_(request)
    line = first_in_line(study, part_of(request))
    assert [parameters for parameters, _ in line] == convnet.priors(GREY, 60.0)
    try_first(study, *line[0])
    assert first_in_line(open_(request), part_of(request)) == line[1:]


def an_earlier_study(request, accuracies):
    """A study of another name that was told these validation accuracies, one a trial."""
    earlier = replace(request, study="earlier", directory=request.directory / "earlier")
    study = open_(earlier)
    for accuracy in accuracies:
        trial = study.ask()
        configuration = convnet.space(trial, GREY, earlier.budget_seconds)
        rung = {"samples": 100, "val_accuracy": accuracy, "seconds": 1.0, "curve": []}
        record = {"state": "complete", "configuration": configuration, "rungs": [rung]}
        trial.set_user_attr(RECORD, {**record, "stage": "search", "reason": ""})
        study.tell(trial, accuracy)
    return earlier.directory, study


def test_the_best_of_earlier_studies_come_first_and_once(request_in):
    accuracies = [0.5, 0.9, 0.7, 0.8]
    directory, earlier = an_earlier_study(
        replace(request_in, space="default", families=CONVNET), accuracies
    )
    request = replace(
        request_in, space="default", families=CONVNET, warm_start=(("earlier", directory),)
    )
    study = open_(request)
    line = first_in_line(study, part_of(request))
    assert [parameters for parameters, _ in line] == [earlier.trials[n].params for n in (1, 3, 2)]
    try_first(study, *line[0])
    assert first_in_line(open_(request), part_of(request)) == line[1:]


@pytest.mark.parametrize("budget", [300.0, 7200.0])
def test_what_an_earlier_study_found_outside_of_the_space_is_left_out(request_in, budget):
    """A longer budget has larger networks and other choices; priors stand in for what is left."""
    directory, _ = an_earlier_study(replace(request_in, space="default", families=CONVNET), [0.9])
    later = replace(
        request_in,
        space="default",
        families=CONVNET,
        warm_start=(("earlier", directory),),
        budget_seconds=budget,
    )
    line = first_in_line(open_(later), part_of(later))
    assert [parameters for parameters, _ in line] == convnet.priors(GREY, budget)


def test_what_was_queued_by_a_killed_run_does_not_come_up_later(request_in):
    study = open_(request_in)
    study.enqueue_trial({"num_conv_layers": 3})
    study = open_(request_in)
    assert not study.get_trials(states=(optuna.trial.TrialState.WAITING,))
    assert first_in_line(study, part_of(request_in)) == []


def test_a_line_cut_short_and_a_lock_left_behind_are_removed(request_in):
    """A line that follows half of another would make the whole study unreadable."""
    open_(request_in)
    storage = request_in.directory / "study.journal"
    whole = storage.read_bytes()
    storage.write_bytes(whole + whole.splitlines()[-1][:20])
    lock = storage.with_name("study.journal.lock")
    lock.symlink_to(storage)
    began = open_(request_in).ask()
    assert not lock.is_symlink()
    assert len(open_(request_in).trials) == began.number + 1
    assert storage.read_bytes().startswith(whole)


def test_a_line_that_does_not_fit_on_the_disk_is_taken_back(request_in):
    """The process may write files so large and no larger: half of a line fits."""
    study = open_(request_in)
    trial = study.ask()
    size = (request_in.directory / "study.journal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            trial.set_user_attr("note", "x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    trial.set_user_attr("note", "short")
    assert open_(request_in).trials[0].user_attrs["note"] == "short"


LOW, HIGH = Ladder((100, 300), 3), Ladder((100, 300, 900), 3)


def conduct(study, accuracies, stage="search"):
    """One trial of the chapter's space that has these accuracies by samples; the last ends it."""
    trial = study.ask()
    book.space(trial, None, 60.0)
    trial.set_user_attr(RECORD, {"stage": stage, "reason": ""})
    for samples, accuracy in accuracies.items():
        trial.report(accuracy, samples)
    return trial


def test_a_sampler_sees_one_objective_whatever_budget_a_trial_is_of(request_in):
    study = reopened(request_in, LOW)
    study.tell(conduct(study, {100: 0.80}), state=optuna.trial.TrialState.PRUNED)
    study.tell(conduct(study, {100: 0.85, 300: 0.90}), 0.90)
    study.tell(conduct(study, {2700: 0.97}, "final"), 0.97)
    longer = reopened(request_in, HIGH)
    longer.tell(conduct(longer, {100: 0.86, 300: 0.91, 900: 0.95}), 0.95)
    longer.tell(conduct(longer, {900: 0.96}, "final"), 0.96)

    def seen(ladder):
        opened = reopened(request_in, ladder)
        return [(trial.state.name, trial.value) for trial in opened.trials]

    failed = ("FAIL", None)
    assert seen(LOW) == [("PRUNED", 0.80), ("COMPLETE", 0.90), failed, ("COMPLETE", 0.91), failed]
    assert seen(HIGH) == [("PRUNED", 0.80), ("PRUNED", 0.90), failed, ("COMPLETE", 0.95), failed]
    kept = optuna.load_study(study_name="study", storage=open_storage(request_in.directory))
    assert [trial.value for trial in kept.trials] == [0.80, 0.90, 0.97, 0.95, 0.96]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_finals_do_not_change_what_a_sampler_proposes(sampler, request_in):
    """They count as much as trials that failed: by their numbers only."""

    def proposal(name, stage, **end):
        request = replace(request_in, directory=request_in.directory / name)
        study = reopened(request, LOW)
        for number in range(12):
            found = conduct(study, {100: 0.8, 300: 0.9 + 0.005 * number})
            study.tell(found, 0.9 + 0.005 * number)
        for _ in range(6):
            study.tell(conduct(study, {900: 0.99}, stage), **end)
        continued = reopened(request, LOW, sampler, 7)
        return conduct(continued, {}).params

    failed = proposal("failed", "search", state=optuna.trial.TrialState.FAIL)
    assert proposal("finals", "final", values=0.99) == failed


def test_what_older_versions_called_pruned_for_want_of_time_was_stopped(request_in):
    study = open_(request_in)
    for reason in ("no search time left for the next rung", "below the best half at 100 samples"):
        trial = conduct(study, {100: 0.9})
        rungs = [{"samples": 100, "val_accuracy": 0.9, "seconds": 1.0, "curve": []}]
        record = {"state": "pruned", "reason": reason, "stage": "search", "rungs": rungs}
        trial.set_user_attr(RECORD, {**record, "configuration": {}, "saved": True})
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    states = [trial.state for trial in read_trials(request_in.directory, "study")]
    assert states == [TrialState.STOPPED, TrialState.PRUNED]


def test_a_study_that_was_only_opened_has_no_trials(request_in):
    open_(request_in)
    assert read_trials(request_in.directory, request_in.study) == []


@pytest.mark.parametrize("refuse", [check_study, open_])
@pytest.mark.parametrize("field", ["space", "seed", "digest"])
def test_the_refusal_names_the_field_and_both_values(request_in, field, refuse):
    open_(request_in)
    other = {
        "space": replace(request_in, space="default", families=CONVNET),
        "seed": replace(request_in, seed=9),
        "digest": replace(request_in, split=of_problem(request_in.split, digest="abc")),
    }[field]
    check_study(request_in)
    with pytest.raises(ConfigurationError) as caught:
        refuse(other)
    assert caught.value.where == field
    assert "'study' was begun with" in str(caught.value)
    assert "choose another --name" in caught.value.remedy


@pytest.mark.parametrize("refuse", [check_study, open_])
def test_a_study_of_a_version_with_other_choices_is_refused(request_in, refuse):
    open_(request_in).ask().suggest_categorical("optimizer", ["Adam", "Lion"])
    with pytest.raises(
        ConfigurationError, match=r"space: .*optimizer from .*Lion.*got .*RMSprop.*--name"
    ):
        refuse(request_in)


def test_to_check_a_study_writes_nothing(request_in):
    check_study(request_in)
    assert not request_in.directory.exists()
    open_(request_in)
    before = journal(request_in.directory).read_bytes()
    check_study(request_in)
    assert journal(request_in.directory).read_bytes() == before


def test_seeds_of_trials_have_nothing_in_common():
    seeds = {trial_seed(seed, number) for seed in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert trial_seed(3, 5) == trial_seed(3, 5)
