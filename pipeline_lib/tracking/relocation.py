"""Addresses of artifacts in MLflow's database follow the state directory when it moves.

MLflow stores them absolute, so that after a `mv` or a `cp` of the directory a champion could not be
found, and a new run would create the old path again and write there.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Columns of MLflow 3.17 that hold the address of a folder of artifacts."""
_DEFAULT = "SELECT artifact_location FROM experiments WHERE experiment_id = 0"


def follow(database: Path, artifacts: Path) -> None:
    """Rewrite addresses below the folder that `database` was made for to lie below `artifacts`.

    Nothing is done where both are the same folder, also by way of a link.
    """
    with closing(sqlite3.connect(database)) as connection:
        kept = connection.execute(_DEFAULT).fetchone()
        before = str(kept[0]).removesuffix("/0") if kept else ""
        now = artifacts.as_uri()
        if not before.startswith("file:") or before == now or _is_same(before, artifacts):
            return
        with connection:  # one transaction
            for table, column in _ADDRESSES:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (now, len(before) + 1, len(before) + 1, f"{before}/"),
                )


def _is_same(address: str, folder: Path) -> bool:
    other = Path(url2pathname(urlsplit(address).path))
    try:
        return other.samefile(folder)
    except OSError:  # one of them is not there
        return False
