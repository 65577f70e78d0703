"""How a flow ends that a signal stops: KILLED in MLflow, CANCELLED in Prefect, its trials kept."""

from __future__ import annotations

import threading
from typing import NoReturn

from prefect import get_client
from prefect.context import FlowRunContext
from prefect.states import Cancelled, State

from flows.hooks import tell
from pipeline_lib.errors import Stopped
from pipeline_lib.run.progress import Progress
from pipeline_lib.run.run import Run
from pipeline_lib.run.stopping import NOTHING, end_process
from pipeline_lib.tracking.record import Record
from tasks.display import leave_terminal


class Ending:
    """What a stop means for one run: finished with what it found, or kept for the next of its name.

    Under a worker a signal is Prefect's cancel, or the end of the worker: the run is not finished.
    """

    def __init__(self, run: Run, record: Record) -> None:
        context = FlowRunContext.get()
        assert context is not None and context.flow_run is not None
        self._context = context
        self._is_cancelled_by_signals = context.flow_run.deployment_id is not None
        self._run, self._record = run, record
        self._searches: list[Progress] = []
        self._is_searching = False

    def search_begins(self, searches: list[Progress]) -> None:
        """From now on the searches end by themselves when they are asked to."""
        self._searches, self._is_searching = searches, True

    def search_ended(self, stop: threading.Event) -> None:
        """From now on a stop ends the run at once where signals cancel it.

        Raises:
            Stopped: It was stopped, and is not to be finished.
        """
        self._is_searching = False
        if stop.is_set() and self._is_cancelled_by_signals:
            self._record.killed()
            raise Stopped(self._run.name, "stopped", remedy=self._how_to_continue)

    def why_now(self) -> str:
        """A reason to end on a signal without finishing anything, if there is one."""
        if not any(progress.look().incumbent for progress in self._searches):
            return f"{self._run.name}: {NOTHING}"
        if self._is_cancelled_by_signals and not self._is_searching:
            return f"{self._run.name}: stopped; {self._how_to_continue}"
        return ""

    def at_once(self, reason: str) -> NoReturn:
        """End the process; MLflow, Prefect and whom the run notifies know it, if they can."""
        has_trials = any(progress.look().incumbent for progress in self._searches)
        end_process(
            f"{reason}; {self._how_to_continue}" if has_trials else reason,
            self._record.close_killed,
            lambda: self._say_cancelled(reason),
            leave_terminal,
        )

    def cancelled(self, reason: str) -> State[None]:
        """The flow's state when it returns without a result."""
        state = Cancelled(message=reason)
        self._tell(state)
        return state

    @property
    def _how_to_continue(self) -> str:
        return f"its trials are kept: run it with the name {self._run.name} to continue"

    def _say_cancelled(self, reason: str) -> None:
        state = Cancelled(message=reason)
        assert self._context.flow_run is not None
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self._context.flow_run.id, state, force=True)
        self._tell(state)

    def _tell(self, state: State[None]) -> None:
        """Run the hook that Prefect leaves out here, unless a worker cancels and runs it."""
        flow, run = self._context.flow, self._context.flow_run
        assert flow is not None and run is not None
        if self._is_cancelled_by_signals:
            with get_client(sync_client=True) as client:
                now = client.read_flow_run(run.id).state
            if now is not None and now.is_cancelling():
                return
        tell(flow, run, state)
