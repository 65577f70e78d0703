"""`make audit`: known flaws of the locked packages, and a plain word when nobody could be asked.

    python .ci/audit.py PIP_AUDIT LOCK [MORE ARGUMENTS OF PIP-AUDIT]

Exit code 0: every package was asked for and has no known flaw. 1: there are flaws, one a line.
3: nothing, or not everything, was checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def audit(program: str, lock: str, more: list[str]) -> int:
    """Run pip-audit, print what it found, and return the exit code."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.json"
        command = [program, "--requirement", lock, "--require-hashes", "--disable-pip"]
        command += ["--progress-spinner", "off", "--format", "json", "--output", str(report)]
        try:
            done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
            packages = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
        except FileNotFoundError as error:
            said = str(error) if error.filename == program else done.stderr
            return _unchecked(said)
    unchecked = [package["name"] for package in packages if "skip_reason" in package]
    flaws = [(package, flaw) for package in packages for flaw in package.get("vulns", ())]
    for package, flaw in flaws:
        mended = ", ".join(flaw["fix_versions"]) or "no version yet"
        print(f"audit: {package['name']} {package['version']}: {flaw['id']}, mended in {mended}")
    print(f"audit: {len(packages) - len(unchecked)} packages checked, {len(flaws)} known flaws")
    if unchecked:
        print(f"audit: not checked: {', '.join(unchecked)}", file=sys.stderr)
    return 1 if flaws else 3 if unchecked or not packages else 0


def _unchecked(said: str) -> int:
    reason = (said.strip().splitlines() or ["pip-audit said nothing"])[-1]
    print(
        f"audit: nothing was checked, the advisories could not be asked: {reason}", file=sys.stderr
    )
    return 3


if __name__ == "__main__":
    sys.exit(audit(sys.argv[1], sys.argv[2], sys.argv[3:]))
