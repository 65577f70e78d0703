"""Data that only running a program gives: a child runs it, and hands over what it got.

So the parent imports neither torch nor a user's file.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline_lib.data.listing import Listing
from pipeline_lib.data.sources import spool
from pipeline_lib.data.sources.torchvision_sets import TORCHVISION
from pipeline_lib.errors import DataError, UserError
from pipeline_lib.isolation import captured
from pipeline_lib.own_code import Own

_spools: list[Path] = []
_FAULT = "fault.json"


def spooled(asked: Sequence[str], where: str) -> Listing:
    """What a child got: `python FILE.py:FUNCTION`, or `torchvision CLASS ROOT`.

    Raises:
        DataError: The program raised, names file and line; or what it gave is no data.
    """
    place = Path(tempfile.mkdtemp(prefix="automl-"))
    if not _spools:
        atexit.register(forget)
    _spools.append(place)
    done = captured([sys.executable, "-m", __name__, str(place), *asked])
    if (place / _FAULT).exists():
        raise DataError(*json.loads((place / _FAULT).read_text(encoding="utf-8")))
    if done.returncode != 0:
        said = (done.stdout.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise DataError(where, f"gives no data ({said})")
    return spool.read(place / "spool", where)


def forget() -> None:
    """Remove what children handed over, once it was used."""
    while _spools:
        shutil.rmtree(_spools.pop(), ignore_errors=True)


def _of_python(address: str, place: Path) -> None:
    """Keep what a function of a user's file returns."""
    own = Own.parse("dataset", address)
    assert own is not None
    os.chdir(own.path.parent)  # relative paths mean the same wherever the run is continued from
    sys.path.insert(0, str(own.path.parent))
    made = own.load()
    with own.explained():
        spool.write(place, made(), address)


def _of_torchvision(name: str, root: str, place: Path) -> None:
    """Keep the parts of a data set of torchvision."""
    from torchvision import datasets

    try:
        made = getattr(datasets, name)
        parts = {part: made(root, **arguments) for part, arguments in TORCHVISION[name].items()}
    except (RuntimeError, OSError, ValueError) as error:  # what it raises where files are missing
        remedy = "put its files there, in torchvision's layout"
        reason = " ".join(str(error).split())
        raise DataError(root, f"does not hold {name} ({reason})", remedy=remedy) from error
    spool.write(place, parts, name)


def _main(place: str, kind: str, *asked: str) -> None:
    try:
        if kind == "python":
            _of_python(asked[0], Path(place) / "spool")
        else:
            _of_torchvision(asked[0], asked[1], Path(place) / "spool")
    except UserError as error:
        fault = error.where, str(error).removeprefix(f"{error.where}: ")
        Path(place, _FAULT).write_text(json.dumps(fault), encoding="utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
