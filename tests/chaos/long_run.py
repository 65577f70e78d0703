"""A real run of many trials, watched from outside: memory, descriptors, threads and disk.

    python tests/chaos/long_run.py --trials 1000

The run is `automl run` with tiny rungs on the first images of MNIST and a deadline far away.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

from processes import MARK, end, family, kind_of  # noqa: E402
from small_mnist import prepare_small, small_dataset  # noqa: E402

from flows.prefect_server import LocalServer  # noqa: E402
from pipeline_lib.config import RunConfig  # noqa: E402
from pipeline_lib.data.source import prepare  # noqa: E402
from pipeline_lib.home import Home  # noqa: E402

_PAUSE_SECONDS = 2.0
_START_SECONDS = 600.0  # for the Prefect server, on a busy machine
_WARM_UP = 0.3  # share of the trials after which nothing may grow any more
_BUDGET, _BASE_SAMPLES = 20.0, 100
WATCHED = ("run", "forkserver", "training", "Prefect server")


@dataclass(frozen=True)
class Sample:
    """The processes of one kind at one moment; of several the largest."""

    trials: int  # begun so far
    kind: str
    mebibytes: float  # resident, less what it shares
    descriptors: int
    threads: int
    count: int


@dataclass(frozen=True)
class Growth:
    """What one kind of process has after the warm-up, and gains for each trial since."""

    kind: str
    mebibytes: float
    mebibytes_a_trial: float
    descriptors: float
    descriptors_a_trial: float
    threads: float
    threads_a_trial: float


@dataclass(frozen=True)
class LongRun:
    """What a long run took."""

    trials: int
    seconds: float
    growth: list[Growth]
    disk_a_trial: float  # KiB of the home, files with two names counted once


def watch(home: Home, trials: int, workers: int, log: Path) -> LongRun:
    """Conduct it and watch it.

    Raises:
        RuntimeError: The run failed.
    """
    token = f"long-{os.getpid()}"
    os.environ |= {MARK: token, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": ""}
    os.environ["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, __file__, "--child", "--trials", str(trials)]
    command += ["--workers", str(workers), "--home", str(home.root)]
    before, began = _disk(home), time.monotonic()
    samples: list[Sample] = []
    with log.open("wb") as output, _all_ended(token), LocalServer(home) as server:
        server.wait_until_healthy(_START_SECONDS)
        process = subprocess.Popen(command, stdout=output, stderr=output)
        while process.poll() is None:
            samples += _look(home, token)
            time.sleep(_PAUSE_SECONDS)
        if process.returncode:
            raise RuntimeError(
                f"the run failed:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}"
            )
        server.release()
    done = _begun(home)
    growth = [_growth([s for s in samples if s.kind == kind], trials) for kind in WATCHED]
    per_trial = (_disk(home) - before) / done / 2**10
    return LongRun(done, time.monotonic() - began, growth, per_trial)


@contextmanager
def _all_ended(token: str) -> Iterator[None]:
    try:
        yield
    finally:
        limit = time.monotonic() + 60
        while family(token) and time.monotonic() < limit:
            time.sleep(0.2)
        end(token)


def _look(home: Home, token: str) -> list[Sample]:
    kinds: dict[str, list[tuple[float, int, int]]] = {}
    for process in family(token):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            memory = process.memory_info()
            own = (memory.rss - memory.shared) / 2**20
            seen = own, process.num_fds(), process.num_threads()
            kinds.setdefault(kind_of(process), []).append(seen)
    begun = _begun(home)
    return [
        Sample(begun, kind, *(max(column) for column in zip(*seen, strict=True)), len(seen))
        for kind, seen in kinds.items()
    ]


def _begun(home: Home) -> int:
    directory = home.study("long") / "optuna" / "trials"
    return len(list(directory.iterdir())) if directory.is_dir() else 0


def _disk(home: Home) -> int:
    files = {s.st_ino: s.st_size for p in home.root.rglob("*") if (s := p.lstat()).st_size}
    return sum(files.values())


def _growth(samples: list[Sample], trials: int) -> Growth:
    """Straight lines through what was seen after the warm-up and before the end."""
    warm = [s for s in samples if _WARM_UP * trials <= s.trials < trials]
    kind = samples[0].kind
    at = np.array([s.trials for s in warm], float)
    lines = []
    for name in ("mebibytes", "descriptors", "threads"):
        values = np.array([getattr(s, name) for s in warm], float)
        lines += [float(np.median(values)), float(np.polyfit(at, values, 1)[0])]
    return Growth(kind, *lines)


def _child(trials: int, workers: int, home: Path) -> None:
    """Be the run."""
    from benchmarks import long_study
    from pipeline_lib.data.sources import catalogue

    catalogue.CATALOGUE = {**catalogue.CATALOGUE, "mnist": small_dataset()}
    numbers = [trials, workers, _BUDGET, _BASE_SAMPLES]
    long_study.main([*map(str, numbers), "--home", str(home)])


def main() -> None:
    """Run it, say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--home", type=Path, default=ROOT / ".automl", help="has MNIST")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _child(given.trials, given.workers, given.home)
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        home = Home(Path(root) / "home")
        prepare_small(prepare(RunConfig(dataset="mnist"), Home(given.home.absolute())), home)
        found = watch(home, given.trials, given.workers, Path(root) / "run.log")
    print(json.dumps(asdict(found), indent=1))


if __name__ == "__main__":
    main()
