"""Small labelled pictures of every kind that a user may have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline_lib.config import RunConfig
from pipeline_lib.data.source import prepare
from pipeline_lib.home import Home

CLASSES = ("cat", "dog", "owl")
EACH = 20  # pictures of a class


def noise(number: int, shape: tuple[int, ...]) -> np.ndarray:
    """A picture that no other number gives."""
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def folder(root: Path, each: int = EACH, shape: tuple[int, ...] = (8, 8), start: int = 0) -> Path:
    """A folder with a folder of noise for each class."""
    for number, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True, exist_ok=True)
        for at in range(start, start + each):
            image = Image.fromarray(noise(1000 * number + at, shape))
            image.save(root / name / f"{at:03}.png")
    return root


def table(root: Path, suffix: str = ".csv", **columns: list) -> Path:
    """A file with a row for each picture of `folder`, and further columns."""
    import pandas as pd

    paths = sorted(str(path.relative_to(root)) for path in folder(root).rglob("*.png"))
    rows = pd.DataFrame({"file": paths, "kind": [Path(p).parent.name for p in paths], **columns})
    path = root / f"rows{suffix}"
    if suffix == ".parquet":
        rows.to_parquet(path)
    else:
        rows.to_csv(path, index=False)
    return path


def of(address: Path | str, home: Home, **fields: object):
    """The source of what is at an address."""
    return prepare(RunConfig(dataset=str(address), **fields), home)


TABLE = {"image_column": "file", "target": "kind"}

MODULE = """
import numpy as np
from torch.utils.data import Dataset

class Noise(Dataset):
    classes = ["cat", "dog", "owl"]

    def __init__(self, shape, start):
        self.shape, self.start = shape, start

    def __len__(self):
        return 60

    def __getitem__(self, at):
        number = self.start + at
        image = np.random.default_rng(number).integers(0, 256, self.shape, dtype=np.uint8)
        return image, at % 3

def grey():
    return Noise((8, 8), 0)

def parts():
    return {"train": Noise((8, 10, 3), 0), "test": Noise((8, 10, 3), 60)}

def raises():
    return {}["nothing"]

def nothing():
    return 3

def one():
    return [np.zeros((8, 8), np.uint8)] * 5, [0] * 5

class Tensors(Noise):
    def __getitem__(self, at):
        import torch
        image, label = super().__getitem__(at)
        return torch.from_numpy(image.astype(np.float32) / 255)[None], torch.tensor(label)

def tensors():
    return Tensors((8, 8), 0)
"""


def module(directory: Path) -> Path:
    """A user's Python file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "mine.py"
    path.write_text(MODULE, encoding="utf-8")
    return path
