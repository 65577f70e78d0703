"""What a result depends on besides its configuration: code, packages, machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "optuna", "mlflow", "prefect", "autoPyTorch")
_GIT_SECONDS = 5.0


def environment_tags(seed: int | str) -> dict[str, str]:
    """Tags that say how to get this run again: seed, code version, packages, machine."""
    tags = {
        "seed": str(seed),
        "env.python": platform.python_version(),
        "env.system": f"{platform.system()} {platform.machine()}",
        "env.cpu": _cpu_name(),
        "env.cores": str(os.cpu_count()),
    }
    for package in PACKAGES:
        try:
            tags[f"env.{package}"] = version(package)
        except PackageNotFoundError:
            continue
    commit = _commit(Path(__file__).parents[2])
    if commit:
        tags["mlflow.source.git.commit"] = commit.removesuffix("-dirty")
        tags["code.changed"] = str(commit.endswith("-dirty")).lower()
    return tags


@cache
def _commit(checkout: Path) -> str:
    """The commit of a git checkout, with `-dirty` where files differ from it; else empty.

    Asked once: it is the code that this process has loaded. Nothing that git says or fails to say
    ends a run, and no variable leads it to another repository.
    """
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return ""
    command = [git, "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            [*command, "--exclude=*"],
            env=plain,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
