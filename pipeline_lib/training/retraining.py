"""Trials trained again: given configurations, seeds and rungs, without a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait

from pipeline_lib.errors import TrialFailure
from pipeline_lib.training.workers import TrialJob, TrialWorker
from pipeline_lib.trial import Rung

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Retraining:
    """One trial to train again."""

    label: str  # of the trial
    job: TrialJob
    rungs: tuple[int, ...]  # samples of each, in the order in which they are climbed


class _Running:
    """A trial that a worker trains right now."""

    def __init__(self, again: Retraining) -> None:
        self.again = again
        self.worker = TrialWorker(again.job)
        self.left = list(again.rungs)
        self.climb()

    def climb(self) -> None:
        self.worker.request(self.left.pop(0))


def retrain(
    todo: Sequence[Retraining],
    workers: int,
    on_rung: Callable[[Retraining, Rung], None] | None = None,
) -> dict[str, str]:
    """Train them side by side; returns, by label, why a trial could not be.

    Args:
        todo: In the order in which they start.
        workers: Trials at a time, ≥ 1.
        on_rung: Called with each rung that ends.
    """
    waiting, failed, running = list(todo), dict[str, str](), list[_Running]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_Running(waiting.pop(0)))
            ready = wait([each.worker.connection for each in running], _POLL_SECONDS)
            for each in list(running):
                if each.worker.connection not in ready and not each.worker.is_overdue:
                    continue
                try:
                    if each.worker.connection not in ready:
                        raise TrialFailure("training", "took longer than trial_seconds")
                    rung = each.worker.receive()
                except TrialFailure as failure:
                    failed[each.again.label] = failure.problem
                    each.left.clear()
                else:
                    if on_rung is not None:
                        on_rung(each.again, rung)
                if each.left:
                    each.climb()
                else:
                    each.worker.close()
                    running.remove(each)
    finally:
        for each in running:
            each.worker.close()
    return failed
