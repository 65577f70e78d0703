"""The Prefect server that a run starts, as a process of its own; see `prefect_server`.

Arguments: the descriptors of its socket and of its lock, and the file that every run holds.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path

from flows import auth
from pipeline_lib.files import acquire, locked
from pipeline_lib.isolation import ignore_signals
from pipeline_lib.training.memory import tune_process

_QUIET_SECONDS = 3.0


def _serve(listener: int, lock: int, users: Path) -> None:
    """Be the server on an open socket, with its lock, until nobody holds `users` any more."""
    tune_process()
    import uvicorn
    from prefect.server.api.server import create_app

    inherited = socket.socket(fileno=listener)
    host, port = inherited.getsockname()
    app = auth.Guard(create_app(ephemeral=True, final=True), host, port)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5, lifespan="on")
    )

    ignore_signals()
    server.capture_signals = nullcontext  # type: ignore[method-assign]  # a run that finishes needs it

    def end_when_unused() -> None:
        users_lock = None
        with suppress(FileNotFoundError):  # its home is gone, and so is whoever used it
            while users_lock is None:
                with locked(users):  # as soon as nobody uses it
                    pass
                _wait_until_written(users.with_name("prefect.db-wal"))
                users_lock = acquire(users)
        server.should_exit = True
        os.close(lock)  # before `users`, so that a run that waits for it finds no server
        if users_lock is not None:
            os.close(users_lock)

    threading.Thread(target=end_when_unused, daemon=True).start()
    server.run(sockets=[inherited])


def _wait_until_written(write_ahead_log: Path) -> None:
    """Events are written some time after they were accepted, and lost when the server ends."""
    last, seen = time.monotonic(), 0.0  # its times are the wall's, which may have been set back
    while time.monotonic() - last < _QUIET_SECONDS:
        time.sleep(0.2)
        if write_ahead_log.exists() and (changed := write_ahead_log.stat().st_mtime) != seen:
            last, seen = time.monotonic(), changed


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
