"""The finalists on folds: trained again on each, to see differences that one split cannot show."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline_lib.config import RunConfig
from pipeline_lib.data.splits import Split
from pipeline_lib.families.family import Family, named
from pipeline_lib.metrics import Metric
from pipeline_lib.outcome import Folded, Member
from pipeline_lib.search.engine import find_engine
from pipeline_lib.selection import leaderboard
from pipeline_lib.selection.ensemble_storage import Ensembles
from pipeline_lib.statistics import compare_on_folds
from pipeline_lib.training.retraining import Retraining, retrain
from pipeline_lib.training.workers import TrialJob
from pipeline_lib.trial import ENSEMBLE, Trial

_log = logging.getLogger("automl")
_NOT_OURS = "was not trained again on folds: only its own search can train a network of"
_NO_CONFIGURATION = (
    "was not trained again on folds: the registry keeps its network, not how it was trained"
)

Mixture = tuple[Member, ...]
"""Models that answer together; one of weight 1 is a model alone."""


def compare_finalists(
    config: RunConfig,
    kept: Ensembles,
    trials: list[Trial],
    split: Split,
    champion: str,
    families: Sequence[Family] = (),
) -> Folded:
    """Train the finalists' configurations again on each fold, and compare them in pairs.

    Folds are of all training images; the test set stays closed. Takes time beyond the budget,
    which is said beforehand.

    Args:
        config: Says how many folds, and with how many workers.
        kept: The run's ensembles.
        trials: All of the run.
        split: What they were trained on.
        champion: What sentences call the champion that they would have to beat; empty without one.
        families: Those that are users' files; others are known by their names.
    """
    folds = config.validation_folds
    by_label = {trial.label: trial for trial in trials}
    mixtures = {trial.title: _mixture(kept, trial) for trial in leaderboard.finalists(trials)}
    engines = {n: [find_engine(by_label[e.label].engine) for e in m] for n, m in mixtures.items()}
    others = {n: [e.title for e in of if not e.retrains] for n, of in engines.items()}
    fit = {name: mixture for name, mixture in mixtures.items() if not others[name]}
    left_out = [f"{name} {_NOT_OURS} {titles[0]}" for name, titles in others.items() if titles]
    left_out += [f"The {champion} {_NO_CONFIGURATION}"] if champion else []
    if len(fit) < 2:
        return Folded((), (*left_out, f"Nothing is compared on {folds} folds: that takes two"))
    chosen = [by_label[label] for label in dict.fromkeys(e.label for m in fit.values() for e in m)]
    _say_the_cost(config, chosen)
    place = kept.directory.parent
    values, failed = _values(config, place, split, fit, chosen, families)
    left_out += [f"{label} could not be trained again: {why}" for label, why in failed.items()]
    return Folded(compare_on_folds(values, chosen[0].metric), tuple(left_out))


def _mixture(kept: Ensembles, trial: Trial) -> Mixture:
    if trial.engine == ENSEMBLE:
        return next(each.members for each in kept.stored() if each.trial.label == trial.label)
    value = trial.rungs[-1].value
    return (Member(trial.label, trial.title, 1.0, value, value),)


def _say_the_cost(config: RunConfig, trials: list[Trial]) -> None:
    folds, workers = config.validation_folds, config.workers
    once = sum(trial.rungs[-1].seconds for trial in trials)
    _log.info(
        "validation_folds: %d models are trained again on each of %d folds, %.0f s of training a "
        "fold: about %.0f s beyond the budget",
        len(trials),
        folds,
        once,
        folds * once / min(workers, folds * len(trials)),
    )


def _values(
    config: RunConfig,
    place: Path,
    split: Split,
    mixtures: Mapping[str, Mixture],
    trials: list[Trial],
    families: Sequence[Family],
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Value of each mixture on each fold by its name; and, by label, why a trial has none."""
    count = config.validation_folds
    values: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=place, prefix="folds-") as aside:
        folds = [(Path(aside, f"{n}"), split.fold(n, count)) for n in range(count)]
        again = [
            Retraining(
                trial.label,
                _job(config, trial, fold, directory / trial.label, families),
                (trial.rungs[-1].samples,),
            )
            for directory, fold in folds
            for trial in trials
        ]
        failed = retrain(again, config.workers)
        for name, mixture in mixtures.items():
            if not failed.keys() & {member.label for member in mixture}:
                values[name] = [
                    _value(trials[0].metric, mixture, fold, place) for place, fold in folds
                ]
    return values, failed


def _job(
    config: RunConfig, trial: Trial, fold: Split, directory: Path, families: Sequence[Family]
) -> TrialJob:
    from pipeline_lib.search.engine import trial_seed

    return TrialJob(
        family=named(trial.family, families),
        configuration=trial.configuration,
        split=fold,
        seed=trial_seed(config.drawn_seed, trial.number),
        directory=directory,
        seconds=config.rung_seconds,
        memory=config.trial_memory,
    )


def _value(metric: Metric, mixture: Mixture, fold: Split, directory: Path) -> float:
    from pipeline_lib.models.ensemble import combine
    from pipeline_lib.models.saved import load_model
    from pipeline_lib.training.loop import batches, predict_on_all_cores

    networks = (load_model(directory / member.label) for member in mixture)
    logits = [
        predict_on_all_cores(network, batches(fold.examples, fold.validation))
        for network in networks
    ]
    shares = ([member.weight for member in mixture], [member.temperature for member in mixture])
    mixed = combine(logits, *shares).numpy()
    return metric.scores(mixed, fold.validation_targets)[metric.name]
