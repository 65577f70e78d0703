"""Kills random processes of real runs at random moments, and checks that nothing was lost.

    python tests/chaos/harness.py --kills 100

Each round starts `automl run` with the same name, kills one process of it (the run itself, a
training, the forkserver, Prefect's server, …) with SIGKILL, waits for all of it to end, and holds
the engine's storage, MLflow and the files against what was there before.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pipeline_lib.engines.optuna_storage import INTERRUPTED  # noqa: E402
from pipeline_lib.home import Home  # noqa: E402
from pipeline_lib.models import load_model  # noqa: E402
from pipeline_lib.sync import Begun, sync  # noqa: E402
from pipeline_lib.tracking import open_store  # noqa: E402
from pipeline_lib.tracking.recorder import runs_of_study  # noqa: E402
from pipeline_lib.tracking.trials import key_of  # noqa: E402
from pipeline_lib.trial import Trial, TrialState  # noqa: E402

MARK = "AUTOML_CHAOS"
NAME = "chaos"
_END_SECONDS = 120.0  # a run that lost a process must have ended by then, with all of its processes


class Broken(AssertionError):
    """A promise that does not hold."""


@dataclass
class Chaos:
    """One study that is run, killed and run again."""

    home: Home
    seed: int
    engine: str = "optuna"
    say: Callable[[str], None] = print
    longest: float = 60.0  # seconds: how long a run lasts, and so when it may be killed
    known: dict[tuple[str, int], Trial] = field(default_factory=dict)
    victims: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.token = f"{os.getpid()}-{self.seed}"

    def round(self) -> None:
        """Start, kill, wait, check."""
        process = self._start()
        began = time.monotonic()
        moment = self.random.uniform(0.5, self.longest)
        while time.monotonic() - began < moment and process.poll() is None:
            time.sleep(0.1)
        victim = self._kill_one()
        self.victims[victim] += 1
        try:
            code = process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._end_all()
            raise Broken(f"the run did not end after {victim} was killed") from None
        if victim == "nothing":
            self.longest = max(5.0, time.monotonic() - began)
        self._wait_for_the_others(victim)
        done = self._check()
        self.say(f"{moment:5.1f} s  {victim:<16} exit {code:>3}  {done} trials")

    def finish(self) -> None:
        """One run that nobody disturbs; then everything agrees."""
        process = self._start()
        if process.wait(600) != 0:
            raise Broken(f"an undisturbed run ended with {process.returncode}:\n{self._log()}")
        self._wait_for_the_others("nothing")
        self._check()
        with (self.home.run(NAME) / "leaderboard.csv").open() as file:
            rows = list(csv.DictReader(file))
        shown = Counter((row["engine"], int(row["trial"])) for row in rows)
        if shown != Counter(self.known.keys()):
            raise Broken("the leaderboard does not hold every trial once")

    def _start(self) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name("automl")), "run", "mnist"]
        command += [
            "--engine",
            self.engine,
            "--budget",
            "20s",
            "--trials",
            "3",
            "--workers",
            "2",
            "--name",
            NAME,
        ]
        log = self.home.root.parent / "run.log"
        with log.open("wb") as output:
            return subprocess.Popen(
                [*command, "--home", str(self.home.root)],
                env={**os.environ, MARK: self.token, "OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.home.root.parent,
            )

    def _log(self) -> str:
        return (self.home.root.parent / "run.log").read_text(errors="replace")[-2000:]

    def _family(self) -> list[psutil.Process]:
        """Every process that a run of ours started, however it was started."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARK) == self.token
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def _kill_one(self) -> str:
        family = self._family()
        if not family:
            return "nothing"
        kinds = {process: _kind(process) for process in family}
        chosen = self.random.choice(sorted(set(kinds.values())))  # kinds first: workers are many
        victim = self.random.choice([p for p, kind in kinds.items() if kind == chosen])
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return "nothing"
        return chosen

    def _wait_for_the_others(self, victim: str) -> None:
        limit = time.monotonic() + _END_SECONDS
        while left := self._family():
            if time.monotonic() > limit:
                names = [_kind(process) for process in left]
                self._end_all()
                raise Broken(f"processes left behind after {victim} was killed: {names}")
            time.sleep(0.2)

    def _end_all(self) -> None:
        for process in self._family():
            process.kill()

    def _check(self) -> int:
        """Hold storage, MLflow and files against each other; how many trials there are."""
        if not (self.home.study(NAME) / "run.json").exists():
            return 0
        sync(self.home, NAME)
        trials = [t for found in Begun.read(self.home, NAME).trials().values() for t in found]
        now = {(trial.engine, trial.number): trial for trial in trials}
        if len(now) != len(trials):
            raise Broken("a number is there twice in the storage")
        for key, trial in self.known.items():
            if now.get(key) != trial:
                raise Broken(f"a finished trial changed or is gone: {trial.label}")
        self._check_each(trials)
        runs = runs_of_study(open_store(self.home), NAME)
        recorded = [run for run in runs if run.data.tags.get("automl.role") == "trial"]
        keys = Counter(key_of(run.data.tags) for run in recorded)
        if keys != Counter((t.engine, str(t.number), t.stage) for t in trials):
            raise Broken("MLflow does not hold every trial once")
        if any(run.info.status == "RUNNING" for run in recorded):
            raise Broken("a trial of MLflow is not closed")
        self.known = now
        return len(now)

    def _check_each(self, trials: list[Trial]) -> None:
        tried = Counter(str(sorted(t.configuration.items())) for t in trials if t.stage == "search")
        for trial in trials:
            if trial.state is TrialState.FAILED and not trial.reason:
                raise Broken(f"{trial.label} failed without a reason")
            if trial.model is not None:
                load_model(trial.model)
            again = tried[str(sorted(trial.configuration.items()))]
            if trial.reason == INTERRUPTED and again > 2:
                raise Broken(f"{trial.label} was run again more than once")


def _kind(process: psutil.Process) -> str:
    try:
        command = " ".join(process.cmdline())
        parent = process.parent()
    except psutil.NoSuchProcess:
        return "gone"
    if "forkserver" in command:
        forked = parent is not None and "forkserver" in " ".join(parent.cmdline())
        return "training" if forked else "forkserver"
    kinds = {
        "resource_tracker": "resource tracker",
        "prefect_server": "Prefect server",
        "autopytorch": "Auto-PyTorch",
        "automl run": "run",
    }
    return next((kind for sign, kind in kinds.items() if sign in command), "helper")


def main() -> None:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="optuna")
    parser.add_argument("--data", type=Path, help="a directory with prepared data sets to share")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        home = Home(Path(root) / "home")
        home.root.mkdir()
        if given.data:
            home.data.symlink_to(given.data.absolute())
        chaos = Chaos(home, given.seed, given.engine)
        for number in range(given.kills):
            print(f"{number + 1:>4}", end="  ", flush=True)
            chaos.round()
        chaos.finish()
        print(f"nothing lost: {len(chaos.known)} trials; killed: {dict(chaos.victims)}")


if __name__ == "__main__":
    main()
