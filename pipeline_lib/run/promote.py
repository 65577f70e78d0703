"""A version that a person makes champion: compared with the champion first, and then measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib.config import RunConfig
from pipeline_lib.data.source import Source, prepare
from pipeline_lib.data.splits import Split
from pipeline_lib.errors import ConfigurationError, ModelError
from pipeline_lib.evaluation.ledger import Entry
from pipeline_lib.home import Home
from pipeline_lib.metrics import ACCURACY, Metric, find
from pipeline_lib.outcome import Champion
from pipeline_lib.registry.promotion import (
    Event,
    champion,
    check_champion,
    promotable,
    promote,
)
from pipeline_lib.registry.versions import (
    TEST_TAG,
    Classifier,
    load_champion,
    model_name,
    record_test,
)
from pipeline_lib.selection.comparison import never_trained_on
from pipeline_lib.statistics import Comparison, Paired
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.recorder import CONFIGURATION

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class PromotionProposal:
    """A version that is to become champion, and how it stands against the one that is."""

    dataset: str
    version: Champion
    champion: Champion | None
    classifier: Classifier  # the version's network
    source: Source
    metric: Metric  # of the version's run
    comparison: Comparison | None = None
    not_compared: str = ""  # why there is no comparison, where there is a champion

    @property
    def is_worse(self) -> bool:
        """Whether it is shown to be worse than the champion."""
        pair = self.comparison
        return pair is not None and pair.shown and pair.b == _called(self.version)

    def sentence(self) -> str:
        """How it stands, in words."""
        if self.champion is None:
            return f"{model_name(self.dataset)} has no champion yet"
        if self.comparison is None:
            both = f"{_called(self.version)} and {_called(self.champion)}, which is champion,"
            return f"{both} cannot be compared: {self.not_compared}"
        return f"{self.comparison.sentence()}; {_called(self.champion)} is champion"


def compare_version(
    home: Home, dataset: str, version: int | None, progress: Callable[[str], None]
) -> PromotionProposal:
    """Compare a version with the champion, on the validation images that both were chosen by.

    Args:
        home: Where the registry is.
        dataset: Whose versions.
        version: Which version; None: the challenger.
        progress: Gets a line for each thing that takes time.

    Raises:
        ModelError: There is no such version, it is champion already, or its files are gone.
        DataError: The data set cannot be had.
    """
    wanted, current_champion = promotable(home, dataset, version), champion(home, dataset)
    classifier, config = _load(home, dataset, wanted), _asked(home, wanted)
    source = prepare(_reachable(config or RunConfig.parse({"dataset": dataset})), home, progress)
    metric = find(config.metric) if config else ACCURACY
    found = PromotionProposal(dataset, wanted, current_champion, classifier, source, metric)
    if current_champion is None:
        return found
    split = _split(config, source, wanted)
    if split is None:
        return replace(found, not_compared="the images that it was chosen by are not known")
    if not never_trained_on(current_champion.tags, split):
        reason = "they were chosen on different splits, and each may have seen the other's images"
        return replace(found, not_compared=reason)
    try:
        answers = {
            _called(wanted): _logits(classifier, split),
            _called(current_champion): _logits(_load(home, dataset, current_champion), split),
        }
    except ModelError as error:
        return replace(found, not_compared=str(error))
    (comparison,) = Paired(answers, split.validation_targets, metric).all_pairs()
    return replace(found, comparison=comparison)


def measure_and_promote(home: Home, proposal: PromotionProposal, why: str) -> tuple[Event, str]:
    """Measure the version on the test set, unless it was before, and make it champion.

    Returns what happened, and what the version is worth on the test set, in words.

    Raises:
        ModelError: Another version became champion since they were compared.
    """
    dataset, number = proposal.dataset, proposal.version.version
    met = proposal.champion.version if proposal.champion else None
    check_champion(home, dataset, met)  # a person may have thought about it for long
    worth = _measured(home, proposal)
    return promote(home, dataset, number, why, met=met), worth


def _measured(home: Home, proposal: PromotionProposal) -> str:
    """What the version is worth on the test set, which is opened if it never was for it."""
    from pipeline_lib.evaluation.final_test import evaluate_once, read_figures

    dataset, version = proposal.dataset, proposal.version
    classifier, test_set = proposal.classifier, proposal.source.test_set
    called = f"{model_name(dataset)}/{version.version}"
    entry = Entry(home, test_set, called, classifier.digest)
    if TEST_TAG in version.tags and read_figures(entry.figures) is None:
        return f"Test accuracy {float(version.tags[TEST_TAG]):.2%}, as it was registered"
    temperature = classifier.served.temperature
    test = evaluate_once(entry, classifier.module, classifier.classes, temperature, proposal.metric)
    record_test(home, dataset, version.version, test.figures)
    low, high = test.interval
    return (
        f"Test accuracy {test.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}), reading "
        f"{test.reading} of this test set"
    )


def _called(version: Champion) -> str:
    return f"version {version.version}"


def _load(home: Home, dataset: str, version: Champion) -> Classifier:
    return load_champion(home, f"models:/{model_name(dataset)}/{version.version}")


def _asked(home: Home, version: Champion) -> RunConfig | None:
    """What the run of a version was asked for; None where MLflow does not say."""
    from mlflow.exceptions import MlflowException

    try:
        run = open_store(home).client.get_run(version.run_id)
        return RunConfig.of_record(json.loads(run.data.tags[CONFIGURATION]))
    except (MlflowException, KeyError, ValueError, ConfigurationError):
        return None


def _reachable(config: RunConfig) -> RunConfig:
    """Without a directory of files that is gone: they can be fetched, or were kept as arrays."""
    root = config.data_root
    gone = root is not None and not Path(root).is_dir()
    return config.model_copy(update={"data_root": None}) if gone else config


def _split(config: RunConfig | None, source: Source, version: Champion) -> Split | None:
    """The split that a version was chosen on; None where MLflow does not say, or data differ."""
    if config is None:
        return None
    split = Split(source, config.split_seed, config.validation_share)
    return split if never_trained_on(version.tags, split) else None


def _logits(classifier: Classifier, split: Split) -> npt.NDArray[np.float32]:
    """Logits (N, classes) on the validation images."""
    from pipeline_lib.training.loop import batches, predict

    images = batches(split.examples, split.validation)
    logits: npt.NDArray[np.float32] = predict(classifier.module, images).numpy()
    return logits
