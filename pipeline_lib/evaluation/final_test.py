"""The only reader of a test set: it measures a model once and keeps the figures."""

from __future__ import annotations

import base64
import io
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.evaluation.ledger import Entry
from pipeline_lib.files import locked
from pipeline_lib.metrics import ACCURACY, Metric, probabilities
from pipeline_lib.resampling import bootstrap, percentiles
from pipeline_lib.selection.calibration import expected_calibration_error, reliability
from pipeline_lib.test_result import Calibration, ClassResult, Mistake, Scored, TestResult

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from pipeline_lib.data.examples import Examples

_log = logging.getLogger("automl")

CONFIDENCE = 0.95
MISTAKES = 25


def read_figures(path: Path) -> TestResult | None:
    """The figures that a model has already; None where it was never measured on this test set.

    A file that cannot be read is as good as none: the model is measured again, which the ledger
    counts, rather than that a run ends after its search.
    """
    try:
        return TestResult.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def evaluate_once(
    entry: Entry,
    network: nn.Module,
    classes: tuple[str, ...],
    temperature: float = 1.0,
    metric: Metric = ACCURACY,
) -> TestResult:
    """Measure one chosen model on the test set; one that was measured before keeps its figures.

    The ledger's line is durable before the first image is read: an evaluation that crashes counts,
    and as it left no figures, the next one is another line.

    Args:
        entry: Which model and test set; says where the ledger is.
        network: The model: raw images (B, C, H, W) to logits (B, classes).
        classes: Names of the classes, by label.
        temperature: Divides the logits for the calibrated figures, above 0; fitted elsewhere.
        metric: What the model was chosen by; accuracy is always measured.
    """
    entry.figures.parent.mkdir(parents=True, exist_ok=True)
    with locked(entry.figures.with_suffix(".lock")):  # another run may be measuring the same model
        known = read_figures(entry.figures)
        if known is not None:
            return known
        result = _measure(entry, network, classes, temperature, metric)
        entry.keep(result.as_json())
    return result


def _measure(
    entry: Entry,
    network: nn.Module,
    classes: tuple[str, ...],
    temperature: float,
    metric: Metric,
) -> TestResult:
    import numpy as np

    from pipeline_lib.evaluation.perturbations import accuracy_when_perturbed
    from pipeline_lib.training.loop import batches, predict_on_all_cores

    reading = entry.write()
    examples = entry.test_set.unseal()
    labels, inputs = examples.targets, batches(examples, np.arange(len(examples)))
    logits = predict_on_all_cores(network, inputs).numpy()  # (N, classes)
    return replace(
        summarise(labels, logits.argmax(1), classes, reading),
        calibration=_calibration(logits, labels, temperature),
        robustness=accuracy_when_perturbed(network, examples),
        scored=_scored(metric, logits, labels),
        mistakes=_mistakes(logits / temperature, examples, classes),
    )


def _scored(
    metric: Metric, logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> Scored | None:
    """The value of another metric than accuracy, which has an interval of its own."""
    import numpy as np

    if metric == ACCURACY:
        return None
    answers = probabilities(logits)
    try:
        (values,) = bootstrap(metric, (answers,), labels, np.random.default_rng(0))
        return Scored(metric, metric.score(answers, labels), percentiles(values))
    except ConfigurationError as error:  # the reading of the test set must not be lost with it
        _log.warning("%s: the model was not scored by it on the test set", error)
        return None


def summarise(
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    reading: int = 1,
) -> TestResult:
    """Accuracy with its interval, per-class figures and the confusion matrix.

    `labels` and `predicted` are (N,) in 0…classes-1. The interval is Wilson's score interval
    (Wilson 1927), which keeps its coverage near 100 %, where the textbook interval does not.
    """
    import numpy as np
    from scipy.stats import binomtest

    count = len(classes)
    confusion = np.bincount(labels * count + predicted, minlength=count**2).reshape(count, count)
    correct = int(np.trace(confusion))
    low, high = binomtest(correct, len(labels)).proportion_ci(CONFIDENCE, method="wilson")
    rows = []
    for index, name in enumerate(classes):
        hits, truth, claims = (
            int(confusion[index, index]),
            int(confusion[index].sum()),
            int(confusion[:, index].sum()),
        )
        precision, recall = hits / max(claims, 1), hits / max(truth, 1)
        f1 = 2 * hits / max(truth + claims, 1)
        rows.append(ClassResult(name, truth, precision, recall, f1))
    return TestResult(
        accuracy=correct / len(labels),
        interval=(float(low), float(high)),
        size=len(labels),
        classes=tuple(rows),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        reading=reading,
    )


def _calibration(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], temperature: float
) -> Calibration:
    plain, scaled = reliability(logits, labels), reliability(logits, labels, temperature)
    errors = expected_calibration_error(plain), expected_calibration_error(scaled)
    return Calibration(temperature, *errors, bins=plain, bins_scaled=scaled)


def _mistakes(
    logits: npt.NDArray[np.floating], examples: Examples, classes: tuple[str, ...]
) -> tuple[Mistake, ...]:
    import numpy as np
    from scipy.special import softmax

    labels, predicted = examples.targets, logits.argmax(1)
    confidence = softmax(logits, axis=1).max(1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    images, _ = examples.batch(worst)  # (B, C, H, W)
    return tuple(
        Mistake(
            image=int(i),
            label=classes[labels[i]],
            predicted=classes[predicted[i]],
            confidence=float(confidence[i]),
            picture=_png(image.numpy()),
        )
        for i, image in zip(worst, images, strict=True)
    )


def _png(image: npt.NDArray[np.uint8]) -> str:
    """An image (C, H, W) with one or three channels as a PNG file in base64."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)  # (H, W) or (H, W, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
