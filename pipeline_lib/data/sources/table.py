"""A CSV or Parquet file with a path and a class for each picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pipeline_lib.data.listing import Listing, Part
from pipeline_lib.data.pictures import Files
from pipeline_lib.data.sources.folder import PARTS, grouped
from pipeline_lib.data.sources.pictured import Pictured
from pipeline_lib.errors import ConfigurationError, DataError
from pipeline_lib.options import choice

if TYPE_CHECKING:
    import pandas as pd

    from pipeline_lib.config import RunConfig

_MOST_NUMBERS = 50  # different ones; more are numbers to predict
_FIRST_LINE = 2  # of a CSV file, below its header


class Table(Pictured):
    """Rows of a file; see `docs/data.md`."""

    kind: ClassVar[str] = "table"
    takes: ClassVar[frozenset[str]] = Pictured.takes | {
        "target", "image_column", "image_root", "group_column", "group_by", "time_column",
        "split_column",
    }  # fmt: skip

    @classmethod
    def listing(cls, config: RunConfig, address: str) -> Listing:
        """See `Pictured.listing`."""
        path = Path(address)
        table = _Table(path, _read(path))
        names = table.column("image_column", config.image_column)
        labels = table.column("target", config.target)
        table.check_labels(names, labels)
        root = Path(config.image_root) if config.image_root else path.parent
        groups, said = grouped(names, config.group_by)
        if config.group_column:
            groups = table.column("group_column", config.group_column, may_be_empty=True)
        listing = Listing(
            where=str(path),
            pictures=Files(root, names),
            labels=labels,
            parts=table.parts(config.split_column),
            groups=groups,
            times=table.times(config.time_column),
            notes=tuple(said),
        )
        once = table.once(names)
        again = len(names) - len(once)
        note = f"{again:,} rows that name a picture again are left out"
        return listing.only(once, note) if again else listing


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        between = "\t" if path.suffix.lower() == ".tsv" else ","
        return pd.read_csv(path, sep=between, dtype=str, keep_default_na=False)
    except (OSError, ValueError, pd.errors.ParserError) as error:  # what pyarrow raises, too
        reason = " ".join(str(error).split())
        raise DataError(str(path), f"is no table ({reason})") from error


class _Table:
    """Columns of a table as texts, and errors that name their lines."""

    def __init__(self, path: Path, frame: pd.DataFrame) -> None:
        self.path, self.frame = path, frame

    def column(self, field: str, name: str | None, *, may_be_empty: bool = False) -> list[str]:
        """A column as texts.

        Raises:
            ConfigurationError: There is no such column.
            DataError: A row has nothing in it.
        """
        if name is None:
            listed = ", ".join(map(str, self.frame.columns))
            remedy = f"{self.path.name} has the columns {listed}"
            raise ConfigurationError(field, "is missing", remedy=remedy)
        series = self.frame[choice(field, name, [str(each) for each in self.frame.columns])]
        if (nested := series.map(lambda value: isinstance(value, list | tuple | dict))).any():
            problem = f"has several values in {name}: this is not yet done"
            raise DataError(self.place(int(nested.to_numpy().argmax())), problem)
        texts = ["" if missing else str(value) for value, missing in zip(
            series, series.isna(), strict=True)]  # fmt: skip
        if "" in texts and not may_be_empty:
            remedy = "fill it in, or leave the row out"
            raise DataError(self.place(texts.index("")), f"has nothing in {name}", remedy=remedy)
        return texts

    def place(self, number: int) -> str:
        """A row, for people."""
        is_text = self.path.suffix.lower() in (".csv", ".tsv")
        return f"{self.path}:{number + _FIRST_LINE}" if is_text else f"{self.path}[{number}]"

    def check_labels(self, names: list[str], labels: list[str]) -> None:
        """Refuse what are no classes.

        Raises:
            DataError: They are numbers to predict, or several for one picture.
        """
        different = set(labels)
        if len(different) > _MOST_NUMBERS and all(map(_is_number, different)):
            problem = f"has {len(different):,} different numbers as labels: not yet done"
            remedy = "for classes, write them as names, such as c17"
            raise DataError(str(self.path), problem, remedy=remedy)
        first: dict[str, str] = {}
        for number, (name, label) in enumerate(zip(names, labels, strict=True)):
            if first.setdefault(name, label) != label:
                problem = f"gives {name} a second label: several a picture are not yet done"
                raise DataError(self.place(number), problem, value=label)

    def parts(self, name: str | None) -> list[Part]:
        """The part that a column puts each row in."""
        if name is None:
            return [""] * len(self.frame)
        said = self.column("split_column", name, may_be_empty=True)
        known = {"": "", **PARTS}
        for number, each in enumerate(said):
            if each.lower() not in known:
                remedy = f"write one of {', '.join(PARTS)}"
                raise DataError(self.place(number), "is in no part", value=each, remedy=remedy)
        return [PARTS.get(each.lower(), "") for each in said]

    def times(self, name: str | None) -> list[float]:
        """A column of numbers or times, as numbers."""
        import pandas as pd

        if name is None:
            return []
        texts = self.column("time_column", name)
        if all(map(_is_number, texts)):
            return [float(each) for each in texts]
        found = pd.to_datetime(pd.Series(texts), errors="coerce", utc=True, format="mixed")
        if found.isna().any():
            number = int(found.isna().to_numpy().argmax())
            problem, value = f"has no time in {name}", texts[number]
            raise DataError(self.place(number), problem, value=value, remedy="write 2026-11-27")
        return [each.timestamp() for each in found]

    @staticmethod
    def once(names: list[str]) -> list[int]:
        """The first row of each picture."""
        seen: dict[str, int] = {}
        for number, name in enumerate(names):
            seen.setdefault(name, number)
        return list(seen.values())


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
