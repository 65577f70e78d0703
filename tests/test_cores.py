"""How many cores a run may use: affinity and the quotas of control groups, the least."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline_lib.cores import available_cores, quota

# As the kernel writes them, but for the folder where the groups are mounted.
VERSION_2 = (
    "0::{group}\n",
    "24 1 0:22 / /proc rw shared:5 - proc proc rw\n"
    "30 23 0:26 {root} {mount} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
)
VERSION_1 = (
    "9:name=systemd:/\n4:cpu,cpuacct:{group}\n3:memory:/elsewhere\n0::/\n",
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {root} {mount} rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
)


@pytest.fixture
def process(tmp_path):
    """Writes what the kernel says of a process, and the limits of its groups by folder."""

    def write(form, group, limits, root="/"):
        mount = tmp_path / "groups"
        named = {"group": group, "root": root, "mount": mount}
        for file, text in zip(("cgroup", "mountinfo"), form, strict=True):
            (tmp_path / file).write_text(text.format(**named))
        for folder, limit in limits.items():
            place = mount / folder
            place.mkdir(parents=True, exist_ok=True)
            if form is VERSION_2:
                (place / "cpu.max").write_text(f"{limit}\n")
                continue
            cores, _, period = limit.partition(" ")
            (place / "cpu.cfs_quota_us").write_text(f"{cores}\n")
            (place / "cpu.cfs_period_us").write_text(f"{period}\n")
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("form", "group", "limits", "cores"),
    [
        (VERSION_2, "/job", {"job": "100000 100000"}, 1),
        (VERSION_2, "/job", {"job": "max 100000"}, math.inf),
        (VERSION_2, "/", {".": "150000 50000"}, 3),
        (VERSION_2, "/a/b/c", {"a/b/c": "400000 100000", "a": "200000 100000"}, 2),
        (VERSION_2, "/a/b", {"a/b": "max 100000", "a": "50000 100000"}, 0.5),
        (VERSION_1, "/job", {"job": "100000 100000", ".": "-1 100000"}, 1),
        (VERSION_1, "/a/b", {"a/b": "-1 100000", "a": "300000 100000"}, 3),
        (VERSION_1, "/gone", {}, math.inf),
    ],
)
def test_the_least_quota_of_a_group_and_those_above_counts(form, group, limits, cores, process):
    assert quota(process(form, group, limits)) == cores


@pytest.mark.parametrize("form", [VERSION_1, VERSION_2])
@pytest.mark.parametrize("group", ["/docker/4f2a", "/../../elsewhere"])
def test_a_container_that_sees_only_its_own_group(form, group, process):
    """Docker mounts the group itself; the process may be told its name on the host, or none."""
    assert quota(process(form, group, {".": "100000 100000"}, root="/docker/4f2a")) == 1


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert quota(tmp_path) == math.inf


def test_this_machine():
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))


@pytest.fixture
def group():
    """A real control group with a quota of one core, where one may be made."""
    for root, file, limit in (
        (Path("/sys/fs/cgroup/cpu"), "cpu.cfs_quota_us", "100000"),
        (Path("/sys/fs/cgroup"), "cpu.max", "100000 100000"),
    ):
        place = root / f"automl-test-{os.getpid()}"
        with suppress(OSError):
            place.mkdir()
            if (place / file).exists():
                (place / file).write_text(limit)
                yield place
                place.rmdir()
                return
            place.rmdir()
    pytest.skip("no control group may be made here")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core at most")
def test_a_real_quota_of_one_core(group):
    code = "from pipeline_lib.config import RunConfig; print(RunConfig().workers)"
    join = f"echo $$ > {group}/cgroup.procs && exec {sys.executable} -c '{code}'"
    done = subprocess.run(["sh", "-c", join], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("1", "")
