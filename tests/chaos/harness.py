"""Kills random processes of real runs at random moments, and checks that nothing was lost.

    python tests/chaos/harness.py --kills 100

Each round runs `automl run` with the name of the round before, kills one process of it (the run
itself, a training, the forkserver, Auto-PyTorch's worker, Prefect's server, MLflow's server, …)
with SIGKILL, waits for all of it to end, and holds the engines' storages, MLflow and the files
against what was there before. The tenth kill is of the run while it trains, and a run that nobody
disturbs ends the study; then everything must be there without any repair, and the next one begins.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from mlflow_server import MlflowServer  # noqa: E402
from processes import MARK, MLFLOW, end, family, kind_of  # noqa: E402
from promises import Broken, Promises  # noqa: E402
from small_mnist import prepare_small  # noqa: E402

from flows.prefect_server import LocalServer  # noqa: E402
from pipeline_lib.config import RunConfig  # noqa: E402
from pipeline_lib.data.source import prepare  # noqa: E402
from pipeline_lib.home import Home  # noqa: E402

_END_SECONDS = 600.0  # a run that lost a process must have ended by then; long, for a busy machine
_AWAY_SECONDS = 3.0  # from the death of MLflow's server until somebody starts it again
NOBODY = "nobody"
"""The victim of a round whose run ended before its moment came; it is no kill."""
_ENGINES = {"optuna": ("20s", 3), "all": ("30s", 2)}
"""What runs are asked for, by engine: seconds and search trials of each engine."""
_SHORTEST = {"optuna": 15.0, "all": 30.0}
"""Seconds within which the first kills come, by engine; later ones as far as a whole run went."""


class Chaos:
    """Studies that are run, killed and run again, in one home."""

    def __init__(
        self, home: Home, engines: Home, seed: int, say: Callable[[str], None] = print
    ) -> None:
        self.home = home
        self.say = say
        self.random = random.Random(seed)
        self.token = f"{os.getpid()}-{seed}"
        self.victims: Counter[str] = Counter()
        self.longest = dict(_SHORTEST)  # how long a run lasts, by engine
        self.mlflow = MlflowServer(home.root.parent, home.mlflow_database)
        self.prefect_url = ""
        prepare_small(prepare(RunConfig(dataset="mnist"), engines), home)
        if engines.engines.is_dir():
            home.engines.symlink_to(engines.engines)

    @contextmanager
    def servers(self) -> Iterator[None]:
        """A Prefect server that many runs share while it is no victim."""
        with LocalServer(Home(self.home.root.parent / "warm")) as server:
            self.prefect_url = server.wait_until_healthy(_END_SECONDS)
            try:
                yield
            finally:
                end(self.token)
                self.mlflow.kill()
        server.release()

    def study(self, name: str, engine: str, kills: int) -> int:
        """One study: so many kills, then a run that ends; how many trials it has."""
        promises = Promises(self.home, name)
        wanted = self.victims.total() + kills
        while self.victims.total() < wanted - 1:
            self._round(promises, engine)
        while self.victims.total() < wanted:
            self._interrupt(promises.name, engine)
        code = self.start(name, engine, own_server=False).wait(600)
        self.wait_for_the_others(NOBODY)
        if code != 0:
            raise Broken(f"an undisturbed run ended with {code}:\n{self.log()}")
        promises.check(repair=False)
        with (self.home.run(name) / "leaderboard.csv").open() as file:
            rows = list(csv.DictReader(file))
        shown = Counter((row["engine"], int(row["trial"])) for row in rows)
        if shown != Counter(promises.known.keys()):
            raise Broken("the leaderboard does not hold every trial once")
        self.say(f"{name}: nothing lost, {len(shown)} trials")
        return len(shown)

    def _round(self, promises: Promises, engine: str) -> None:
        """Start, kill, wait, check. A third of the runs has a Prefect server of its own.

        Trainings are short here: a third of the moments is put off until there is one.
        """
        own_server = self.random.random() < 0.3
        served = self.home.mlflow_database.exists() and self.random.random() < 0.3
        hunted = self.random.random() < 0.3
        if served:
            self.mlflow.start()
        process = self.start(promises.name, engine, own_server, self.mlflow.url if served else "")
        began = time.monotonic()
        moment = self.random.uniform(1.0, self.longest[engine])
        while time.monotonic() - began < moment and process.poll() is None:
            time.sleep(0.05)
        if hunted:
            self._wait_for_a_training(process)
        victim = NOBODY if process.poll() is not None else self._kill_one(served)
        if victim != NOBODY:
            self.victims[victim] += 1
        if victim == MLFLOW:
            time.sleep(_AWAY_SECONDS)
            self.mlflow.start()
        try:
            code = process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            raise Broken(
                f"no end after {victim} was killed at {moment:.1f} s:\n{self.log()}"
            ) from None
        took = time.monotonic() - began
        if code == 0 and victim != MLFLOW:
            self.longest[engine] = took
        self.wait_for_the_others(victim)
        if code not in (0, -9) and "Traceback" in self.log():
            raise Broken(f"a traceback after {victim} was killed at {moment:.1f} s:\n{self.log()}")
        count = promises.check(repair=True)
        last = (self.log().strip().splitlines() or ["nothing"])[-1]
        said = "" if code in (0, -9) else f": {last[:200]}"
        self.say(
            f"{promises.name} {moment:5.1f} s  {victim:<24} exit {code:>3} after {took:5.1f} s, "
            f"{count} trials{said}"
        )

    def _interrupt(self, name: str, engine: str) -> None:
        """Kill a run while it trains; what it leaves is the next one's to mend, without `sync`."""
        process = self.start(name, engine, own_server=False)
        self._wait_for_a_training(process)
        if process.poll() is None:
            process.kill()
            self.victims["run"] += 1
        process.wait()
        self.wait_for_the_others("run")

    def _wait_for_a_training(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            if any(kind_of(each).endswith("training") for each in family(self.token)):
                return

    def start(
        self, name: str, engine: str, own_server: bool, mlflow_url: str = ""
    ) -> subprocess.Popen[bytes]:
        """A run, begun or continued, that the harness knows the processes of."""
        budget, trials = _ENGINES[engine]
        command = [sys.executable, str(Path(__file__).with_name("victim.py")), "run", "mnist"]
        command += ["--engine", engine, "--budget", budget, "--trials", str(trials)]
        command += ["--workers", "2", "--first-rung", "100"]
        command += ["--name", name, "--home", str(self.home.root)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        environment |= {MARK: self.token, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": mlflow_url}
        environment["PYTHONPATH"] = str(ROOT)
        if not own_server:
            environment |= {"PREFECT_API_URL": self.prefect_url}
            environment |= {"PREFECT_HOME": str(self.home.prefect)}
        with (self.home.root.parent / "run.log").open("wb") as output:
            return subprocess.Popen(
                command,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.home.root.parent,
            )

    def log(self) -> str:
        """The end of what the last run said."""
        return (self.home.root.parent / "run.log").read_text(errors="replace")[-6000:]

    def _kill_one(self, served: bool) -> str:
        """Kill a process of the kind that was killed least so far."""
        kinds = {process: kind_of(process) for process in family(self.token)}
        choices = sorted({*kinds.values(), *([MLFLOW] if served else [])})
        if not choices:
            return NOBODY
        chosen = min(choices, key=lambda kind: (self.victims[kind], self.random.random()))
        if chosen == MLFLOW:
            self.mlflow.kill()
            return chosen
        victim = self.random.choice([p for p, kind in kinds.items() if kind == chosen])
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return NOBODY
        return chosen

    def wait_for_the_others(self, victim: str) -> None:
        """Until no process of a run is left; raises Broken where some stay."""
        limit = time.monotonic() + _END_SECONDS
        while left := family(self.token):
            if time.monotonic() > limit:
                names = [f"{process.pid} {kind_of(process)}" for process in left]
                raise Broken(f"processes left behind after {victim} was killed: {names}")
            time.sleep(0.1)


def main() -> None:
    """Run the studies that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=[*_ENGINES, "mixed"], default="mixed")
    parser.add_argument("--home", type=Path, default=ROOT / ".automl", help="has data and engines")
    parser.add_argument("--keep", type=Path, help="work in this directory, and leave it")
    given = parser.parse_args()
    place = nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory()
    with place as root:
        home = Home(Path(root).absolute() / "home")
        home.root.mkdir(parents=True)
        chaos = Chaos(home, Home(given.home.absolute()), given.seed, lambda s: print(s, flush=True))
        trials = 0
        with chaos.servers():
            for number, first in enumerate(range(0, given.kills, 10)):
                engine = (
                    ("optuna", "all")[number % 4 == 3] if given.engine == "mixed" else given.engine
                )
                kills = min(10, given.kills - first)
                trials += chaos.study(f"chaos-{number}-{engine}", engine, kills)
                print(f"killed so far: {dict(chaos.victims)}", flush=True)
        print(f"nothing lost: {trials} trials; killed: {dict(chaos.victims)}")


if __name__ == "__main__":
    main()
