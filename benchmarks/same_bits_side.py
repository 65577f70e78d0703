"""One side of `benchmarks.same_bits`: the searches of this revision, and what they found as JSON.

Arguments: a home that has MNIST, a directory to work in, and what names of cases must hold.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from small_mnist import prepare_small  # noqa: E402

from pipeline_lib.config import RunConfig  # noqa: E402
from pipeline_lib.data.source import Source, prepare  # noqa: E402
from pipeline_lib.data.splits import Split  # noqa: E402
from pipeline_lib.home import Home  # noqa: E402
from pipeline_lib.run.run import Run  # noqa: E402
from pipeline_lib.search.engine import find_engine  # noqa: E402
from pipeline_lib.selection.ensemble import add_ensemble  # noqa: E402
from pipeline_lib.selection.folds import compare_finalists  # noqa: E402
from pipeline_lib.trial import Trial  # noqa: E402

_HOURS = 4 * 3600.0
_COMMON = {"workers": 1, "first_rung": 300}
_OPTUNA = {**_COMMON, "engine": "optuna"}
_APT = {**_COMMON, "engine": "autopytorch", "trials": 1, "ensemble": 1}
CASES: dict[str, dict[str, Any]] = {
    "tpe-120": {**_OPTUNA, "budget_seconds": 120, "trials": 12},
    "tpe-400": {**_OPTUNA, "budget_seconds": 400, "trials": 12},
    "cmaes-120": {**_OPTUNA, "budget_seconds": 120, "trials": 6, "sampler": "cmaes"},
    "cmaes-400": {**_OPTUNA, "budget_seconds": 400, "trials": 6, "sampler": "cmaes"},
    "random-120": {**_OPTUNA, "budget_seconds": 120, "trials": 6, "sampler": "random"},
    "random-400": {**_OPTUNA, "budget_seconds": 400, "trials": 6, "sampler": "random"},
    "book-120": {**_OPTUNA, "budget_seconds": 120, "trials": 4, "space": "book"},
    "book-400": {**_OPTUNA, "budget_seconds": 400, "trials": 4, "space": "book"},
    "folds-120": {**_OPTUNA, "budget_seconds": 120, "trials": 4, "validation_folds": 2},
    "folds-400": {**_OPTUNA, "budget_seconds": 400, "trials": 4, "validation_folds": 2},
    "autopytorch-120": {**_APT, "budget_seconds": 120},
    "autopytorch-400": {**_APT, "budget_seconds": 400},
    "autopytorch-book-120": {**_APT, "budget_seconds": 120, "space": "book"},
}


def main() -> None:
    """Run the cases and write `found.json`."""
    shared, work, only = Home(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]
    logging.getLogger("automl").addHandler(logging.StreamHandler())
    home = Home(work / "home")
    home.root.mkdir()
    home.engines.symlink_to(shared.engines)
    data = prepare_small(prepare(RunConfig(dataset="mnist"), shared, print), home)
    found = {}
    for name, fields in CASES.items():
        if only in name:
            began = time.monotonic()
            found[name] = _case(home, data, name, RunConfig(seed=3, **fields))
            print(f"{ROOT.name} {name}: {time.monotonic() - began:.0f} s", flush=True)
    (work / "found.json").write_text(json.dumps(found), encoding="utf-8")


def _case(home: Home, data: Source, name: str, config: RunConfig) -> dict[str, Any]:
    run = Run(config, name, home)
    split = Split(data, config.seed, config.validation_share)
    engine = find_engine(config.engine).of(config, home)
    engine.prepare(print)
    request = run.request(split, engine.name, 1, time.monotonic() + _HOURS)
    engine.search(request, lambda _trial: None, threading.Event())
    found = engine.trials(request.study, request.directory)
    candidates = add_ensemble(config, run.ensembles, found, split)
    folded = None
    if config.validation_folds > 1:
        compared = compare_finalists(config, run.ensembles, candidates.trials, split, "")
        folded = [asdict(pair) for pair in compared.comparisons]
        for pair in folded:
            pair.pop("metric", None)  # revisions before have accuracy alone
    return {"trials": [_trial(trial) for trial in candidates.trials], "folds": folded}


def _trial(trial: Trial) -> dict[str, Any]:
    weights = trial.model / "weights.safetensors" if trial.model else None
    return {
        "label": trial.label,
        "stage": trial.stage,
        "state": str(trial.state),
        "configuration": dict(trial.configuration),
        "rungs": [[rung.samples, rung.value] for rung in trial.rungs],
        "parameters": trial.parameters,
        "final": trial.notes.get("final"),
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights else None,
    }


if __name__ == "__main__":
    main()
