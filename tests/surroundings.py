"""What a user may have around a run that must not matter: variables, files, a locale, a `dot`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DEAD_PROXY = "http://127.0.0.1:9"


def users_directory(place: Path) -> Path:
    """A directory with modules that have the names of ours and of the standard library's."""
    (place / "flows").mkdir(parents=True)
    (place / "flows" / "__init__.py").write_text("raise SystemExit('the flows of the user')")
    for name in ("token", "types", "tasks", "logging"):
        (place / f"{name}.py").write_text(f"raise SystemExit('the {name} of the user')")
    (place / "prefect.toml").write_text("[[[")
    (place / ".env").write_text("PREFECT_FLOWS_DEFAULT_RETRIES=soon\n")
    return place


def on_the_path(place: Path) -> Path:
    """A directory for PYTHONPATH; without `types`, with which no Python starts."""
    (place / "tasks").mkdir(parents=True)
    (place / "tasks" / "__init__.py").write_text("raise SystemExit('the tasks of the user')")
    (place / "token.py").write_text("raise SystemExit('the token of the user')")
    (place / "flows.py").write_text("raise SystemExit('the flows of the user')")
    return place


def long_folder(place: Path) -> Path:
    """A folder whose path is as long as a cluster's for a job; no socket fits into it."""
    folder = place / ("j" * (110 - len(str(place))) if len(str(place)) < 100 else "j")
    folder.mkdir(parents=True)
    return folder


def variables(place: Path) -> dict[str, str]:
    """Environment variables; `place` is an empty directory for what they name."""
    stray = f"sqlite:///{place / 'stray.db'}"
    dot = place / "bin" / "dot"
    dot.parent.mkdir(parents=True)
    port = Path(sys.executable).with_name("graphviz-pure")
    dot.write_text(
        f"#!/bin/sh\ngrep -q 'digraph {{a}}' || exit 1; echo 'graph {{}}' | {port} -Tsvg\n"
    )
    dot.chmod(0o755)
    return {
        "HTTP_PROXY": DEAD_PROXY,
        "HTTPS_PROXY": DEAD_PROXY,
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": stray.replace("sqlite", "sqlite+aiosqlite"),
        "PREFECT_SERVER_API_AUTH_STRING": "somebody:else",
        "PREFECT_API_AUTH_STRING": "nobody:at-all",
        "PREFECT_API_KEY": "of-a-cloud",
        "PREFECT_SERVER_API_BASE_PATH": "/elsewhere",
        "PREFECT_FLOWS_DEFAULT_RETRIES": "2",
        "PREFECT_TASKS_DEFAULT_RETRIES": "2",
        "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "1",
        "PREFECT_PROFILE": "none",
        "MLFLOW_BACKEND_STORE_URI": stray,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(place / "stray"),
        "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
        "MLFLOW_EXPERIMENT_ID": "77",
        "MLFLOW_AUTH_CONFIG_PATH": str(place / "nothing.ini"),
        "WEB_CONCURRENCY": "4",
        "PYTHONPATH": str(on_the_path(place / "path")),
        "PYTHONWARNINGS": "error",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
        "TMPDIR": str(long_folder(place)),
        "PATH": f"{dot.parent}{os.pathsep}{os.environ['PATH']}",
    }
