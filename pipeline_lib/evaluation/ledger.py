"""The ledger of test-set evaluations, and the figures that each of them gave."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_lib.files import locked, write_whole
from pipeline_lib.home import Home

if TYPE_CHECKING:
    from pipeline_lib.data.sealed import SealedTestSet

_SHORT = 16  # characters of a digest in the name of a file


@dataclass(frozen=True)
class Entry:
    """One model and one test set: what may be measured once."""

    home: Home
    test_set: SealedTestSet
    model: str  # what the model is called, such as `mnist-0412/optuna-0041`
    digest: str  # of the model's files

    @property
    def figures(self) -> Path:
        """The file that keeps what the evaluation gave."""
        return figures(self.home, self.test_set.digest, self.digest)

    @property
    def is_of_old(self) -> bool:
        """Whether this model was the last that its run measured, before models had digests here."""
        run = self.model.rpartition("/")[0]
        lines = readings(self.home, self.test_set.digest)
        own = [line for line in lines if line["model"].rpartition("/")[0] == run]
        return bool(own) and own[-1]["model"] == self.model and "model_digest" not in own[-1]

    def keep(self, figures: Mapping[str, Any]) -> None:
        """Keep what the evaluation gave, for whoever asks for this model again."""
        write_whole(self.figures, json.dumps(figures, indent=1) + "\n")

    def write(self) -> int:
        """Append the evaluation to the ledger, durably; returns which one it is, from 1."""
        line = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "dataset": self.test_set.dataset,
            "digest": self.test_set.digest,
            "model": self.model,
            "model_digest": self.digest,
        }
        ledger = self.home.ledger
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with locked(ledger), ledger.open("a+", encoding="utf-8") as file:  # each has its number
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            return sum(json.loads(each)["digest"] == self.test_set.digest for each in file)


def figures(home: Home, data: str, model: str) -> Path:
    """The file of the figures of a model on a test set, by the digests of both."""
    return home.test_figures / f"{data[:_SHORT]}-{model[:_SHORT]}.json"


def readings(home: Home, digest: str) -> list[Mapping[str, Any]]:
    """The ledger's entries for one data set, oldest first."""
    if not home.ledger.exists():
        return []
    lines = home.ledger.read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if entry["digest"] == digest]
