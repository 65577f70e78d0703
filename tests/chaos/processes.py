"""The processes of a run, whoever started them, and what each is for."""

from __future__ import annotations

import psutil

MARK = "AUTOML_CHAOS"
"""Environment variable that every process of a run inherits."""
MLFLOW = "MLflow server"


def family(token: str) -> list[psutil.Process]:
    """Every living process that a run with this mark started, however it was started."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(MARK) == token
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def end(token: str) -> None:
    """Kill them all."""
    for process in family(token):
        process.kill()


def kind_of(process: psutil.Process) -> str:
    """What people call it."""
    try:
        command = " ".join(process.cmdline())
        parent = process.parent()
        above = " ".join(parent.cmdline()) if parent is not None else ""
    except psutil.NoSuchProcess:
        return "gone"
    if "autopytorch.worker" in command:
        return "Auto-PyTorch worker"
    owner = "Auto-PyTorch " if "engines/autopytorch" in command else ""
    if "forkserver" in command:
        return owner + ("training" if "forkserver" in above else "forkserver")
    kinds = {
        "resource_tracker": owner + "resource tracker",
        "background_server": "Prefect server",
        "victim.py": "run",
        "long_run.py": "run",
    }
    return next((kind for sign, kind in kinds.items() if sign in command), owner + "helper")
