"""The families of a search as contenders for its workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna

from pipeline_lib.errors import FamilyError
from pipeline_lib.search.engine import SearchRequest
from pipeline_lib.search.fidelity import Final, Ladder
from pipeline_lib.search.finalists import Finalist, clearly_behind, next_finalist
from pipeline_lib.search.study import Part, Queued
from pipeline_lib.training.workers import WORKER
from pipeline_lib.trial import Trial, TrialState

_MARKS = (1 / 3, 2 / 3)  # of the search: where families are compared
_ALIKE = 3  # first trials that fail alike in the code of a file: it is broken
_MOST = 20  # failures of it in a row, whatever they are

_log = logging.getLogger("automl")


@dataclass
class Contender:
    """A family with its study, and what its trials found."""

    part: Part
    ladder: Ladder
    study: optuna.Study
    queue: list[Queued]
    conducted: int = 0  # search trials of this call
    spent: float = 0.0  # worker-seconds of those that ended
    best: dict[int, Trial] = field(default_factory=dict)  # search trials that have a rung
    failures: list[str] = field(default_factory=list)  # why its latest trials failed in its code
    ends: int = 0  # of its trials in this call
    fault: str = ""  # why it is broken
    is_out: bool = False

    @property
    def name(self) -> str:
        """Of the family."""
        return self.part.family.name

    def propose(self) -> optuna.Trial:
        """The next trial of its study: what is in line first, then what the sampler proposes."""
        if self.queue:
            parameters, why = self.queue.pop(0)
            self.study.enqueue_trial(parameters, user_attrs=why)
        return self.study.ask()

    def parameters(self, trial: Trial) -> dict[str, Any]:
        """What Optuna suggested for a trial."""
        number = self.part.number_of_optuna(trial.number)
        return dict(self.study.get_trials(deepcopy=False)[number].params)

    def remember(self, trial: Trial) -> None:
        """Keep a search trial that found something."""
        if trial.stage == "search" and trial.rungs:
            self.best[trial.number] = trial

    def ended(self, trial: Trial, where: str) -> None:
        """Take note of how a trial of this call ended, and where, if it failed."""
        self.remember(trial)
        self.spent += trial.seconds
        self.ends += 1
        in_code = trial.state is TrialState.FAILED and where != WORKER
        self.failures = [*self.failures, trial.reason] if in_code else []
        count = len(self.failures)
        if count == self.ends == _ALIKE and len(set(self.failures)) == 1:
            self.fault = f"its first {count} trials failed alike: {trial.reason}"
        elif count == _MOST:
            self.fault = f"{count} trials in a row failed, the last with {trial.reason}"


class Contenders:
    """Shares the workers of a search equally among its families, and takes stock twice."""

    def __init__(self, families: Sequence[Contender]) -> None:
        self.families = families
        self.finalists: list[Finalist] = []
        self._marks = list(_MARKS)

    def of(self, trial: Trial) -> Contender:
        """The contender that a trial is of."""
        return next(each for each in self.families if each.name == trial.family)

    def next(self, counted: bool, running: Sequence[tuple[Contender, float]]) -> Contender:
        """The family that starts the next trial: the one with the smallest share so far.

        Args:
            counted: Shares are counts of trials, so that the clock decides nothing.
            running: The contender of each running trial, and when it began.
        """
        left = [each for each in self.families if not each.is_out]
        now = time.monotonic()

        def share(each: Contender) -> float:
            going_on = sum(now - began for contender, began in running if contender is each)
            return each.conducted if counted else each.spent + going_on

        return min(left, key=share)

    def compare_families(self, progress: float) -> None:
        """After a third and two thirds of the search, end the trials of families clearly behind.

        Args:
            progress: Share of the search that is over, in trials where these are counted.
        """
        if not self._marks or progress < self._marks[0] or len(self.families) == 1:
            return
        self._marks.pop(0)
        left = [each for each in self.families if not each.is_out]
        behind = clearly_behind({each.name: [*each.best.values()] for each in left})
        for each in left:
            if each.name in behind:
                each.is_out = True
                _log.info("%s is clearly behind: the other families have its share", each.name)

    def drop_broken(self) -> None:
        """End the trials of a file in which every trial so far failed alike.

        Raises:
            FamilyError: No other family is left.
        """
        for each in self.families:
            if each.fault and not each.is_out:
                each.is_out = True
                if all(other.is_out for other in self.families):
                    raise FamilyError(each.name, each.fault)
                _log.warning("%s: %s; the search goes on without it", each.name, each.fault)

    def finalist(
        self, request: SearchRequest, train_size: int, *, counted: bool
    ) -> tuple[Contender, Finalist, Final] | None:
        """Whose configuration is retrained next, and for how long; None where it would not pay.

        Args:
            counted: The search ended by its count of trials; see `Ladder.final`.
        """
        able = [each for each in self.families if each.ladder.has_finals]
        if not able:
            return None
        left = request.deadline - time.monotonic()
        shortest = able[0].ladder.shortest_final(request.budget_seconds)
        if len(self.finalists) >= request.workers and (counted or left < shortest / 2):
            return None
        searched = [trial for each in able for trial in each.best.values()]
        variants = {each.name: each.part.space.variants for each in able}
        chosen = next_finalist(searched, self.finalists, variants)
        if chosen is None:
            return None
        self.finalists.append(chosen)
        contender, reached = self.of(chosen.trial), chosen.trial.rungs[-1]
        ladder = contender.ladder
        seconds = left if counted else ladder.turn(reached, left, shortest, train_size)
        final = ladder.final(reached, seconds, counted)
        return None if final is None else (contender, chosen, final)
