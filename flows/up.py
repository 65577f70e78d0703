"""`automl up`: the servers and the worker, in the foreground, until Ctrl-C."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import NoReturn

from flows import auth
from flows.addresses import is_healthy, prefect_command
from flows.deployments import PROJECT, presets
from flows.prefect_api import POOL, RUN_SETTINGS, PrefectApi
from flows.prefect_server import answers, claim, client_settings, deciding, last_lines
from flows.settings import without_mlflow, without_prefect
from flows.subprocesses import Child, Children, Program
from pipeline_lib.errors import ServerError, Stopped
from pipeline_lib.home import Home
from pipeline_lib.isolation import reach_loopback_directly
from pipeline_lib.run.stopping import end_process, stoppable
from pipeline_lib.tracking.address import check_address, without_password
from pipeline_lib.tracking.store import UI_VARIABLE, server_named
from pipeline_lib.tracking.templates import begin_with_template

_PAGE_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # links to runs open V1, and V2 asks for analytics
}
_START_LIMIT_SECONDS = 600.0  # a busy machine is no failure
_STEADY_SECONDS = 600.0
_WORKER = "Prefect worker"


def up(
    home: Home, host: str = "127.0.0.1", prefect_port: int = 4200, mlflow_port: int = 5000
) -> None:
    """Run Prefect's server and worker and the MLflow server until Ctrl-C, SIGTERM or SIGHUP.

    Raises:
        ConfigurationError: prefect.yaml does not list deployments.
        ServerError: A port is taken, `host` is no loopback address and there is no password, this
            home is up already, or a server ended again and again. What was started is stopped.
    """
    presets()
    auth.check_host(host, auth.password())
    check_address(home)
    ports = {"Prefect server": ("--prefect-port", prefect_port)}
    if server_named() is None:
        ports["MLflow server"] = ("--mlflow-port", mlflow_port)
    _refuse_taken_ports(host, ports)
    home.ensure_writable()
    with ExitStack() as stack, stoppable(end=end_process, grace_seconds=None) as stop:
        stack.enter_context(_claimed(home, f"http://{host}:{prefect_port}/api"))
        session = _Session(home, host, prefect_port, mlflow_port, stop)
        stack.callback(session.stop)
        with suppress(Stopped):
            session.start()
            session.say_what_next()
            session.watch()
        session.say("\nstopping …")


class _Session:
    """What one `automl up` runs."""

    def __init__(
        self,
        home: Home,
        host: str,
        prefect_port: int,
        mlflow_port: int,
        asked_to_stop: threading.Event,
    ) -> None:
        from rich.console import Console

        self.home = home
        self.host = host
        self.prefect_port = prefect_port
        self.mlflow_port = mlflow_port
        self.asked_to_stop = asked_to_stop
        self.prefect_url = f"http://{host}:{prefect_port}"
        server = server_named()
        self.mlflow_url = without_password(server) if server else f"http://{host}:{mlflow_port}"
        self.environment = self._environment()
        self.api = PrefectApi(f"{self.prefect_url}/api", auth.authorization(self.environment))
        self.children = Children()
        self.started_again: dict[str, float] = {}
        self.console = Console(soft_wrap=True, highlight=False)
        self.say = self.console.print

    def _environment(self) -> dict[str, str]:
        inherited = without_prefect()
        reach_loopback_directly(inherited, self.host)
        others = {k: v for k, v in inherited.items() if not k.startswith("AUTOML_PASSWORD")}
        return {
            **others,
            **client_settings(self.home, f"{self.prefect_url}/api"),
            "AUTOML_HOME": str(self.home.root),
            UI_VARIABLE: self.mlflow_url,
            **RUN_SETTINGS,
            **_PAGE_SETTINGS,
            "PREFECT_SERVER_API_HOST": self.host,
            "PREFECT_SERVER_API_PORT": str(self.prefect_port),
        }

    def start(self) -> None:
        """Start everything; what one needs of another is up before it."""
        self._start_prefect_server()
        self._wait("Prefect server", lambda: answers(self.api.url))
        self.api.close_open_runs("CRASHED", "Its worker was killed.")
        self.api.keep_last_missed_night()
        self.api.call_silent_runs_crashed()
        self._start_worker()
        is_ours = server_named() is None
        if is_ours:
            self._start_mlflow()
        self._wait(_WORKER, lambda: self.api.has(f"work_pools/{POOL}"))
        self._deploy()
        if is_ours:
            self._wait("MLflow server", lambda: is_healthy(f"{self.mlflow_url}/health"))

    def watch(self) -> None:
        """Until this is to stop; start what was killed again, and raise when that does not help."""
        while True:
            child = self.children.ended()
            if child is not None:
                self._start_again(child)
            self._pause(0.5)

    def _pause(self, seconds: float) -> None:
        """Wait a moment.

        Raises:
            Stopped: A signal came.
        """
        if self.asked_to_stop.wait(seconds):
            raise Stopped("automl up", "stopped")

    def stop(self) -> None:
        """Stop everything in the reverse order, and say in Prefect what became of its runs."""
        self.children.end_below(_WORKER)  # it would kill its runs; they have to say how they ended
        self.children.stop(keep=1)
        with suppress(ServerError):  # the server may be what ended; the next start closes them then
            self.api.close_open_runs("CANCELLED", "automl up was stopped.")
        self.children.close()

    def say_what_next(self) -> None:
        """Print the addresses, and how to start a run."""
        prefect = prefect_command(self.api.url)
        self.say("\n[bold]automl is up[/]")
        self.say(f"  Prefect  [link]{self.prefect_url}[/]  runs, schedules, logs")
        self.say(f"  MLflow   [link]{self.mlflow_url}[/]  trials, curves, models")
        if auth.authorization(self.environment):
            self.say(
                f"  user     {auth.USER}; Prefect's page asks for {auth.USER}:PASSWORD at once"
            )
            prefect = f'PREFECT_API_AUTH_STRING="{auth.USER}:$AUTOML_PASSWORD" {prefect}'
        self.say("\nIn a second terminal, in any directory:")
        self.say(f"  {prefect} deployment run automl/mnist --watch", markup=False)
        self.say(f"  {prefect} deployment run automl/mnist --param budget_seconds=60", markup=False)
        self.say("\nCtrl-C stops everything.")

    def _start_prefect_server(self) -> None:
        begin_with_template("prefect", self.home.prefect / "prefect.db")
        command = ["flows.auth", self.host, str(self.prefect_port)]
        self._start("Prefect server", command, "server.log")

    def _start_worker(self) -> None:
        command = ["prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        self._start(_WORKER, [*command, "--name", "automl up"], "worker.log")

    def _start_mlflow(self) -> None:
        self.home.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
        command = ["mlflow", "--env-file", str(PROJECT / "mlflow" / "server.env"), "server"]
        store = self.environment.get("MLFLOW_TRACKING_URI")
        command += ["--backend-store-uri", store or f"sqlite:///{self.home.mlflow_database}"]
        if registry := self.environment.get("MLFLOW_REGISTRY_URI"):
            command += ["--registry-store-uri", registry]
        command += ["--artifacts-destination", str(self.home.mlflow_artifacts)]
        command += ["--host", self.host, "--port", str(self.mlflow_port)]
        names = {self.host, *auth.LOOPBACK_NAMES}
        command += ["--allowed-hosts", ",".join(f"{name},{name}:*" for name in sorted(names))]
        command += ["--app-name", "automl"]
        mlflow_auth = auth.mlflow_settings(self.home, self.host, self.mlflow_port)
        settings = {**without_mlflow(self.environment), **mlflow_auth}
        self._start("MLflow server", command, "../mlflow/server.log", settings)

    def _deploy(self) -> None:
        """Register what prefect.yaml lists."""
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        log = self.home.prefect / "deploy.log"
        with log.open("wb") as output, self.console.status("deployments …"):
            deploying = subprocess.Popen(
                command,
                env=self.environment,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while deploying.poll() is None:
                    self._pause(0.1)
            finally:
                deploying.kill()
                deploying.wait()
        if deploying.returncode:
            problem = f"could not be registered:\n{last_lines(log)}"
            raise ServerError("deployments", problem, remedy=f"all that was said is in {log}")
        self.say("[green]ready[/]  deployments")

    def _start(
        self, name: str, command: list[str], log: str, settings: Mapping[str, str] | None = None
    ) -> None:
        program = Program(
            name,
            [sys.executable, "-m", *command],
            self.home.prefect / log,
            self.environment if settings is None else settings,
            self.home.prefect,
        )
        self.children.start(program)

    def _start_again(self, child: Child) -> None:
        """Once in ten minutes: what ends more often than that is broken."""
        name, now = child.program.name, time.monotonic()
        if now - self.started_again.get(name, -math.inf) < _STEADY_SECONDS:
            _refuse_the_dead(child)
        self.started_again[name] = now
        self.say(f"[yellow]again[/]  {name} had ended with exit code {child.process.returncode}")
        self.children.start_again(child)

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        begin = time.monotonic()
        if not self.console.is_terminal:
            self.say(f"{name} …")
        with self.console.status(f"{name} …"):
            while not ready():
                child = self.children.ended()
                if child is not None:
                    _refuse_the_dead(child)
                if time.monotonic() - begin > _START_LIMIT_SECONDS:
                    remedy = f"the logs are in {self.home.prefect}"
                    raise ServerError(name, "does not get ready", remedy=remedy)
                self._pause(0.1)
        self.say(f"[green]ready[/]  {name}")


def _refuse_the_dead(child: Child) -> NoReturn:
    log = child.program.log
    problem = f"ended with exit code {child.process.returncode}:\n{last_lines(log)}"
    raise ServerError(child.program.name, problem, remedy=f"all it said is in {log}")


def _refuse_taken_ports(host: str, ports: dict[str, tuple[str, int]]) -> None:
    with ExitStack() as stack:
        for name, (flag, port) in ports.items():
            try:
                stack.enter_context(socket.create_server((host, port)))
            except OSError as error:
                problem = f"cannot listen on its port ({error.strerror})"
                remedy = f"choose another with {flag}"
                raise ServerError(name, problem, value=port, remedy=remedy) from error


@contextmanager
def _claimed(home: Home, api_url: str) -> Iterator[None]:
    """Be the one `automl up` of this home, and let its runs know the address."""
    record = home.prefect / "up"
    with deciding(home):
        lock = claim(record)
        if lock is None:
            address = record.read_text(encoding="utf-8").removesuffix("/api")
            remedy = "use it, stop it first, or choose another --home"
            raise ServerError("home", "is up already", value=address, remedy=remedy)
        os.write(lock, api_url.encode())
    try:
        yield
    finally:
        os.close(lock)
