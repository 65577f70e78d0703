"""What became of an evaluation, as JSON values. Runs where Auto-PyTorch runs."""

from __future__ import annotations

import sys
from typing import Any

from smac.runhistory.runhistory import RunValue
from smac.tae import StatusType

from pipeline_lib.search.autopytorch.export import CannotExportError
from pipeline_lib.search.autopytorch.job import Job
from pipeline_lib.trial import TIME_OVER


def log_failure(number: int, value: RunValue) -> None:
    """Leave in the log what a failed evaluation said itself."""
    if value.status != StatusType.SUCCESS:
        info = value.additional_info
        said = info.get("traceback") or info.get("subprocess_stderr") or info.get("error", "")
        print(f"evaluation {number}: {value.status.name}\n{said}", file=sys.stderr, flush=True)


def outcome(value: RunValue, job: Job) -> dict[str, Any]:
    """An evaluation's end as JSON values."""
    info = value.additional_info
    reason = _reason(value, job)
    return {
        "state": "stopped" if reason == TIME_OVER else "failed" if reason else "complete",
        "reason": reason,
        "status": value.status.name,
        "seconds": round(value.time, 3),
        "scores": info.get("scores"),
        "regret": info.get("regret"),
        "curve": info.get("curve", []),
        "samples": info.get("samples"),
        "parameters": info.get("parameters"),
        "model": None if reason else info["model"],
    }


def _reason(value: RunValue, job: Job) -> str:
    """Why an evaluation has no model, in one line; empty when it has one."""
    info = value.additional_info
    if value.status == StatusType.SUCCESS:
        return "" if info.get("finite") else "it diverged: its predictions are not finite"
    if value.status == StatusType.TIMEOUT:
        if value.time < job.evaluation_seconds - 1:
            return TIME_OVER
        return f"it took longer than {job.evaluation_seconds:.0f} s"
    if value.status == StatusType.MEMOUT:
        return f"it needed more than {job.memory_mb} MB"
    if info.get("exitcode", 0) < 0:
        return f"its process was killed (exit code {info['exitcode']})"
    said = info.get("subprocess_stderr") or info.get("error") or value.status.name
    return _last_words(said)


def _last_words(said: str) -> str:
    """The last line of a traceback, without the module of its error."""
    error, colon, message = said.strip().splitlines()[-1].partition(": ")
    if error.endswith(CannotExportError.__name__):
        return message
    return f"{error.rpartition('.')[2] if colon else error}{colon}{message}"[:300]


def plain(value: Any) -> Any:
    """A value of a configuration, without numpy."""
    return value.item() if hasattr(value, "item") else value
