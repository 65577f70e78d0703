"""What every engine, sampler and pruner promises, as tests: derive, and say which one it is."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import psutil
import pytest
from in_memory import validation_logits
from optuna.trial import TrialState as OptunaState

from pipeline_lib.config import RunConfig
from pipeline_lib.data.source import expected
from pipeline_lib.data.splits import Split
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.families.family import Family
from pipeline_lib.families.space import Space
from pipeline_lib.models.saved import load_model
from pipeline_lib.names import ENGINES, FAMILIES
from pipeline_lib.search.engine import Engine, SearchRequest, find_engine
from pipeline_lib.search.fidelity import Ladder
from pipeline_lib.trial import Trial, TrialState

_SEARCH = """
import pickle, sys, threading, time
from dataclasses import replace
engine, request = pickle.loads(bytes.fromhex(sys.argv[1]))
if __name__ == "__main__":
    engine.prepare(lambda line: None)
    soonest = time.monotonic() + request.budget_seconds
    request = replace(request, deadline=max(request.deadline, soonest))
    engine.search(request, lambda t: print(t.number, t.state.value, flush=True), threading.Event())
"""


@dataclass(frozen=True)
class Searched:
    """A finished search, what its listener heard, and what was in storage right after."""

    request: SearchRequest
    heard: list[Trial]
    durable: dict[int, bool]  # by number: whether its end was in storage when it was heard
    trials: list[Trial]

    @property
    def ends(self) -> list[Trial]:
        return [trial for trial in self.heard if trial.state != TrialState.RUNNING]


def run_search(engine: Engine, request: SearchRequest, stop: threading.Event | None = None):
    heard, durable = [], {}

    def listen(trial: Trial) -> None:
        heard.append(trial)
        if trial.state != TrialState.RUNNING:
            durable[trial.number] = trial in engine.trials(request.study, request.directory)

    engine.search(request, listen, stop or threading.Event())
    return Searched(request, heard, durable, engine.trials(request.study, request.directory))


def family() -> set[psutil.Process]:
    """This process's children and theirs, as far as they are alive."""
    found = psutil.Process().children(recursive=True)
    return {child for child in found if child.status() != psutil.STATUS_ZOMBIE}


def of_problem(split: Split, **changes: str) -> Split:
    """The same examples, of another problem."""
    problem = replace(split.problem, **changes)
    return replace(split, source=replace(split.source, problem=problem))


