"""Auto-PyTorch's environment takes what was locked: each file is held against its hash."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline_lib.errors import EngineUnavailable
from pipeline_lib.search.autopytorch import environment, wheels
from pipeline_lib.search.autopytorch.wheels import Pin

CONTENT = b"a wheel"
NUMPY = Pin("numpy", "1.26.4", ("0" * 64, hashlib.sha256(CONTENT).hexdigest()))
ANY = "numpy-1.26.4-py3-none-any.whl"


def test_every_package_is_locked_with_the_hashes_of_its_files() -> None:
    asked = [
        line.lower()
        for line in wheels.LOCK.with_suffix(".in").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    locked = wheels.locked()
    assert sorted(str(pin) for pin in locked.values()) == sorted(asked)
    assert all(pin.hashes for pin in locked.values())
    assert {*wheels.SOURCES, *wheels.TOOLS} < locked.keys()
    assert sorted([*wheels.installed(), *wheels.TOOLS]) == sorted(locked)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl", True),
        ("numpy-1.26.4-cp312-cp312-manylinux_2_17_x86_64.whl", False),
        ("numpy-1.26.40-cp311-cp311-linux_x86_64.whl", False),
        (ANY, True),
        ("numpy-1.26.4-cp38-abi3-linux_x86_64.whl", True),
    ],
)
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="names of wheels for Python 3.11")
def test_a_kept_wheel_is_taken_only_when_it_fits(tmp_path: Path, name: str, fits: bool) -> None:
    (tmp_path / name).write_bytes(CONTENT)
    assert (wheels.kept(NUMPY, tmp_path) is not None) == fits


def test_a_kept_wheel_that_was_changed_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / ANY).write_bytes(CONTENT + b"!")
    assert wheels.kept(NUMPY, tmp_path) is None


def test_a_wheel_built_here_is_taken_while_it_and_its_source_are_the_same(tmp_path: Path) -> None:
    built, kept = tmp_path / "built", tmp_path / "kept"
    built.mkdir()
    kept.mkdir()
    pin = Pin("smac", "1.4.0", ("1" * 64,))
    name = "smac-1.4.0-py3-none-any.whl"
    (built / name).write_bytes(CONTENT)
    wheels.keep([pin], built, kept)
    assert wheels.kept(pin, kept) == kept / name
    assert wheels.kept(Pin("smac", "1.4.0", ("2" * 64,)), kept) is None  # from another source
    (kept / name).write_bytes(CONTENT + b"!")
    assert wheels.kept(pin, kept) is None
    (kept / f"{name}.json").unlink()
    assert wheels.kept(pin, kept) is None


def test_pip_refuses_a_file_that_is_not_the_locked_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only way in which the environment is built calls pip, here on a shelf of its own."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    shelf, about = tmp_path / "shelf", "tiny-1.0.dist-info"
    shelf.mkdir()
    with zipfile.ZipFile(shelf / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    right = hashlib.sha256((shelf / "tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    options = ("--no-index", "-f", str(shelf), "-d", str(tmp_path / "fetched"))
    with pytest.raises(EngineUnavailable, match="pip download failed"):
        environment._pip("download", [Pin("tiny", "1.0", ("3" * 64,)).line], *options)
    with pytest.raises(EngineUnavailable, match="pip download failed"):
        environment._pip("download", ["tiny==1.0\n"], *options)
    environment._pip("download", [Pin("tiny", "1.0", (right,)).line], *options)
    assert (tmp_path / "fetched" / "tiny-1.0-py3-none-any.whl").exists()
