"""A search space as the package itself describes it, and as the worker is given it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pipeline_lib.errors import EngineUnavailable
from pipeline_lib.files import write_whole
from pipeline_lib.home import Home
from pipeline_lib.search.autopytorch import environment
from pipeline_lib.search.autopytorch.process import WorkerProcess
from pipeline_lib.search.autopytorch.spaces import Space

_POLL_SECONDS = 0.2
_SHAPE, _CLASSES = (1, 28, 28), 10
"""The pictures that a space is described for: some ranges depend on the number of pixels."""


def describe_space(home: Home, space: Space) -> dict[str, Any]:
    """The space as Auto-PyTorch builds it: its `hyperparameters`, and the `updatable` names.

    Raises:
        EngineUnavailable: The environment is not built, or Auto-PyTorch refuses the space.
    """
    environment.check_ready(home)
    fields = space_fields(space)
    digest = hashlib.sha256(json.dumps(fields).encode()).hexdigest()
    cached = environment.directory(home) / f"space-{digest[:12]}.json"
    if cached.exists():
        described: dict[str, Any] = json.loads(cached.read_text(encoding="utf-8"))
        return described
    job = {"task": "describe", "shape": _SHAPE, "classes": _CLASSES, **fields}
    log = environment.directory(home) / "describe.log"
    with WorkerProcess(environment.python(home), job, log) as worker:
        described = _only_line(worker)
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
