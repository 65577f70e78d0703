"""Hooks of the flow: somebody is told how a run ended, whoever ended it."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from pipeline_lib.formats import shorten_home
from pipeline_lib.notification import Message, send


def tell(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell whom the run's parameter `notify` names, if any; never fails.

    Prefect calls a hook with these words, from the worker where a run was cancelled or killed.
    """
    address = flow_run.parameters.get("notify")
    if address:
        send(address, _message(flow_run, state))


def _message(run: FlowRun, state: State[Any]) -> Message:
    found = state.result(raise_on_failure=False) if state.is_completed() else {}
    winner = found.get("winner", {})
    return Message(
        name=run.parameters.get("name") or run.name,  # the worker knows the first name only
        state=state.type.value.lower().replace("cancelling", "cancelled"),
        verdict=found.get("verdict", ""),
        metric=winner.get("metric", ""),
        value=winner.get("value"),
        test_accuracy=winner.get("test_accuracy"),
        reason="" if state.is_completed() else _reason(state),
        report=shorten_home(found.get("report", "")),
        mlflow=found.get("mlflow", ""),
    )


def _reason(state: State[Any]) -> str:
    said = state.message or ""
    return shorten_home(said.removeprefix("Flow run encountered an exception: "))
