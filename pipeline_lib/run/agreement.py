"""Trials held against recorded ones: equal to the last bit, or as far as chance allows."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

from pipeline_lib.metrics import ACCURACY
from pipeline_lib.run.recorded import Recorded
from pipeline_lib.tracking.trials import state_of
from pipeline_lib.trial import Trial

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

_WEIGHTS = "weights.safetensors"
_ALPHA = 0.05

Pair = tuple["MlflowRun", Trial]


class Verdict(StrEnum):
    """What a comparison came to. `NOTED` is what nothing was promised of."""

    SAME = "same"
    AGREES = "agrees"
    DIFFERS = "differs"
    NOTED = "noted"


@dataclass(frozen=True)
class Fact:
    """One thing that was compared."""

    what: str
    verdict: Verdict
    found: str

    @classmethod
    def of(cls, what: str, same: bool, found: str) -> Fact:
        """Of what must be the same."""
        return cls(what, Verdict.SAME if same else Verdict.DIFFERS, found)


def equality(before: Recorded, engine: str, trials: list[Trial]) -> list[Fact]:
    """Whether trials of one engine are the recorded ones, bit for bit."""
    pairs = _pairs(before, engine, trials)
    known = len(before.of(engine))
    more = len(trials) - len(pairs)

    def count(what: str, same: Callable[[MlflowRun, Trial], bool]) -> Fact:
        matching = sum(same(run, trial) for run, trial in pairs)
        found = f"{matching} of {known} trials" + (f", and {more} others" if more else "")
        return Fact.of(f"{engine} {what}", matching == known and not more, found)

    return [
        count("configurations", _same_configuration),
        count("outcomes", lambda run, trial: state_of(run.data.tags) == trial.state),
        count("accuracies", lambda run, trial: before.rungs(run) == _of_rungs(trial)),
        _weights(before, engine, pairs, promised=True),
    ]


def agreement(before: Recorded, engine: str, trials: list[Trial], size: int) -> list[Fact]:
    """Whether trials that were trained again agree with the recorded ones.

    Both accuracies are of the same `size` validation images. Trained alike, two networks differ by
    chance; the difference is held against the 95 % interval of that between two proportions,
    corrected for the number of trials (Bonferroni). As both answer the same images, this is wider
    than it need be.
    """
    pairs = _pairs(before, engine, trials)
    known = sum(bool(before.rungs(run)) for run in before.of(engine).values())
    # Of another metric there is no such interval from values alone: accuracy says whether trainings
    # agree, whatever they were chosen by.
    apart = [(before.rungs(run)[-1][1], _of_rungs(trial)[-1][1]) for run, trial in pairs]
    allowed = [chance_difference(then, now, size, len(pairs)) for then, now in apart]
    within = sum(abs(now - then) <= most for (then, now), most in zip(apart, allowed, strict=True))
    widest = max((now - then for then, now in apart), key=abs, default=0.0)
    found = (
        f"{within} of {known} trials within chance on {size:,} images "
        f"(up to ±{100 * max(allowed, default=0.0):.2f} points, 95 %); "
        f"largest difference {100 * widest:+.2f}"
    )
    verdict = Verdict.AGREES if within == known else Verdict.DIFFERS
    weights = _weights(before, engine, pairs, promised=False)
    return [Fact(f"{engine} accuracies", verdict, found), weights]


def best_of(before: Recorded, engine: str, trials: list[Trial], size: int) -> Fact:
    """The best accuracy of an engine's trials beside the best recorded, which is partly luck."""
    then = max((r[-1][1] for r in map(before.rungs, before.of(engine).values()) if r), default=None)
    now = max((t.accuracy for t in trials if t.accuracy is not None), default=None)
    what = f"{engine} best accuracy"
    if then is None or now is None:
        return Fact(what, Verdict.NOTED, f"recorded {_percent(then)}, now {_percent(now)}")
    most = chance_difference(then, now, size, 1)
    verdict = Verdict.AGREES if abs(now - then) <= most else Verdict.NOTED
    chance = f"chance allows ±{100 * most:.2f} points on {size:,} images"
    return Fact(what, verdict, f"recorded {then:.2%}, now {now:.2%}; {chance}")


def chance_difference(a: float, b: float, size: int, comparisons: int) -> float:
    """How far two accuracies on so many images may be apart by chance: 95 % for all comparisons."""
    mean = (a + b) / 2
    reach = NormalDist().inv_cdf(1 - _ALPHA / comparisons / 2)
    return max(reach * sqrt(2 * mean * (1 - mean) / size), 1 / size)


def _percent(accuracy: float | None) -> str:
    return "nothing" if accuracy is None else f"{accuracy:.2%}"


def _pairs(before: Recorded, engine: str, trials: list[Trial]) -> list[Pair]:
    ours = {(engine, str(trial.number), trial.stage): trial for trial in trials}
    return [(run, ours[key]) for key, run in before.of(engine).items() if key in ours]


def _same_configuration(run: MlflowRun, trial: Trial) -> bool:
    return dict(run.data.params) == {name: str(v) for name, v in trial.configuration.items()}


def _of_rungs(trial: Trial) -> list[tuple[int, float]]:
    return [(rung.samples, rung.scores[ACCURACY.name]) for rung in trial.rungs]


def _weights(before: Recorded, engine: str, pairs: list[Pair], *, promised: bool) -> Fact:
    """How many trials have the recorded weights, of those whose weights are still there."""
    with_model = [(run, trial) for run, trial in pairs if before.rungs(run)]
    digests = [(_digest_of(before, run), _digest(trial.model)) for run, trial in with_model]
    there = [(then, now) for then, now in digests if then]
    same = sum(then == now for then, now in there)
    gone = len(digests) - len(there)
    found = f"{same} of {len(there)} trials have the same bits"
    found += f"; the recorded ones of {gone} are gone" if gone else ""
    if promised:
        return Fact.of(f"{engine} weights", same == len(there), found)
    return Fact(f"{engine} weights", Verdict.NOTED, found)


def _digest(directory: Path | None) -> str:
    path = directory / _WEIGHTS if directory else None
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.is_file() else ""


def _digest_of(before: Recorded, run: MlflowRun) -> str:
    """Of the weights in MLflow; empty where `automl gc` removed them."""
    client = before.store.client
    files = client.list_artifacts(run.info.run_id, "model")
    if not any(file.path == f"model/{_WEIGHTS}" for file in files):
        return ""
    with tempfile.TemporaryDirectory() as aside:
        fetched = client.download_artifacts(run.info.run_id, f"model/{_WEIGHTS}", aside)
        return _digest(Path(fetched).parent)
