"""What is installed: pinned, hashed, and not older than the last flaw that concerns us."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from flows.doctor import print_doctor
from pipeline_lib.home import Home
from pipeline_lib.search.autopytorch import wheels

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


def test_every_lock_is_made_with_hashes_by_make_lock():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("\nlock:")[2].partition("\n\n")[0]
    assert recipe.count("--output-file") == recipe.count("--generate-hashes") == 2
    assert str(wheels.LOCK.parent.relative_to(ROOT)) in makefile
    assert all(
        "make lock" in path.read_text(encoding="utf-8")[:200]
        for path in (ROOT / "requirements.lock", wheels.LOCK)
    )


def test_doctor_tells_the_version_as_reports_of_weaknesses_should(tmp_path, capsys):
    assert "`automl doctor`" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    print_doctor(Home(tmp_path))
    found = dict(line.split()[1:3] for line in capsys.readouterr().out.splitlines())
    assert found["automl"] == version("automl")


PIP_AUDIT = """#!{python}
import pathlib, sys
report, said, code = {report!r}, {said!r}, {code}
if report is not None:
    pathlib.Path(sys.argv[sys.argv.index("--output") + 1]).write_text(report)
sys.stderr.write(said)
sys.exit(code)
"""
FLAW = {"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": [], "description": ""}
CLEAN = {"name": "good", "version": "1.0", "vulns": []}
FLAWED = {"name": "bad", "version": "1.0", "vulns": [FLAW]}
SKIPPED = {"name": "odd", "skip_reason": "not on the index"}


@pytest.mark.parametrize(
    ("packages", "said", "code", "exit_code", "line"),
    [
        ([CLEAN], "", 0, 0, "audit: 1 packages checked, 0 known flaws"),
        ([CLEAN, FLAWED], "Found 1", 1, 1, "audit: bad 1.0: PYSEC-1, mended in 2.0"),
        ([CLEAN, SKIPPED], "", 0, 3, "audit: not checked: odd"),
        ([], "", 0, 3, "audit: 0 packages checked, 0 known flaws"),
        (None, "Traceback\nNo route to host\n", 1, 3, "audit: nothing was checked, .*: No route"),
        (None, "503 Service Unavailable", 1, 3, "audit: nothing was checked, .*: 503"),
        (None, "", 0, 3, "audit: nothing was checked, .*: pip-audit said nothing"),
    ],
)
def test_an_audit_that_asked_nobody_says_so(packages, said, code, exit_code, line, tmp_path):
    """What pip-audit reports in JSON, and what it leaves when its source cannot be reached."""
    report = None if packages is None else json.dumps({"dependencies": packages, "fixes": []})
    program = tmp_path / "pip-audit"
    given = {"python": sys.executable, "report": report}
    program.write_text(PIP_AUDIT.format(**given, said=said, code=code))
    program.chmod(0o700)
    done = run_audit(program)
    assert done.returncode == exit_code
    assert re.search(f"^{line}", done.stdout + done.stderr, re.M)
    assert "Traceback" not in done.stdout + done.stderr


def test_an_audit_without_its_program_says_so(tmp_path):
    done = run_audit(tmp_path / "absent")
    assert done.returncode == 3
    assert done.stderr.startswith("audit: nothing was checked")


def run_audit(program):
    command = [sys.executable, ROOT / ".ci" / "audit.py", program, ROOT / "requirements.lock"]
    return subprocess.run(command, capture_output=True, text=True, check=False)