def searching(trials: list[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.stage == "search"]


@pytest.mark.slow
class EngineContract:
    """Every engine passes this. A subclass gives `engine` and may change the budget."""

    budget_seconds = 60.0
    trial_limit = 3
    workers = 2
    first_rung: int | None = None

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> str:
        return "default"

    @pytest.fixture(scope="class")
    @classmethod
    def data(cls, tiny_data: Split) -> Split:
        return tiny_data

    @pytest.fixture(scope="class")
    @classmethod
    def make_request(cls, space: str, data: Split):
        """Requests that differ from the contract's usual one in what is given."""

        def make(directory: Path, **changes) -> SearchRequest:
            usual = SearchRequest(
                study="contract",
                split=data,
                space=space,
                deadline=time.monotonic() + cls.budget_seconds,
                budget_seconds=cls.budget_seconds,
                trials=cls.trial_limit,
                workers=cls.workers,
                seed=3,
                directory=directory,
                first_rung=cls.first_rung,
            )
            return replace(usual, **changes)

        return make

    @pytest.fixture(scope="class")
    @classmethod
    def searched(cls, engine: Engine, make_request, tmp_path_factory) -> Searched:
        engine.prepare(lambda line: None)
        before = family()
        done = run_search(engine, make_request(tmp_path_factory.mktemp("study")))
        assert family() <= before, "the search left processes behind"
        return done

    def test_it_has_a_name_and_knows_the_space(self, engine, space):
        assert engine.title
        assert space in engine.spaces
        assert find_engine(engine.name) is type(engine)
        assert engine.name in ENGINES

    def test_it_conducts_no_more_trials_than_it_may(self, searched):
        assert 1 <= len(searching(searched.trials)) <= self.trial_limit

    def test_every_trial_is_of_this_study_and_engine(self, engine, searched):
        for trial in searched.trials:
            assert (trial.study, trial.engine) == (searched.request.study, engine.name)
            assert trial.configuration
            assert trial.started > 0
            assert trial.seconds >= sum(rung.seconds for rung in trial.rungs) * 0.5

    def test_numbers_are_unique_and_rising(self, searched):
        numbers = [trial.number for trial in searched.trials]
        assert numbers == sorted(set(numbers))

    def test_every_end_that_was_heard_is_in_storage_exactly_once(self, searched):
        heard = sorted(searched.ends, key=lambda trial: trial.number)
        assert heard == searched.trials
        assert all(searched.durable.values())

    def test_a_trial_is_heard_when_it_starts_and_nothing_after_its_end(self, searched):
        for number in {trial.number for trial in searched.heard}:
            states = [trial.state for trial in searched.heard if trial.number == number]
            assert set(states[:-1]) == {TrialState.RUNNING}
            assert states[-1] != TrialState.RUNNING

    def test_no_more_trials_are_heard_of_at_a_time_than_there_are_workers(self, searched):
        running = set()
        for trial in searched.heard:
            (running.add if trial.state == TrialState.RUNNING else running.discard)(trial.number)
            assert len(running) <= searched.request.workers

    def test_a_trial_that_learned_has_rising_rungs_with_accuracies(self, searched):
        learned = [t for t in searched.trials if t.state != TrialState.FAILED]
        assert learned
        for trial in learned:
            fidelities = [rung.samples for rung in trial.rungs]
            assert fidelities == sorted(set(fidelities))
            assert fidelities[0] > 0
            for rung in trial.rungs:
                assert 0 <= rung.value <= 1
                assert rung.seconds > 0
                assert all(0 <= epoch.value <= 1 for epoch in rung.curve)
            assert trial.parameters > 0
            assert trial.multiply_adds > 0

    def test_a_kept_network_reproduces_the_recorded_accuracy(self, searched):
        """Also of pruned trials: the accuracy of the highest rung is that of the weights kept."""
        split = searched.request.split
        labels = split.validation_targets
        for trial in searched.trials:
            if trial.state == TrialState.FAILED:
                continue
            predicted = validation_logits(load_model(trial.model), split).argmax(1).numpy()
            accuracy = int((predicted == labels).sum()) / len(labels)
            assert accuracy == pytest.approx(trial.value, abs=1e-6)

    def test_what_is_not_complete_has_a_reason(self, searched):
        for trial in searched.trials:
            assert bool(trial.reason) == (trial.state != TrialState.COMPLETE)

    def test_other_studies_and_empty_directories_have_no_trials(
        self, engine, make_request, tmp_path
    ):
        assert engine.trials("contract", tmp_path / "none") == []
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize(
        "field", ["dataset", "digest", "validation_share", "split seed", "space", "seed"]
    )
    def test_a_study_is_not_continued_with_other_settings(self, engine, searched, field):
        request = searched.request
        if field == "space":
            others = [name for name in engine.spaces if name != request.space]
            if not others:
                pytest.skip("the engine has one space")
            other = replace(request, space=others[0])
        elif field == "seed":
            other = replace(request, seed=request.seed + 1)
        else:
            split = request.split
            other = {
                "dataset": replace(request, split=of_problem(split, name="kmnist")),
                "digest": replace(request, split=of_problem(split, digest="0" * 64)),
                "validation_share": replace(request, split=replace(split, share=0.3)),
                "split seed": replace(request, split=replace(split, seed=split.seed + 1)),
            }[field]
        engine.check(request)
        with pytest.raises(ConfigurationError):
            engine.check(other)
        with pytest.raises(ConfigurationError):
            run_search(engine, replace(other, deadline=time.monotonic() + self.budget_seconds))
        assert engine.trials(request.study, request.directory) == searched.trials

    def test_an_unknown_space_is_refused_before_anything_is_written(
        self, engine, make_request, tmp_path
    ):
        with pytest.raises(ConfigurationError, match="no-such-space"):
            run_search(engine, make_request(tmp_path / "study", space="no-such-space"))
        assert not (tmp_path / "study").exists()

    def test_a_search_that_is_stopped_ends_its_trials_and_its_processes(
        self, engine, searched, make_request, tmp_path
    ):
        before = family()
        stop, heard = threading.Event(), []

        def listen(trial: Trial) -> None:
            heard.append(trial)
            stop.set()

        request = make_request(tmp_path, trials=50)
        engine.search(request, listen, stop)
        assert family() <= before
        started = {trial.number for trial in heard}
        ended = engine.trials(request.study, request.directory)
        assert {trial.number for trial in ended} == started
        assert len(searching(ended)) <= self.workers
        for trial in ended:
            assert trial.state != TrialState.RUNNING
            assert trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.STOPPED)
            assert trial.reason or trial.state == TrialState.COMPLETE

    def test_a_search_that_was_stopped_before_it_began_conducts_nothing(
        self, engine, make_request, tmp_path
    ):
        stop = threading.Event()
        stop.set()
        assert run_search(engine, make_request(tmp_path), stop).trials == []

    def test_searching_again_continues(self, engine, searched, make_request):
        request = make_request(searched.request.directory, trials=1)
        again = run_search(engine, request)
        known = len(searched.trials)
        assert again.trials[:known] == searched.trials
        added = again.trials[known:]
        assert len(searching(added)) == 1
        assert min(trial.number for trial in added) > searched.trials[-1].number
        assert {trial.number for trial in again.ends} == {trial.number for trial in added}

    def test_a_study_that_starts_from_another_tries_its_best_first(
        self, engine, searched, make_request, tmp_path
    ):
        before = searched.request
        earlier = ((before.study, before.directory),)
        request = make_request(
            tmp_path, study="later", trials=1, workers=1, seed=4, warm_start=earlier
        )
        first = run_search(engine, request).trials[0]
        best = max(searched.trials, key=lambda trial: trial.value or 0.0)
        assert first.configuration == best.configuration
        assert best.study in first.notes["from"]

    def test_a_killed_parent_leaves_no_process_and_its_trial_runs_once_more(
        self, engine, searched, make_request, tmp_path
    ):
        later = time.monotonic() + 600  # the search goes on until the kill, however slow it is
        request = make_request(tmp_path, trials=50, workers=1, deadline=later)
        finished = kill_in_the_middle(engine, request)
        left = engine.trials(request.study, request.directory)
        assert finished <= {trial.number for trial in left}
        again = run_search(engine, make_request(tmp_path, trials=1, workers=1))
        interrupted = next(t for t in again.trials if t.number not in {x.number for x in left})
        assert interrupted.state == TrialState.FAILED
        assert interrupted.reason
        assert interrupted in again.ends, "nobody was told of its end"
        once_more = [
            trial
            for trial in searching(again.trials)
            if trial.number > interrupted.number
            and trial.configuration == interrupted.configuration
        ]
        assert len(once_more) == 1
        assert max(Counter(trial.number for trial in again.trials).values()) == 1


