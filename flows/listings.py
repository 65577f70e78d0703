"""What `automl datasets` and `automl doctor` print."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.table import Table

from pipeline_lib.data.prepared import status
from pipeline_lib.errors import AutomlError
from pipeline_lib.home import Home

_PACKAGES = ("torch", "torchvision", "optuna", "prefect", "mlflow", "torchviz", "pandas")


def print_datasets(home: Home) -> None:
    """The catalogue: shapes, sizes, and what is on disk."""
    table = Table(box=None)
    for column in ("name", "what", "shape", "classes", "training", "test", "on disk"):
        table.add_column(column, justify="right" if column in ("training", "test") else "left")
    for entry in status(home):
        dataset = entry.dataset
        table.add_row(
            dataset.name,
            dataset.title,
            "×".join(map(str, dataset.shape)),
            str(len(dataset.classes)),
            f"{dataset.train_size:,}",
            f"{dataset.test_size:,}",
            f"{entry.size / 1e6:.0f} MB" if entry.on_disk else "no",
        )
    Console().print(table)


def print_doctor(home: Home) -> None:
    """One line for each thing that a run needs."""
    console = Console(highlight=False, soft_wrap=True)
    for good, what, found in _findings(home):
        mark = "[green]ok[/]     " if good else "[red]missing[/]"
        console.print(f"{mark} {what:<22} {found}")


def _findings(home: Home) -> Iterator[tuple[bool, str, str]]:
    from pipeline_lib.config import available_cores

    yield True, "python", platform.python_version()
    for package in _PACKAGES:
        try:
            yield True, package, version(package)
        except PackageNotFoundError:
            yield False, package, "not installed: make install"
    try:
        home.ensure_writable()
        yield True, "home", str(home.root)
    except AutomlError as error:
        yield False, "home", str(error)
    yield True, "cores", str(available_cores())
    yield True, "engine optuna", "can run"
    drawing = shutil.which("dot") or shutil.which("graphviz-pure", path=_scripts())
    yield drawing is not None, "dot", "for diagrams" if drawing else "install graphviz_pure"
    served = os.environ.get("PREFECT_API_URL") or "a server is started for each run"
    yield True, "prefect server", served


def _scripts() -> str:
    import sysconfig

    return sysconfig.get_path("scripts")
