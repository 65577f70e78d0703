"""What SIGINT, SIGTERM and SIGHUP do, and what the handlers leave alone."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.utilities.engine import capture_sigterm

from pipeline_lib.run.stopping import STOPPED, stoppable

ROOT = Path(__file__).parents[1]
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
PATIENCE = 30.0


@contextmanager
def handling(handler, *numbers):
    """Other handlers of these signals, as the program has that calls us."""
    before = {number: signal.signal(number, handler) for number in numbers or SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_wish_and_the_handlers_before_come_back(number):
    heard = []
    with handling(lambda number, frame: heard.append(number)):
        with stoppable() as stop:
            send(number)
            assert stop.wait(PATIENCE)
            assert heard == []
            send(number)
            assert heard == [number]
        send(number)
        assert heard == [number, number]


def test_an_ignored_signal_stays_ignored():
    with handling(signal.SIG_IGN, signal.SIGHUP), handling(lambda *_: None, signal.SIGTERM):
        with stoppable() as stop:
            send(signal.SIGHUP)
            assert not stop.wait(0.1)
            send(signal.SIGTERM)
            assert stop.wait(PATIENCE)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_prefects_handler_which_raises_is_not_in_force_meanwhile():
    with capture_sigterm():
        prefects = signal.getsignal(signal.SIGTERM)
        with stoppable(end=Ended()) as stop:
            send(signal.SIGTERM)
            assert stop.wait(PATIENCE)
        assert signal.getsignal(signal.SIGTERM) is prefects


class Interrupted(logging.Handler):
    """A signal comes while a line is written."""

    def __init__(self):
        super().__init__()
        self.open, self.reentered, self.lines = False, False, []

    def emit(self, record):
        self.reentered |= self.open
        self.open = True
        self.lines.append(record.getMessage())
        if len(self.lines) == 1:
            send(signal.SIGTERM)
        self.open = False


def test_nothing_is_logged_where_the_main_thread_may_log_itself():
    log, handler = logging.getLogger("automl"), Interrupted()
    log.addHandler(handler)
    try:
        with handling(lambda *_: None), stoppable() as stop:
            log.warning("a line")
            assert stop.wait(PATIENCE)
    finally:
        log.removeHandler(handler)
    assert handler.lines[0] == "a line"
    assert not handler.reentered


class Ended:
    """Takes down why the process would end."""

    def __init__(self):
        self.reasons, self.happened = [], threading.Event()

    def __call__(self, reason):
        self.reasons.append(reason)
        self.happened.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once_but_not_a_second_hangup(number):
    end = Ended()
    with handling(lambda *_: None), stoppable(end=end, grace_seconds=None) as stop:
        send(signal.SIGHUP)
        assert stop.wait(PATIENCE)
        send(signal.SIGHUP)
        assert not end.happened.wait(0.1)
        send(number)
        assert end.happened.wait(PATIENCE)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_grace_period_is_for_who_would_kill_next(number):
    ends = number != signal.SIGINT
    end = Ended()
    with handling(lambda *_: None), stoppable(end=end, grace_seconds=0.1) as stop:
        send(number)
        assert stop.wait(PATIENCE)
        assert end.happened.wait(PATIENCE if ends else 0.3) == ends


def test_a_run_that_has_nothing_ends_at_the_first_signal():
    end = Ended()
    with handling(lambda *_: None), stoppable(lambda: "nothing yet", end):
        send(signal.SIGTERM)
        assert end.happened.wait(PATIENCE)
    assert end.reasons == ["nothing yet"]
    with handling(lambda *_: None), stoppable(lambda: "", end) as stop:
        send(signal.SIGTERM)
        assert stop.wait(PATIENCE)
    assert end.reasons == ["nothing yet"]


_HUNG = """
import pathlib, sys, threading
from pipeline_lib.run import stopping

stopping.CLOSING_SECONDS = 0.5
lock, closing = threading.Lock(), pathlib.Path(sys.argv[1]).touch
lock.acquire()
end = lambda why: stopping.end_process(why, lock.acquire, closing)
with stopping.stoppable(lambda: "nothing yet", end):
    print("up", flush=True)
    lock.acquire()
"""


def test_a_process_whose_threads_hang_ends_with_its_closing_done(tmp_path):
    told = tmp_path / "told"
    process = subprocess.Popen(
        [sys.executable, "-c", _HUNG, str(told)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == STOPPED
    assert said == "nothing yet\n"
    assert told.exists()