def kill_in_the_middle(engine: Engine, request: SearchRequest) -> set[int]:
    """Search in a process of its own; SIGKILL it in its second trial. Returns the ended trials.

    The end of the first may be told when the second runs already.
    """
    pickled = pickle.dumps((engine, request)).hex()
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _SEARCH, pickled]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    with process:
        first, _ = process.stdout.readline().split()
        said = []
        for line in process.stdout:
            said.append(line.split())
            number, state = said[-1]
            if state == "running" and number != first:
                break
        time.sleep(0.05)  # the training is under way; a moment later the next may begin
        descendants = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        assert descendants, "nothing was running"
        _, alive = psutil.wait_procs(descendants, timeout=60)
        assert not alive
        said += map(str.split, process.stdout)
    return {int(number) for number, state in said if state != "running"}


class SamplerContract:
    """Every sampler passes this. A subclass gives `make`, the function of its module."""

    @pytest.fixture(params=FAMILIES)
    @classmethod
    def space(cls, request) -> Space:
        return Space(Family(request.param), expected(RunConfig(dataset="mnist")), _SECONDS)

    def propose(self, study: optuna.Study, space: Space) -> optuna.Trial:
        trial = study.ask()
        space.propose(trial)
        return trial

    def conducted(self, make, space: Space, seed: int = 0, count: int = 12) -> optuna.Study:
        """A study of trials that ended in every way there is."""
        study = optuna.create_study(direction="maximize", sampler=make(seed))
        for number in range(count):
            trial = self.propose(study, space)
            if number % 4 == 3:
                study.tell(trial, state=OptunaState.FAIL)
                continue
            trial.report(0.5 + 0.01 * number, 100)
            pruned = OptunaState.PRUNED if number % 4 == 2 else None
            study.tell(trial, None if pruned else 0.5 + 0.01 * number, state=pruned)
        return study

    def test_it_proposes_within_the_space(self, make, space):
        for trial in self.conducted(make, space).trials:
            assert trial.params
            assert space.holds(trial.params)

    def test_it_does_not_propose_one_configuration_only(self, make, space):
        found = {str(trial.params) for trial in self.conducted(make, space).trials}
        assert len(found) > 1

    def test_one_seed_gives_the_same_proposals(self, make, space):
        first, same = (self.conducted(make, space, seed=3) for _ in range(2))
        assert [t.params for t in same.trials] == [t.params for t in first.trials]

    def test_it_proposes_while_trials_run_and_after_all_have_failed(self, make, space):
        study = optuna.create_study(direction="minimize", sampler=make(0))
        running = [self.propose(study, space) for _ in range(3)]
        for trial in running:
            study.tell(trial, state=OptunaState.FAIL)
        assert self.propose(study, space).params

    def test_it_goes_on_in_a_study_that_another_process_began(self, make, space):
        before = self.conducted(make, space)
        continued = optuna.create_study(direction="maximize", sampler=make(1))
        continued.add_trials(before.trials)
        assert self.propose(continued, space).params

    def test_what_is_tried_first_is_tried_as_it_is(self, make, space):
        (first, *_) = self.conducted(make, space, seed=5).trials
        study = optuna.create_study(sampler=make(0))
        study.enqueue_trial(first.params)
        assert self.propose(study, space).params == first.params


