"""How many cores this process may use: the least of what it is bound to and of its quotas."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_PROCESS = Path("/proc/self")


def available_cores() -> int:
    """Cores that this process may use, ≥ 1.

    A container's share is a quota of seconds for its control group, of which affinity and the
    number of cores know nothing. A share of one and a half cores is one.
    """
    bound = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, math.floor(min(bound, quota())))


def quota(process: Path = _PROCESS) -> float:
    """Cores' worth of seconds that the control groups of a process allow, infinite without any.

    Both versions of control groups, and every group above: each limits those below it.
    """
    try:
        return min(_quotas(process), default=math.inf)
    except OSError:  # not Linux, or hidden from us
        return math.inf


def _quotas(process: Path) -> Iterator[float]:
    groups = {}  # path of the process's group by controller; that of version 2 has no name
    for line in (process / "cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    for line in (process / "mountinfo").read_text(encoding="utf-8").splitlines():
        mounted, _, kind = line.partition(" - ")
        system, _, options = kind.split(" ", 2)
        root, place = mounted.split(" ")[3:5]
        if system == "cgroup2" and "" in groups:
            yield from map(_of_version_2, _folders(Path(place), root, groups[""]))
        elif system == "cgroup" and "cpu" in options.split(",") and "cpu" in groups:
            yield from map(_of_version_1, _folders(Path(place), root, groups["cpu"]))


def _folders(place: Path, root: str, group: str) -> Iterator[Path]:
    """The folders of a group and of those above it, as far as `root`, which is mounted at `place`.

    Where a container sees only its own group, that is the mounted one, whatever it is called.
    """
    path = PurePosixPath(group)
    below = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
    if ".." in below.parts:
        below = PurePosixPath()
    yield place / below
    yield from (place / folder for folder in below.parents)


def _of_version_2(folder: Path) -> float:
    limit, *period = _numbers(folder / "cpu.max") or ("max",)
    return math.inf if limit == "max" else _share(limit, *period)


def _of_version_1(folder: Path) -> float:
    limit = _numbers(folder / "cpu.cfs_quota_us") or ("-1",)
    period = _numbers(folder / "cpu.cfs_period_us")
    return math.inf if limit[0] == "-1" else _share(limit[0], *period)


def _numbers(file: Path) -> tuple[str, ...]:
    """What a file of a control group holds; nothing where there is none, as in the topmost."""
    return tuple(file.read_text(encoding="utf-8").split()) if file.is_file() else ()


def _share(limit: str, period: str = "100000") -> float:
    return int(limit) / int(period)
