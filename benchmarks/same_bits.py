"""`python -m benchmarks.same_bits REVISION`: does this tree find what another revision finds?

Both run the same searches on a small cut of MNIST, one worker, counted trials, and a clock that
never decides: default and book space, each sampler, an ensemble, folds, Auto-PyTorch, and budgets
on both sides of the one from which `upright`, `double` and `sheared` exist. Compared are
configurations, rungs, values, digests of the weights, and what finals, ensemble and folds chose.

Each revision is asked through its own `benchmarks/same_bits_side.py`, because the modules move.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
_SIDE = Path("benchmarks", "same_bits_side.py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; 0 where every case is equal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_bits", description=__doc__)
    parser.add_argument("revision", help="what to compare this tree with, such as HEAD~1")
    parser.add_argument("--home", type=Path, default=Path(".automl"), help="where MNIST is")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    given = parser.parse_args(arguments)
    home = given.home.absolute()
    with worktree(given.revision) as there, tempfile.TemporaryDirectory() as aside:
        before = _ask(there, home, Path(aside, "before"), given.only)
        now = _ask(HERE, home, Path(aside, "now"), given.only)
    different = 0
    for case in sorted(before.keys() | now.keys()):
        found = list(_differences(before.get(case), now.get(case), ""))
        different += bool(found)
        print(f"{'differs' if found else 'equal  '} {case}")
        for line in found[:5]:
            print(f"        {line}")
    print(f"{len(now) - different} of {len(now)} cases are equal to {given.revision}")
    return int(different > 0 or not now)


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A revision of this repository, checked out aside."""
    with tempfile.TemporaryDirectory() as aside:
        place = Path(aside, "tree")
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), revision], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


def _ask(tree: Path, home: Path, work: Path, only: str) -> dict[str, Any]:
    """What a tree finds, by case."""
    work.mkdir()
    command = [sys.executable, str(tree / _SIDE), str(home), str(work), only]
    environment = {**os.environ, "PYTHONPATH": str(tree), "AUTOML_HOME": str(work / "home")}
    subprocess.run(command, cwd=work, env=environment, check=True)
    found: dict[str, Any] = json.loads((work / "found.json").read_text(encoding="utf-8"))
    return found


def _differences(before: Any, now: Any, where: str) -> Iterator[str]:
    """A line for each place where two JSON values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(key), now.get(key), f"{where}.{key}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for place, pair in enumerate(zip(before, now, strict=True)):
            yield from _differences(*pair, f"{where}[{place}]")
    elif before != now:
        yield f"{where}: {before!r} became {now!r}"


if __name__ == "__main__":
    sys.exit(main())
