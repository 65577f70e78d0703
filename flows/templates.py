"""`python -m flows.templates`: what `make install` makes once, so that new homes need not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pipeline_lib.tracking.store import migrate as migrate_mlflow
from pipeline_lib.tracking.templates import make_template


def migrate_prefect(database: Path) -> None:
    """Make an empty database of Prefect's server; its home becomes the directory of that."""
    os.environ["PREFECT_HOME"] = str(database.parent)
    os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{database}"
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


if __name__ == "__main__":
    for package, migrate in (("prefect", migrate_prefect), ("mlflow", migrate_mlflow)):
        make_template(package, migrate)
