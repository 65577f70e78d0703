"""Seldom garbage, kept pages: each in a process of its own, for it is the process that changes."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest


def said(code: str) -> list[str]:
    """What a fresh Python says that runs this."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_process_in_a_hurry_collects_seldom_and_not_as_it_ends():
    before, after, frozen = said(
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"  # the last to be called
        "print(gc.get_threshold()[0])\n"
        "from pipeline_lib.training.memory import tune_process\n"
        "tune_process()\n"
        "print(gc.get_threshold()[0])\n"
    )
    assert int(after) > 100 * int(before)
    assert int(frozen) > 1000


def test_what_is_loaded_for_good_is_out_of_the_collectors_sight_and_new_things_are_not():
    enabled, loaded_is_seen, new_is_seen = said(
        "import gc, sys\n"
        "from pipeline_lib.training.memory import preload_and_freeze\n"
        "preload_and_freeze('colorsys', 'json.tool')\n"
        "new = [[]]\n"
        "seen = {id(each) for each in gc.get_objects()}\n"
        "print(gc.isenabled(), id(sys.modules['colorsys'].__dict__) in seen, id(new) in seen)\n"
    )
    assert (enabled, loaded_is_seen, new_is_seen) == ("True", "False", "True")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere nothing is done")
def test_freed_pages_do_not_fault_in_again():
    faults = said(
        "import resource\n"
        "import numpy as np\n"
        "from pipeline_lib.training.memory import keep_pages\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(10):\n"
        "        np.ones(2**23)\n"  # 64 MiB, freed at once
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "print(faults())\n"
        "keep_pages()\n"
        "faults()\n"
        "print(faults())\n"
    )
    assert int(faults[1]) < int(faults[0]) / 20
