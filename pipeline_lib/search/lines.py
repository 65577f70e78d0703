"""A study as JSON lines: one for each change of a trial, of which the last of a number counts.

For engines that have no storage of their own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline_lib.search.engine import SearchRequest, check_identity
from pipeline_lib.trial import Trial, TrialState, thaw

_FILE = "study.jsonl"


class Journal:
    """Appends trials to a study and reads them back.

    A line that a kill cut short is skipped: what it was about is told by the line before.
    """

    def __init__(self, engine: str, study: str, directory: Path) -> None:
        self.engine = engine
        self.study = study
        self.directory = directory
        self._path = directory / _FILE

    def open(self, request: SearchRequest) -> None:
        """Begin the study, or check that it was begun with the same data, space and seed.

        Raises:
            ConfigurationError: It was begun otherwise.
        """
        if not self.check(request):
            self.directory.mkdir(parents=True, exist_ok=True)
            self._append(request.identity)

    def check(self, request: SearchRequest) -> bool:
        """Whether the study was begun, with the same data, space and seed.

        Raises:
            ConfigurationError: It was begun otherwise.
        """
        begun = next((line for line in self._lines() if "dataset" in line), None)
        if begun is not None:
            check_identity(request, begun)
        return begun is not None

    def write(self, trial: Trial) -> None:
        """Make a trial's state durable."""
        self._append(_frozen(trial))

    def trials(self) -> list[Trial]:
        """Every trial that ended, by number."""
        return [trial for trial in self.last_states() if trial.state != TrialState.RUNNING]

    def last_states(self) -> list[Trial]:
        """Every trial by number, as it was written last; a killed run leaves some running."""
        last = {line["number"]: line for line in self._lines() if "number" in line}
        return [self._thawed(last[number]) for number in sorted(last)]

    def model_directory(self, number: int) -> Path:
        """Where the network of a trial is kept."""
        return self.directory / "trials" / f"{number:04d}"

    def _append(self, line: Mapping[str, Any]) -> None:
        with self._path.open("ab") as file:
            if file.tell() and not self._ends_with_newline():
                file.write(b"\n")
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _ends_with_newline(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _lines(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text(errors="replace", encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # cut short by a kill
                continue
        return [line for line in found if isinstance(line, dict)]

    def _thawed(self, line: dict[str, Any]) -> Trial:
        fields = dict(line)
        model = self.model_directory(fields["number"]) if fields.pop("saved") else None
        return thaw(fields, study=self.study, engine=self.engine, model=model)


def _frozen(trial: Trial) -> dict[str, Any]:
    fields = asdict(trial)
    for known in ("study", "engine", "model"):
        del fields[known]
    return {**fields, "saved": trial.model is not None}
