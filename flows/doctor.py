"""`automl doctor`: what is installed, what can run, on what, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import psutil

from pipeline_lib.config import RunConfig
from pipeline_lib.cores import available_cores
from pipeline_lib.errors import AutomlError, UserError
from pipeline_lib.home import Home
from pipeline_lib.names import ENGINES
from pipeline_lib.report.dot import find_dot
from pipeline_lib.search.engine import find_engine
from tasks.text import Page

_PACKAGES = (
    "automl", "torch", "torchvision", "optuna", "prefect", "mlflow", "torchviz", "pandas",
)  # fmt: skip
Finding = tuple[bool, str, str]


def print_doctor(home: Home) -> None:
    """One line for each thing that a run needs."""
    page = Page(sys.stdout)
    for good, what, found in _findings(home):
        mark = "ok     " if good else "missing"
        page.say(found, label=f"{mark} {what:<19}")


def _findings(home: Home) -> Iterator[Finding]:
    yield True, "python", platform.python_version()
    for package in _PACKAGES:
        try:
            yield True, package, version(package)
        except PackageNotFoundError:
            yield False, package, "not installed: make install"
    try:
        home.ensure_writable()
        yield True, "home", str(home.root)
    except AutomlError as error:
        yield False, "home", str(error)
    yield from _machine(home)
    for name in ENGINES:
        good, found = find_engine(name).of(RunConfig(engine=name), home).availability()
        yield good, f"engine {name}", found
    try:
        yield True, "dot", f"{find_dot()}, for diagrams"
    except UserError as error:
        yield False, "dot", error.remedy
    served = os.environ.get("PREFECT_API_URL") or "a server is started for each run"
    yield True, "prefect server", served


def _machine(home: Home) -> Iterator[Finding]:
    """What a run may use: device, cores, memory, disk."""
    try:
        from pipeline_lib.training.device import choose
    except ImportError:
        yield False, "device", "unknown without torch"
    else:
        device, why_no_accelerator = choose()
        yield not why_no_accelerator, "device", why_no_accelerator or str(device)
    yield True, "cores", str(available_cores())
    memory = psutil.virtual_memory()
    yield True, "memory", f"{_gigabytes(memory.available)} free of {_gigabytes(memory.total)}"
    place = next(path for path in (home.root, *home.root.parents) if path.exists())
    yield True, "disk", f"{_gigabytes(shutil.disk_usage(place).free)} free at {place}"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
