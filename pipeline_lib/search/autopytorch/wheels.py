"""The packages of Auto-PyTorch's environment: locked with hashes, fetched or built, and kept.

Whatever is installed was verified against `requirements.lock`: a published wheel by its own hash,
a wheel built here by the hash of the source it was built from. Wheels are kept for the next
environment, and are verified again each time.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline_lib.files import write_whole

LOCK = Path(__file__).with_name("requirements.lock")
SOURCES = ("pynisher", "smac", "pyrfr")
"""Published as source only; `pyrfr` is C++ and is compiled, the others are plain Python."""
TOOLS = ("setuptools", "wheel", "swig")
"""What those are built with."""


@dataclass(frozen=True)
class Pin:
    """A package, its version, and the hashes of its published files."""

    name: str
    version: str
    hashes: tuple[str, ...]  # SHA-256, hexadecimal

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"

    @property
    def line(self) -> str:
        """The pin as a line of a requirements file."""
        return f"{self} {' '.join(f'--hash=sha256:{digest}' for digest in self.hashes)}\n"


@cache
def locked() -> Mapping[str, Pin]:
    """Every pin of the lock, by name."""
    text = LOCK.read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if match := re.match(r"([\w.-]+)==([^\s;]+)", line):
            hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
            found[match[1]] = Pin(match[1], match[2], tuple(hashes))
    return found


def pins(names: Iterable[str]) -> list[Pin]:
    """The pins of these packages."""
    return [locked()[name] for name in names]


def published() -> list[str]:
    """Names of the packages that are taken as wheels."""
    return [name for name in locked() if name not in (*SOURCES, *TOOLS)]


def installed() -> list[str]:
    """Names of the packages that the environment holds."""
    return [*published(), *SOURCES]


def lacking(names: Sequence[str], directory: Path) -> list[Pin]:
    """The pins of these packages that have no wheel there, or none with the right hash."""
    return [pin for pin in pins(names) if kept(pin, directory) is None]


def kept(pin: Pin, directory: Path) -> Path | None:
    """The wheel of a pin that fits this interpreter and has the hash that it should have."""
    ours = {f"cp{sys.version_info.major}{sys.version_info.minor}", "py3", "py2.py3"}
    for path in sorted(directory.glob("*.whl")):
        interpreter, abi = path.stem.split("-")[2:4]
        fits = interpreter in ours or abi == "abi3"
        if path.name.lower().startswith(_stem(pin)) and fits and _is_allowed(pin, path):
            return path
    return None


def keep(built: Sequence[Pin], source: Path, directory: Path) -> None:
    """Move wheels to where they are kept; one that was built here, with a note of its hash.

    Moved, because a wheel that is only half written must never be found again.
    """
    for wheel in source.glob("*.whl"):
        for pin in built:
            if wheel.name.lower().startswith(_stem(pin)):
                made = {"wheel": _digest(wheel), "source": pin.line}
                write_whole(_note(directory / wheel.name), json.dumps(made, indent=1) + "\n")
        wheel.replace(directory / wheel.name)


def install_line(pin: Pin, path: Path) -> str:
    """A kept wheel as a line of a requirements file: pip verifies it once more."""
    hashes = " ".join(f"--hash=sha256:{digest}" for digest in _allowed(pin, path))
    return f"{path.absolute().as_uri()} {hashes}\n"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_allowed(pin: Pin, path: Path) -> bool:
    return _digest(path) in _allowed(pin, path)


def _allowed(pin: Pin, path: Path) -> tuple[str, ...]:
    """Hashes that a kept wheel of this pin may have."""
    if pin.name not in SOURCES:
        return pin.hashes
    try:
        made = json.loads(_note(path).read_text(encoding="utf-8"))
        return (made["wheel"],) if made["source"] == pin.line else ()
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _note(wheel: Path) -> Path:
    return wheel.with_name(f"{wheel.name}.json")


def _stem(pin: Pin) -> str:
    """How the lower-case name of a wheel of this pin begins."""
    return f"{pin.name.lower().replace('-', '_')}-{pin.version}-"