_SECONDS = 60.0
_LADDERS = {
    "three rungs": Ladder((100, 300, 900), 3),
    "two rungs": Ladder((320, 640), 2, has_finals=False),
}


class PrunerContract:
    """Every pruner passes this. A subclass gives `make`, the function of its module."""

    @pytest.fixture(params=_LADDERS)
    @classmethod
    def ladder(cls, request) -> Ladder:
        return _LADDERS[request.param]

    def climbed(self, make, ladder: Ladder, values: list[float], direction: str) -> list[int]:
        """How many rungs each trial climbs, one after the other, whose value at all is this."""
        study = optuna.create_study(
            direction=direction, sampler=optuna.samplers.RandomSampler(0), pruner=make(ladder)
        )
        return [climb(study, ladder, value) for value in values]

    def test_the_first_trial_climbs_every_rung(self, make, ladder):
        assert self.climbed(make, ladder, [0.5], "maximize") == [len(ladder.rungs)]

    @pytest.mark.parametrize("direction", ["maximize", "minimize"])
    def test_a_trial_that_is_better_than_all_before_climbs_every_rung(
        self, make, ladder, direction
    ):
        rising = [0.01 * number for number in range(1, 20)]
        values = rising if direction == "maximize" else rising[::-1]
        assert set(self.climbed(make, ladder, values, direction)) == {len(ladder.rungs)}

    def test_the_same_trials_climb_the_same_rungs(self, make, ladder):
        values = [0.5 + 0.4 * ((7 * number) % 11) / 11 for number in range(22)]
        first, again = (self.climbed(make, ladder, values, "maximize") for _ in range(2))
        assert first == again

    def test_it_lets_some_trials_reach_the_top(self, make, ladder):
        values = [0.5 + 0.4 * ((7 * number) % 11) / 11 for number in range(22)]
        assert self.climbed(make, ladder, values, "maximize").count(len(ladder.rungs)) >= 2


def climb(study: optuna.Study, ladder: Ladder, value: float) -> int:
    """Report one value at every rung until the pruner says no; how many rungs that were."""
    trial = study.ask()
    for reached, samples in enumerate(ladder.rungs, 1):
        trial.report(value, samples)
        if reached < len(ladder.rungs) and trial.should_prune():
            study.tell(trial, state=OptunaState.PRUNED)
            return reached
    study.tell(trial, value)
    return len(ladder.rungs)
