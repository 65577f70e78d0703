"""A search space with a user's updates, and as the package itself describes it."""

from __future__ import annotations

import json
from typing import Any

from pipeline_lib.errors import EngineUnavailable
from pipeline_lib.files import write_whole
from pipeline_lib.home import Home
from pipeline_lib.search.autopytorch import environment
from pipeline_lib.search.autopytorch.process import WorkerProcess
from pipeline_lib.search.autopytorch.spaces import Space, SpaceUpdate, find_space

_POLL_SECONDS = 0.2
_SHAPE, _CLASSES = (1, 28, 28), 10
"""The pictures that a space is described for: some ranges depend on the number of pixels."""


def with_updates(space: Space, updates: tuple[SpaceUpdate, ...]) -> Space:
    """A space with a user's updates in place of its own of the same names.

    Components are chosen by `include`: Auto-PyTorch refuses an update of `__choice__` beside it.
    """
    include = {node: list(names) for node, names in space.include.items()}
    own = {(update.node, update.hyperparameter): update for update in space.updates}
    for update in updates:
        if update.hyperparameter == "__choice__":
            include[update.node] = [str(value) for value in update.range]
        else:
            own[update.node, update.hyperparameter] = update
    kept = tuple(
        update for update in own.values() if _is_included(update, include.get(update.node))
    )
    return Space(include, kept)


def _is_included(update: SpaceUpdate, components: list[str] | None) -> bool:
    component, separator, _ = update.hyperparameter.partition(":")
    return not separator or components is None or component in components


def describe_space(home: Home, name: str, updates: tuple[SpaceUpdate, ...] = ()) -> dict[str, Any]:
    """The space as Auto-PyTorch builds it: its `hyperparameters`, and the `updatable` names.

    Raises:
        ConfigurationError: There is no space of this name.
        EngineUnavailable: The environment is not built, or Auto-PyTorch refuses the space.
    """
    space = with_updates(find_space(name), updates)
    environment.check_ready(home)
    cached = environment.directory(home) / f"space-{name}.json"
    if not updates and cached.exists():
        described: dict[str, Any] = json.loads(cached.read_text(encoding="utf-8"))
        return described
    job = {"task": "describe", "shape": _SHAPE, "classes": _CLASSES, **space_fields(space)}
    log = environment.directory(home) / "describe.log"
    with WorkerProcess(environment.python(home), job, log) as worker:
        described = _only_line(worker)
    if not updates:
        write_whole(cached, json.dumps(described))
    return described


def _only_line(worker: WorkerProcess) -> dict[str, Any]:
    lines: list[dict[str, Any]] = []
    while (more := worker.read(_POLL_SECONDS)) is not None:
        lines += more
    if not lines:
        problem = f"refuses the search space ({worker.last_words()})"
        raise EngineUnavailable(environment.WHERE, problem)
    return lines[0]


def space_fields(space: Space) -> dict[str, Any]:
    """The space as fields of the worker's job."""
    return {
        "include": {node: list(names) for node, names in space.include.items()},
        "updates": [update.as_json() for update in space.updates],
    }
