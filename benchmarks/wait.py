"""Part 3b: what one waits for around a search, in seconds and CPU-seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import IO, Any

import psutil

from benchmarks.cold_run import AUTOML, cold_home, outcomes_of, run_json, wait_for_server
from benchmarks.results import Bench, Result, Table
from flows.prefect_server import LocalServer, answers
from pipeline_lib.cores import available_cores
from pipeline_lib.home import Home

_SAMPLE_SECONDS = 0.05
_WHO = ("parent", "server", "children")
_PHASES = ("first line", "server healthy", "first training", "search end", "done", "ended")
"""What one waits for, in this order; CPU-seconds are counted from one to the next."""


@dataclass(frozen=True)
class Size:
    """How long a search is, and how often each case is tried."""

    repeats: int
    budget: float = 15.0


FULL = Size(repeats=3)
SHORT = Size(repeats=1)


def measure(bench: Bench, size: Size) -> Result:
    """A home that has seen a run, with a server up and without; a new home; two busy loops."""
    return {
        name: _middle([case(bench.home, size.budget) for _ in range(size.repeats)])
        for name, case in _CASES.items()
    }


def table(result: Result) -> Table:
    """A row for each case: seconds from the command, then CPU-seconds by process and phase."""
    head = ["", *(f"{phase} s" for phase in _PHASES[:-2]), "search end to done s", "to exit s"]
    head += [f"CPU of {who} s: to training, search, to done" for who in _WHO]

    def row(name: str, case: Mapping[str, Any]) -> list[Any]:
        at, cpu = case["seconds"], case["cpu"]
        spans = [at[phase] for phase in _PHASES[:-2]]
        spans += [at["done"] - at["search end"], at["ended"] - at["done"]]
        shown = [f"{seconds:.1f}" for seconds in spans]
        for who in _WHO:
            to_training = sum(cpu[who][phase] for phase in _PHASES[:3])
            shown.append(f"{to_training:.1f}, {cpu[who]['search end']:.1f}, {cpu[who]['done']:.1f}")
        return [name, *shown]

    return head, [row(name, case) for name, case in result.items()]


def _warm(home: Home, budget: float) -> dict[str, Any]:
    with _used_home(home) as used:
        return _watched_run(used, budget)


def _served(home: Home, budget: float) -> dict[str, Any]:
    with _used_home(home) as used, LocalServer(used) as server:
        server.wait_until_healthy()
        try:
            return _watched_run(used, budget)
        finally:
            server.release()


def _cold(home: Home, budget: float) -> dict[str, Any]:
    with cold_home(home) as cold:
        return _watched_run(cold, budget)


def _busy(home: Home, budget: float) -> dict[str, Any]:
    with _used_home(home) as used, _busy_loops(available_cores()):
        return _watched_run(used, budget)


_CASES = {
    "a Prefect server up": _served,
    "no server": _warm,
    "new home": _cold,
    "no server, a busy loop a core": _busy,
}


@contextmanager
def _used_home(home: Home) -> Iterator[Home]:
    """A home in which a run was made before, and whose server has ended."""
    with cold_home(home) as used:
        run_json([*AUTOML, "--budget", "4s", "--trials", "1", "--ensemble", "1", "--json"], used)
        wait_for_server(used)
        yield used


@contextmanager
def _busy_loops(count: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(count):
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(loop.wait)
            stack.callback(loop.kill)
        yield


@dataclass
class _Usage:
    """CPU-seconds of a run's processes so far, sampled, by kind of process."""

    parent: int
    home: str
    samples: list[tuple[float, Counter[str]]] = field(default_factory=list)
    _kinds: dict[tuple[int, float], str] = field(default_factory=dict)

    def sample(self) -> None:
        """Look at every process; what one that has ended used is its parent's figure."""
        total: Counter[str] = Counter()
        for process in psutil.process_iter():
            try:
                kind, times = self._kind(process), process.cpu_times()
            except psutil.Error:
                continue
            total[kind] += times.user + times.system
            total["children" if kind else ""] += times.children_user + times.children_system
        last = self.samples[-1][1] if self.samples else total
        self.samples.append((time.time(), total | last))  # the larger of each

    def _kind(self, process: psutil.Process) -> str:
        key = process.pid, process.create_time()
        if key not in self._kinds:
            said = process.cmdline()
            ours = self.home in " ".join([*process.environ().values(), *said])
            kind = "server" if "flows.background_server" in said else "children"
            self._kinds[key] = "parent" if process.pid == self.parent else kind if ours else ""
        return self._kinds[key]

    def at(self, moment: float) -> Counter[str]:
        """What had been used at a moment, since the first look."""
        later = (used for when, used in self.samples if when >= moment)
        return next(later, self.samples[-1][1]) - self.samples[0][1]


def _watched_run(home: Home, budget: float) -> dict[str, Any]:
    """Run a search, and say when each phase ended and what each process used in it."""
    command = [*AUTOML, "--budget", f"{budget:g}s", "--json", "--home", str(home.root)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment["AUTOML_HOME"] = str(home.root)  # children are known by it
    began, at = time.time(), dict[str, float]()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    usage = _Usage(process.pid, str(home.root))
    lines: dict[str, list[str]] = {"out": [], "err": []}
    threads = [
        threading.Thread(target=_read, args=(process.stdout, lines["out"], at, "done")),
        threading.Thread(target=_read, args=(process.stderr, lines["err"], at, "first line")),
        threading.Thread(target=_wait_for_health, args=(home, at, process)),
    ]
    for thread in threads:
        thread.start()
    while process.poll() is None:
        usage.sample()
        time.sleep(_SAMPLE_SECONDS)
    at["ended"] = time.time()
    for thread in threads:
        thread.join()
    seconds = outcomes_of(command, process.returncode, lines["out"], lines["err"])[0]["seconds"]
    at["first training"] = began + seconds["startup"]
    at["search end"] = at["first training"] + seconds["search"]
    return {
        "seconds": {phase: at[phase] - began for phase in _PHASES},
        "cpu": {who: _spent(usage, at, who) for who in _WHO},
    }


def _spent(usage: _Usage, at: Mapping[str, float], who: str) -> dict[str, float]:
    """CPU-seconds of one kind of process in each phase, which may end in any order."""
    spent, before = {}, 0.0
    for phase in sorted(_PHASES, key=lambda each: at[each]):
        now = usage.at(at[phase])[who]
        spent[phase], before = now - before, now
    return spent


def _read(pipe: IO[bytes], lines: list[str], at: dict[str, float], what: str) -> None:
    for line in pipe:
        at.setdefault(what, time.time())
        lines.append(line.decode(errors="replace"))


def _wait_for_health(home: Home, at: dict[str, float], process: subprocess.Popen[bytes]) -> None:
    """Note when the server that the run uses answers."""
    address = home.prefect / "background"
    while process.poll() is None:
        if address.exists() and (url := address.read_text(encoding="utf-8")) and answers(url):
            at["server healthy"] = time.time()
            return
        time.sleep(_SAMPLE_SECONDS)


def _middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the runs of one case."""
    return {
        "seconds": {p: median(run["seconds"][p] for run in runs) for p in _PHASES},
        "cpu": {w: {p: median(run["cpu"][w][p] for run in runs) for p in _PHASES} for w in _WHO},
    }
