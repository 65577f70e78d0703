"""`python -m benchmarks PART`: measure one part, all of them, or show what was measured."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import AutomlError
from pipeline_lib.home import Home


def parts() -> dict[str, ModuleType]:
    """The parts by name, in the order in which they are told."""
    from benchmarks import (
        chapter,
        chapter_budget,
        loop,
        overhead,
        peer,
        scaling,
        search,
        space,
        time_to,
        wait,
        workers,
    )

    modules = (
        *(chapter, loop, time_to, wait, chapter_budget),
        *(overhead, workers, search, peer, scaling, space),
    )
    return {m.__name__.rpartition(".")[2].replace("_", "-"): m for m in modules}


def main(arguments: Sequence[str] | None = None) -> int:
    """What the command line asks for; the exit status."""
    known = parts()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", choices=[*known, "all", "table"])
    parser.add_argument("--short", action="store_true", help="minutes instead of hours")
    parser.add_argument("--home", type=Path, help="where the data are; default as for automl")
    given = parser.parse_args(arguments)
    home = Home(given.home.absolute()) if given.home else Home.from_environment()
    if given.part == "all":
        return _all(list(known), given.short, home)
    if given.part == "table":
        return _table(known)
    return _measure(given.part, known[given.part], given.short, home)


def _measure(part: str, module: ModuleType, short: bool, home: Home) -> int:
    from benchmarks.results import Bench, measure
    from benchmarks.summary import markdown
    from pipeline_lib.data.source import prepare
    from pipeline_lib.data.splits import Split

    try:
        split = Split(prepare(RunConfig(dataset="mnist"), home, print), seed=0, share=0.1)
        size = module.SHORT if short else module.FULL
        print(f"{part}: {size}", flush=True)
        document = measure(part, module.measure, Bench(home, split), size)
    except AutomlError as error:
        print(f"{part}: {error}", file=sys.stderr)
        return 1
    print(markdown(module.table(document["result"])))
    return 0


def _all(names: list[str], short: bool, home: Home) -> int:
    """Each part in a process of its own, so that none inherits threads or memory of another."""
    options = ["--home", str(home.root), *(["--short"] if short else [])]
    failed = [
        name
        for name in names
        if subprocess.run(
            [sys.executable, "-m", "benchmarks", name, *options], check=False
        ).returncode
    ]
    _table(parts())
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def _table(known: dict[str, ModuleType]) -> int:
    from benchmarks.results import DIRECTORY
    from benchmarks.summary import write_summary

    print(write_summary(known, DIRECTORY), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
