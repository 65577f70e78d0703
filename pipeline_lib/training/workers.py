"""One process per running trial: start it, hear its rungs, end it.

Workers come from a forkserver that has torch loaded, so a start costs milliseconds and shares
memory. They only train: the parent owns the study. Both ends speak JSON, so nothing a worker sends
is unpickled. A worker that is killed, crashes or hangs is a reason, never an exception.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_lib.errors import AutomlError, TrialFailure
from pipeline_lib.isolation import ignore_signals
from pipeline_lib.training.device import Device, choose
from pipeline_lib.training.memory import limit_memory
from pipeline_lib.training.processes import CONTEXT, end_with_parent, start
from pipeline_lib.training.recipe import Recipe
from pipeline_lib.training.size import Size, size_of
from pipeline_lib.trial import Configuration, Rung

if TYPE_CHECKING:  # numpy would keep the forkserver from starting
    from pipeline_lib.data.splits import Split


WORKER = "worker"
"""Where a training failed, if not in the code of a user's family."""

_JOIN_SECONDS = 5.0
_first = threading.Lock()
_log = logging.getLogger("automl")
_NO_MEMORY = ("can't allocate memory", "bad_alloc")  # how torch words it, in a RuntimeError


@dataclass(frozen=True)
class TrialJob:
    """What a worker needs to train one configuration."""

    family: Recipe
    configuration: Configuration
    split: Split
    seed: int
    directory: Path  # where the weights of the last rung are kept
    seconds: float = 3600.0  # for one rung
    memory: int = 2048  # MiB beyond what the process starts with


def warm_up() -> Device:
    """Start the forkserver, so that torch loads; what trainings run on, chosen once a run."""
    with _first:
        return _choose_device()


@cache
def _choose_device() -> Device:
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_tell_device, args=(theirs,))
    start(process)
    theirs.close()
    device, refused = Device(), "the process that was to choose was killed"
    with suppress(EOFError):
        said = json.loads(ours.recv_bytes())
        device, refused = Device(**said["device"]), said["refused"]
    process.join()
    if refused:
        _log.warning("trainings run on %s: %s", device, refused)
    return device


class TrialWorker:
    """A process that trains one configuration, a rung at each request."""

    def __init__(self, job: TrialJob) -> None:
        self.connection, theirs = CONTEXT.Pipe()
        self.size: Size | None = None
        device = warm_up()
        self._limit = job.seconds
        self._asked = time.monotonic()
        self._process: ForkServerProcess = CONTEXT.Process(
            target=_work, args=(theirs, job, device), daemon=True
        )
        start(self._process)
        theirs.close()

    def request(self, samples: int, seconds: float | None = None) -> None:
        """Ask for a rung at this fidelity, in so many seconds; `connection` tells when it ends."""
        self._asked = time.monotonic()
        with suppress(OSError):  # It died; `receive` tells of what.
            self.connection.send_bytes(
                json.dumps({"samples": samples, "seconds": seconds}).encode()
            )

    @property
    def is_overdue(self) -> bool:
        """Whether the rung asked for takes longer than it may."""
        return time.monotonic() - self._asked > self._limit

    def pace(self) -> float:
        """Seconds that a sample takes to train on.

        Raises:
            TrialFailure: The training failed or its process ended, with the reason.
        """
        with suppress(OSError):
            self.connection.send_bytes(json.dumps({"pace": True}).encode())
        return float(self._message()["pace"])

    def receive(self) -> Rung:
        """The rung that was asked for.

        Raises:
            TrialFailure: The training failed or its process ended, with the reason.
        """
        message = self._message()
        self.size = Size(**message["size"])
        return Rung.thaw(message["rung"])

    def _message(self) -> dict[str, Any]:
        try:
            message: dict[str, Any] = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise TrialFailure(WORKER, self._obituary()) from None
        if "failed" in message:
            raise TrialFailure(message["where"], message["failed"])
        return message

    def _obituary(self) -> str:
        self._process.join(_JOIN_SECONDS)
        code = self._process.exitcode
        if code is not None and code < 0:
            hint = " (out of memory?)" if code == -signal.SIGKILL else ""
            return f"its process was killed by {signal.Signals(-code).name}{hint}"
        return f"its process ended with exit code {code}"

    def close(self) -> None:
        """End the process, whatever it does."""
        self.connection.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def seconds_per_sample(job: TrialJob) -> float | None:
    """What a training takes for one sample, timed on a few batches; None where it fails."""
    worker = TrialWorker(job)
    try:
        return worker.pace()
    except TrialFailure:  # the trials will say why
        return None
    finally:
        worker.close()


def _tell_device(connection: Connection) -> None:
    """What the first process does: by then the forkserver has loaded torch."""
    from pipeline_lib.training.loop import use_one_thread

    ignore_signals()
    use_one_thread()
    device, refused = choose()
    with suppress(BrokenPipeError):  # the run that asked has ended
        connection.send_bytes(json.dumps({"device": asdict(device), "refused": refused}).encode())


class _ParentGone(Exception):
    """Nobody waits for this training any more."""


def _work(connection: Connection, job: TrialJob, device: Device) -> None:
    ignore_signals()
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        if device.kind == "cpu":  # an accelerator's driver maps more than it takes
            limit_memory(job.memory)
        _train(connection, job, device)
    except (EOFError, BrokenPipeError, _ParentGone):
        return
    except (AutomlError, MemoryError, RuntimeError, ValueError, OSError) as error:
        _say_why(connection, job, error)
    except Exception as error:  # Of a mistake in our code the trace goes to the log as well.
        _say_why(connection, job, error)
        if not job.family.place(error):
            raise


def _say_why(connection: Connection, job: TrialJob, error: Exception) -> None:
    reason = str(error).splitlines()[0] if str(error) else ""
    text = reason if isinstance(error, AutomlError) else f"{type(error).__name__}: {reason}"
    if isinstance(error, MemoryError) or any(sign in reason for sign in _NO_MEMORY):
        text = f"needs more than {job.memory} MiB (trial_memory): {text}"
    told = {"failed": text, "where": job.family.place(error) or WORKER}
    connection.send_bytes(json.dumps(told).encode())


def _train(connection: Connection, job: TrialJob, device: Device) -> None:
    from pipeline_lib.models import saved as models
    from pipeline_lib.training.loop import Training, use_one_thread

    use_one_thread()

    def check() -> None:
        if connection.poll():  # The parent says nothing during a rung: this is its end.
            raise _ParentGone

    problem = job.split.problem
    architecture = job.family.architecture(job.configuration, problem)
    training = Training(job.family, job.configuration, job.split, job.seed, check, device)
    size = asdict(size_of(training.model, problem.inputs))
    while True:
        asked = json.loads(connection.recv_bytes())
        if "pace" in asked:
            connection.send_bytes(json.dumps({"pace": training.pace()}).encode())
            continue
        rung = training.fit(**asked)
        models.save_model(training.model, architecture, job.directory)
        connection.send_bytes(json.dumps({"rung": asdict(rung), "size": size}).encode())
