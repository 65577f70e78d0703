"""What a part measures on, and the JSON file that it leaves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_facts
from pipeline_lib.data.splits import Split
from pipeline_lib.home import Home

DIRECTORY = Path(__file__).parent / "results"

Result = dict[str, Any]
Table = tuple[list[str], list[list[Any]]]
"""Headings and rows."""


@dataclass(frozen=True)
class Bench:
    """Where the data are: torchvision's layout below `home.data`, and the same, split."""

    home: Home
    split: Split


def measure(
    part: str,
    function: Callable[[Bench, Any], Result],
    bench: Bench,
    size: Any,
    directory: Path = DIRECTORY,
) -> Result:
    """Run one part and write its result with the facts about the machine; returns all of it."""
    facts = machine_facts()
    began = time.time()
    result = function(bench, size)
    facts["load_after"] = round(os.getloadavg()[0], 2)
    document = {
        "part": part,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "seconds": round(time.time() - began, 1),
        "machine": facts,
        "size": asdict(size),
        "result": result,
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{part}.json"
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)
    return document


def read_all(directory: Path = DIRECTORY) -> dict[str, Result]:
    """Every result there is, by part."""
    documents = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.json"))
    ]
    return {document["part"]: document for document in documents}
