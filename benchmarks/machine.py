"""Facts about the machine that stand in every result."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

from pipeline_lib.cores import available_cores
from pipeline_lib.tracking import environment_tags

_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
_SIDE = 1024  # of the square matrices multiplied
_REPEATS = 10


def machine_facts() -> dict[str, Any]:
    """Cores, CPU flags, versions, load, and the sgemm peak measured now."""
    cores = available_cores()
    tags = environment_tags(0)
    return {
        "cores": cores,
        "cpu": tags["env.cpu"],
        "cpu_flags": _cpu_flags(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "python": tags["env.python"],
        "torch": tags["env.torch"],
        "commit": tags.get("mlflow.source.git.commit", ""),
        "load_before": round(os.getloadavg()[0], 2),
        "sgemm_gflops_one_thread": round(_sgemm_peak(1), 1),
        "sgemm_gflops_all_cores": round(_sgemm_peak(cores), 1),
    }


def _cpu_flags() -> list[str]:
    """Those of interest that the CPU has; none where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    words = {w for line in lines if line.startswith(("flags", "Features")) for w in line.split()}
    return [flag for flag in _FLAGS if flag in words]


def _sgemm_peak(threads: int) -> float:
    """The best of some multiplications of float32 matrices, in GFLOP/s."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b = torch.rand(2, _SIDE, _SIDE)
        seconds = []
        for _ in range(_REPEATS):
            began = time.perf_counter()
            a @ b
            seconds.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return 2 * _SIDE**3 / min(seconds) / 1e9
