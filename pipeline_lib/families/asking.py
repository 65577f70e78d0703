"""A user's family, asked in a process of its own: the one that searches has no torch.

The process comes warm from the forkserver. Questions, suggestions and answers cross the pipe as
JSON: each `suggest_…` of the file is one of the real Optuna trial on this side.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Protocol

from pipeline_lib.data.problem import Problem
from pipeline_lib.errors import AutomlError, FamilyError
from pipeline_lib.families.family import Family
from pipeline_lib.families.suggestions import Suggestions, from_trial
from pipeline_lib.isolation import ignore_signals
from pipeline_lib.training.processes import CONTEXT, end_with_parent, start
from pipeline_lib.trial import Configuration

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from optuna.trial import BaseTrial

_ABOUT = ("variants", "passes", "first_rung")
_SCALARS = (int, float, str, bool, type(None))


class Asked(Protocol):
    """What a search asks of a family, whose own words `Family` has."""

    @property
    def variants(self) -> str:
        """See `Family.variants`."""

    @property
    def passes(self) -> tuple[int, ...]:
        """See `Family.passes`."""

    @property
    def first_rung(self) -> int:
        """See `Family.first_rung`."""

    def priors(self, problem: Problem, budget: float) -> list[dict[str, Any]]:
        """See `Family.priors`."""

    def space(
        self, trial: BaseTrial | Suggestions, problem: Problem, budget: float
    ) -> Configuration:
        """See `Family.space`."""

    def try_out(self, configuration: Configuration, problem: Problem) -> None:
        """See `Family.try_out`."""


def asking(family: Family) -> AbstractContextManager[Asked]:
    """The family to ask: a built-in one itself, a user's through a process.

    Raises:
        FamilyError: The user's file cannot be imported; names the line and the cause.
    """
    return nullcontext(family) if family.file is None else _through_a_process(family)


@contextmanager
def _through_a_process(family: Family) -> Iterator[_Remote]:
    remote = _Remote(family)
    try:
        about = remote.ask("about")
        remote.variants, remote.passes = about["variants"], tuple(about["passes"])
        remote.first_rung = about["first_rung"]
        yield remote
    finally:
        remote.close()


class _Remote:
    """A user's family as this side of the pipe has it."""

    variants: str
    passes: tuple[int, ...]
    first_rung: int

    def __init__(self, family: Family) -> None:
        self._family = family
        self._start()

    def _start(self) -> None:
        self._connection, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_answer, args=(theirs, self._family), daemon=True)
        start(self._process)
        theirs.close()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.join()
        self._process.close()

    def priors(self, problem: Problem, budget: float) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("priors", problem=problem.as_json(), budget=budget)
        return found

    def space(
        self, trial: BaseTrial | Suggestions, problem: Problem, budget: float
    ) -> Configuration:
        found: Configuration = self.ask("space", trial, problem=problem.as_json(), budget=budget)
        return found

    def try_out(self, configuration: Configuration, problem: Problem) -> None:
        self.ask("try_out", configuration=dict(configuration), problem=problem.as_json())

    def ask(
        self, question: str, trial: BaseTrial | Suggestions | None = None, **arguments: Any
    ) -> Any:
        """The answer to a question; meanwhile the trial gives the values that are suggested.

        Raises:
            FamilyError: The code of the file raised, or ended its process.
        """
        try:
            _send(self._connection, {"question": question, **arguments})
            while "suggest" in (said := _receive(self._connection)):
                assert trial is not None
                kind, name, limits = said["suggest"]
                _send(self._connection, _suggested(trial, kind, name, limits))
        except Exception as error:  # the process is gone, or waits for a value that is refused
            self.close()
            self._start()
            if not isinstance(error, EOFError | OSError):
                raise
            problem = f"its process ended when it was asked for its {question}"
            raise FamilyError(self._family.name, problem) from error
        if "failed" in said:
            raise FamilyError(**said["failed"])
        return said["answer"]


def _suggested(
    trial: BaseTrial | Suggestions, kind: str, name: str, limits: Mapping[str, Any]
) -> dict[str, Any]:
    """A value of the real trial, or what it has against the question."""
    try:
        return {"value": from_trial(trial)(kind, name, limits)}
    except (ValueError, TypeError) as error:  # a range upside down, other choices than before
        return {"refused": str(error).splitlines()[0]}


def _answer(connection: Connection, family: Family) -> None:
    """What the process does: answer until this end is closed."""
    from pipeline_lib.training.loop import use_one_thread

    ignore_signals()
    use_one_thread()
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        while True:
            _send(connection, _say(connection, family, _receive(connection)))
    except (EOFError, OSError):
        return


def _say(connection: Connection, family: Family, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        with explained(family):
            return {"answer": _found(connection, family, **asked)}
    except AutomlError as error:
        told = {"where": error.where, "problem": error.problem, "remedy": error.remedy}
        return {"failed": told | ({} if error.value is None else {"value": str(error.value)})}


def _found(connection: Connection, family: Family, question: str, **arguments: Any) -> Any:
    if question == "about":
        family.check_form()
        return {name: getattr(family, name) for name in _ABOUT}
    problem = Problem.from_json(arguments["problem"])
    if question == "priors":
        return family.priors(problem, arguments["budget"])
    if question == "try_out":
        return family.try_out(arguments["configuration"], problem)

    def ask(kind: str, name: str, limits: Mapping[str, Any]) -> Any:
        if not all(isinstance(value, _SCALARS) for value in limits.get("choices", ())):
            raise TypeError(f"choices of {name!r} must be numbers, texts, truth values or None")
        _send(connection, {"suggest": [kind, name, dict(limits)]})
        said = _receive(connection)
        if "refused" in said:
            raise ValueError(said["refused"])
        return said["value"]

    return _plain(family, family.space(Suggestions(ask), problem, arguments["budget"]))


def _plain(family: Family, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration, when it can be kept as JSON."""
    for name, value in configuration.items():
        if not isinstance(value, _SCALARS):
            problem = f"space gave {name!r} a value that is no number, text or truth value"
            raise FamilyError(family.place_of("space"), problem, value=value)
    return dict(configuration)


@contextmanager
def explained(family: Family) -> Iterator[None]:
    """Whatever a user's file raises becomes one line: its name, line and cause.

    Raises:
        FamilyError: Something was raised.
    """
    try:
        yield
    except (EOFError, BrokenPipeError, AutomlError):
        raise
    except (Exception, SystemExit) as error:
        raise FamilyError(family.place(error) or family.name, cause(error)) from error


def cause(error: BaseException) -> str:
    """The kind of an error and its first line."""
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {said.strip().splitlines()[0] if said.strip() else ''}"


def _send(connection: Connection, message: Mapping[str, Any]) -> None:
    connection.send_bytes(json.dumps(message).encode())


def _receive(connection: Connection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv_bytes())
    return message
