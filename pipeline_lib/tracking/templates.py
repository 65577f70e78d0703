"""Empty databases of Prefect and MLflow, migrated once, when their packages are installed.

The migrations run some ninety revisions, seconds that every new state directory would wait for.
Each template lies beside the installed packages and is named for the version it is of: where there
is none, as after an upgrade by hand, the database is migrated from nothing.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from pipeline_lib.files import written_aside


def template(package: str) -> Path:
    """Where the empty database of the installed version of a package is, if it was made."""
    return Path(sys.prefix, "share", "automl", f"{package}-{version(package)}.db")


def begin_with_template(package: str, database: Path) -> bool:
    """Make `database` from the template unless it is there; whether it is there then."""
    if database.exists():
        return True
    made = template(package)
    if not made.is_file():
        return False
    with written_aside(database) as aside:
        shutil.copyfile(made, aside)
    return True


def make_template(package: str, migrate: Callable[[Path], None]) -> Path:
    """Keep, as the template of a package, the database that `migrate` makes at the path it gets."""
    place = template(package)
    with tempfile.TemporaryDirectory() as elsewhere, written_aside(place) as aside:
        made = Path(elsewhere, "new.db")
        migrate(made)
        with closing(sqlite3.connect(made)) as connection:  # one file, without a log beside it
            connection.execute("VACUUM INTO ?", [str(aside)])
    return place
