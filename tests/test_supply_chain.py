"""What is installed: pinned, hashed, and not older than the last flaw that concerns us."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
FLOORS = {"mlflow": "3.11", "prefect": "3.6.22", "torch": "2.10"}


def locked():
    """Version and number of hashes of every package, by name; several where platforms differ."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    found = {}
    for line in lines:
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line)
        assert match, f"not pinned: {line[:80]}"
        found.setdefault(match[1].lower(), []).append((match[2], line.count("--hash=sha256:")))
    return found


def test_every_package_is_pinned_with_hashes():
    packages = locked()
    assert len(packages) > 100
    assert not [name for name, pins in packages.items() if not all(hashes for _, hashes in pins)]


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_is_below_its_security_floor(name):
    assert all(Version(version) >= Version(FLOORS[name]) for version, _ in locked()[name])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (asked,) = [r for r in map(Requirement, project["dependencies"]) if r.name == name]
    assert not asked.specifier.contains("0.1")
    (pin,) = [s.version for s in asked.specifier if s.operator in ("==", ">=")]
    assert Version(pin) >= Version(FLOORS[name])


def test_an_installation_takes_nothing_that_is_not_hashed():
    makefile = (ROOT / "Makefile").read_text()
    (installs,) = [line for line in makefile.splitlines() if "-r requirements.lock" in line]
    assert "--require-hashes" in installs
    assert "--only-binary :all:" in installs
