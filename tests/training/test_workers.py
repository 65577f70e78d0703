"""Workers as real processes: a rung at each request, and every way that they can end."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline_lib.errors import TrialFailure
from pipeline_lib.families.family import Family
from pipeline_lib.models.convnet import design, multiply_adds
from pipeline_lib.models.saved import build_model, load_model
from pipeline_lib.training.processes import start as start_process
from pipeline_lib.training.workers import TrialJob, TrialWorker, warm_up

pytestmark = pytest.mark.slow

CONVNET = {
    "multiply_adds": 2e5, "stem": "stride", "stem_kernel": 5, "conv3": 0.0, "padding": "valid",
    "fc": 0, "dropout": 0.1, "optimizer": "adamw", "lr": 1e-2, "weight_decay": 2e-2,
    "batch_size": 64, "label_smoothing": 0.05, "augmentation": "shift",
}  # fmt: skip
LONG = 10**8  # samples: hours


@pytest.fixture(scope="module", autouse=True)
def warm():
    warm_up()


@pytest.fixture
def job(tiny_data, tmp_path):
    return TrialJob(Family("convnet"), CONVNET, tiny_data, 7, tmp_path / "model")


@pytest.fixture
def start():
    """Starts workers, and ends them whatever the test does."""
    started = []

    def start_one(job):
        started.append(TrialWorker(job))
        return started[-1]

    yield start_one
    for worker in started:
        if not worker.connection.closed:
            worker.close()


def process_of(worker):
    return psutil.Process(worker._process.pid)


def until_busy(worker):
    """Wait until the worker spends CPU time of its own on training."""
    process = process_of(worker)
    began = sum(process.cpu_times()[:2])
    while sum(process.cpu_times()[:2]) < began + 0.3:
        time.sleep(0.05)


def test_a_worker_climbs_rung_by_rung(job, start):
    worker = start(job)
    for samples in (100, 300):
        worker.request(samples)
        rung = worker.receive()
        assert rung.samples == samples
        assert rung.curve[-1].value == rung.value
    architecture = design(CONVNET, (1, 28, 28), 10)
    assert worker.size.multiply_adds == multiply_adds(architecture)
    assert worker.size.parameters == sum(p.numel() for p in build_model(architecture).parameters())
    kept = load_model(job.directory).parameters()
    assert sum(p.numel() for p in kept) == worker.size.parameters


def test_two_workers_with_one_seed_agree_to_the_last_bit(job, start, tmp_path):
    jobs = [replace(job, directory=tmp_path / name) for name in "ab"]
    workers = [start(each) for each in jobs]
    for worker in workers:
        worker.request(500)
    first, second = (replace(worker.receive(), seconds=0.0) for worker in workers)
    assert first == second
    weights = [(each.directory / "weights.safetensors").read_bytes() for each in jobs]
    assert weights[0] == weights[1]


def test_a_worker_computes_in_one_thread_of_a_process_from_the_forkserver(job, start):
    worker = start(job)
    worker.request(LONG)
    until_busy(worker)
    process = process_of(worker)
    spent = sorted(thread.user_time for thread in process.threads())
    assert sum(spent[:-1]) <= 0.1 * spent[-1]
    assert process.ppid() != os.getpid()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
def test_a_worker_that_is_killed_is_a_reason(job, start, number):
    worker = start(job)
    worker.request(LONG)
    until_busy(worker)
    os.kill(worker._process.pid, number)
    with pytest.raises(TrialFailure, match=f"killed by {number.name}") as caught:
        worker.receive()
    assert ("out of memory" in str(caught.value)) == (number == signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_wish_to_stop_is_the_parents_to_handle(job, start, number):
    """A terminal sends it to every process in its foreground, systemd to every one of a unit."""
    worker = start(job)
    worker.request(LONG)
    until_busy(worker)
    os.kill(worker._process.pid, number)
    until_busy(worker)
    assert process_of(worker).status() != psutil.STATUS_ZOMBIE


def test_threads_that_start_workers_leave_the_main_module_in_place():
    """One begins while the other starts, and ends after it, if it may."""
    second_starts, first_ended = threading.Event(), threading.Event()

    class First:
        def start(self):
            second_starts.wait(0.5)

    class Second:
        def start(self):
            second_starts.set()
            first_ended.wait(5)

    main = sys.modules["__main__"]
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(start_process, First())
        first.add_done_callback(lambda _: first_ended.set())
        threads.submit(start_process, Second())
    assert sys.modules["__main__"] is main


def test_a_worker_whose_forkserver_is_killed_as_it_starts_comes_from_another(job, start):
    forkserver = process_of(start(job)).parent()
    forkserver.suspend()  # so that the next start waits for it
    killing = threading.Timer(1.0, forkserver.kill)
    killing.start()
    worker = start(job)
    killing.join()
    assert process_of(worker).parent() != forkserver
    worker.request(100)
    assert worker.receive().samples == 100


def test_asking_a_dead_worker_is_no_error_until_its_answer_is_wanted(job, start):
    worker = start(job)
    process = process_of(worker)
    process.kill()
    process.wait(30)
    for _ in range(3):
        worker.request(100)
    with pytest.raises(TrialFailure, match="SIGKILL"):
        worker.receive()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"optimizer": "sgd", "lr": 1e30, "weight_decay": 0.0}, "diverged"),
        ({"batch_size": 0}, "split|range|positive|ZeroDivision|ValueError|RuntimeError"),
        ({"label_smoothing": 7.0}, "label_smoothing"),
    ],
)
def test_a_training_that_fails_says_why_in_one_line(job, start, changes, reason):
    worker = start(replace(job, configuration=CONVNET | changes))
    worker.request(2000)
    with pytest.raises(TrialFailure, match=reason) as caught:
        worker.receive()
    assert "\n" not in str(caught.value)
    assert not job.directory.exists()


def test_data_that_is_gone_is_a_reason(job, start, tmp_path):
    gone = replace(job.split, source=replace(job.split.source, directory=tmp_path / "gone"))
    worker = start(replace(job, split=gone))
    worker.request(100)
    with pytest.raises(TrialFailure, match=r"gone/search/train_images\.npy"):
        worker.receive()


def test_closing_ends_the_process_whatever_it_does(job, start):
    busy, idle = start(job), start(job)
    busy.request(LONG)
    until_busy(busy)
    processes = [process_of(worker) for worker in (busy, idle)]
    for worker in (busy, idle):
        worker.close()
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive


def test_a_worker_whose_parent_hangs_up_ends_by_itself(job, start):
    worker = start(job)
    worker.request(100)
    worker.receive()
    process = process_of(worker)
    worker.connection.close()
    process.wait(30)


def test_the_main_module_is_as_it_was_and_not_run_again_by_workers(tmp_path):
    """Under Prefect the main module is its engine: running it again costs seconds a trial."""
    script = tmp_path / "main.py"
    script.write_text(
        "import os, sys\n"
        "print('main runs', flush=True)\n"
        "from pipeline_lib.training import workers\n"
        "if __name__ == '__main__':\n"
        "    main = sys.modules['__main__']\n"
        "    workers.warm_up()\n"
        "    assert sys.modules['__main__'] is main\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("main runs") == 1


_ORPHAN = """
import pickle, sys
from pipeline_lib.training.workers import TrialWorker
job = pickle.loads(bytes.fromhex(sys.argv[1]))
if __name__ == "__main__":
    worker = TrialWorker(job)
    worker.request(10**8)
    print(worker._process.pid, flush=True)
    worker.receive()
"""


def test_a_worker_whose_parent_is_killed_ends_in_the_middle_of_a_rung(job):
    command = [sys.executable, "-c", _ORPHAN, pickle.dumps(job).hex()]
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    with parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        while sum(worker.cpu_times()[:2]) < 1.0:
            time.sleep(0.05)
        parent.kill()
    _, alive = psutil.wait_procs([worker], timeout=60)
    for process in alive:
        process.kill()
    assert not alive
