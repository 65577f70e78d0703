"""What a result depends on besides its configuration: code, packages, machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "optuna", "mlflow", "prefect", "autoPyTorch")


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


def discreet(text: str) -> str:
    """The text with the user's home directory written `~`."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _commit(checkout: Path) -> str:
    """The commit of a git checkout, with `-dirty` where files differ from it; else empty."""
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return ""
    command = [git, "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    done = subprocess.run(
        [*command, "--exclude=*"], capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
