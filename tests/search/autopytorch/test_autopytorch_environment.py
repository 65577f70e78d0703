from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import pytest

from pipeline_lib.errors import EngineUnavailable
from pipeline_lib.home import Home
from pipeline_lib.search.autopytorch import environment, wheels


def test_a_missing_compiler_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt install g++" in (environment.missing() or "")
    with pytest.raises(EngineUnavailable, match=r"C\+\+ compiler .* apt install g\+\+"):
        environment.ensure(Home(tmp_path / "home"), print)
    assert not environment.is_ready(Home(tmp_path / "home"))


def test_missing_headers_are_named_with_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sysconfig.get_path
    monkeypatch.setattr(
        sysconfig, "get_path", lambda kind: str(tmp_path) if kind == "include" else real(kind)
    )
    expected = f"apt install python3.{sys.version_info.minor}-dev"
    assert expected in (environment.missing() or "")


def test_another_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_PYTHONS", ((3, 7),))
    assert (environment.missing() or "").startswith("Python 3.7 (this is ")


def test_nothing_is_ready_where_nothing_was_built(tmp_path: Path) -> None:
    assert not environment.is_ready(Home(tmp_path))


@pytest.mark.slow
def test_the_second_call_does_nothing(engine_home: Home) -> None:
    said: list[str] = []
    assert environment.ensure(engine_home, said.append) == environment.python(engine_home)
    assert said == []


@pytest.mark.slow
def test_a_changed_pin_is_not_ready(
    engine_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment.is_ready(engine_home)
    other = tmp_path / "requirements.lock"
    other.write_text(wheels.LOCK.read_text(encoding="utf-8").replace("0.2.1", "0.2.0"))
    monkeypatch.setattr(wheels, "LOCK", other)
    assert not environment.is_ready(engine_home)


@pytest.mark.slow
def test_a_build_that_was_killed_does_not_count(engine_home: Home, tmp_path: Path) -> None:
    """Everything but the fingerprint, which is written last, and a staging folder beside it."""
    home = Home(tmp_path)
    copied = environment.directory(home)
    (copied / "bin").mkdir(parents=True)
    environment.python(home).symlink_to(environment.python(engine_home))
    assert not environment.is_ready(home)
    (copied / "fingerprint.json").write_text(json.dumps(environment.fingerprint()))
    assert environment.is_ready(home)


@pytest.mark.slow
def test_the_pins_lie_over_our_own_packages_and_torch_comes_from_there(engine_home: Home) -> None:
    code = (
        "import numpy, torch, json; from pathlib import Path;"
        "print(json.dumps([numpy.__version__, numpy.__file__, torch.__file__]))"
    )
    command = [str(environment.python(engine_home)), "-c", code]
    version, numpy, torch = json.loads(subprocess.check_output(command, text=True))
    assert version == "1.26.4"
    assert Path(numpy).is_relative_to(environment.directory(engine_home))
    assert Path(torch).is_relative_to(sysconfig.get_path("purelib"))


def test_who_comes_second_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process holds the lock; what it built is then taken as it is."""
    home = Home(tmp_path)
    home.engines.mkdir(parents=True)
    said: list[str] = []
    with (home.engines / "autopytorch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Event()

        def listen(line: str) -> None:
            said.append(line)
            waiting.set()

        thread = threading.Thread(target=environment.ensure, args=(home, listen))
        thread.start()
        assert waiting.wait(30)
        place = environment.directory(home)
        (place / "bin").mkdir(parents=True)
        environment.python(home).symlink_to(sys.executable)
        (place / "fingerprint.json").write_text(json.dumps(environment.fingerprint()))
    thread.join(30)
    assert said == ["Auto-PyTorch: waiting for another process that is building its environment"]
