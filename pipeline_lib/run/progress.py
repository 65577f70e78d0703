"""How a search stands while it runs: counts, incumbent, rungs, time."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from pipeline_lib.selection.leaderboard import counts, outcomes
from pipeline_lib.trial import Trial, TrialState, by_regret

_LINE_SECONDS = 15.0
_LINES = 100  # about, beside those of new incumbents
_log = logging.getLogger("automl")

SHOWN_LIVE = "shown_live"
"""Attribute of log records that a live table on a terminal makes unnecessary there."""


@dataclass(frozen=True)
class Snapshot:
    """One look at one engine's search."""

    engine: str
    elapsed: float  # seconds since its search began
    budget: float  # seconds
    running: int
    complete: int
    pruned: int
    stopped: int
    failed: int
    incumbent: Trial | None  # the best on validation so far
    rungs: tuple[str, ...]  # what runs now, such as "#12 at rung 2"
    several: bool = False  # families are searched

    @property
    def best(self) -> str:
        """How the incumbent is called."""
        return _name(self.incumbent, self.several) if self.incumbent else ""

    @property
    def share(self) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        return min(self.elapsed / self.budget, 1.0)

    def line(self) -> str:
        """The standing in one line for logs."""
        top = self.incumbent
        best = f"{top.text} by {self.best}" if top else "none yet"
        return (
            f"{self.engine} {self.elapsed:.0f}/{self.budget:.0f} s · "
            f"{outcomes(vars(self), ' · ')} · best {best}"
        )


class Progress:
    """Takes in snapshots of trials as they come; may be read from another thread."""

    def __init__(self, engine: str, budget_seconds: float) -> None:
        self.engine = engine
        self.budget = budget_seconds
        self.began = time.monotonic()
        self.first_trial: float | None = None  # time.time() when training first began
        self._trials: dict[int, Trial] = {}
        self._lock = threading.Lock()

    def add(self, trial: Trial) -> bool:
        """Take in a snapshot; True when it is the new incumbent."""
        with self._lock:
            if self.first_trial is None:
                self.first_trial = time.time()
            before = self._incumbent()
            self._trials[trial.number] = trial
            best = self._incumbent()
            return best is not None and (before is None or by_regret(best) < by_regret(before))

    def look(self) -> Snapshot:
        """How it stands now."""
        with self._lock:
            tally = counts(self._trials.values())
            several = len({trial.family for trial in self._trials.values()}) > 1
            running = [t for t in self._trials.values() if t.state == TrialState.RUNNING]
            return Snapshot(
                engine=self.engine,
                elapsed=time.monotonic() - self.began,
                budget=self.budget,
                running=len(running),
                complete=tally["complete"],
                pruned=tally["pruned"],
                stopped=tally["stopped"],
                failed=tally["failed"],
                incumbent=self._incumbent(),
                rungs=tuple(_rung(trial, several) for trial in running),
                several=several,
            )

    def _incumbent(self) -> Trial | None:
        seen = [trial for trial in self._trials.values() if trial.rungs]
        return min(seen, key=by_regret, default=None)


class Lines:
    """Logs how a search stands, in lines that are marked: a live table says the same."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last = time.monotonic()

    def say(self) -> None:
        """One line."""
        self._last = time.monotonic()
        _log.info("%s", self._progress.look().line(), extra={SHOWN_LIVE: True})

    def say_if_due(self) -> None:
        """One line, unless the last was a moment ago: an hour's log is to be read too."""
        if time.monotonic() - self._last >= max(_LINE_SECONDS, self._progress.budget / _LINES):
            self.say()


def _name(trial: Trial, several: bool) -> str:
    """A trial by its number, and by its family where there are several."""
    return f"#{trial.number} {trial.family}" if several else f"#{trial.number}"


def _rung(trial: Trial, several: bool) -> str:
    where = "final" if trial.stage == "final" else f"rung {len(trial.rungs) + 1}"
    return f"{_name(trial, several)} {where}"
