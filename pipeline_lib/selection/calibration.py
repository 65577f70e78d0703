"""Does a model that is 90 % sure turn out right in 90 of 100 cases?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_lib.test_result import Bin

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]
    Labels = npt.NDArray[np.int64]

BINS = 15
_TEMPERATURES = (0.05, 20.0)  # a model that needs more than this is beyond scaling


def reliability(logits: Floats, labels: Labels, temperature: float = 1.0) -> tuple[Bin, ...]:
    """How often the model is right by how sure it is, in 15 bins of equal width.

    `logits` is (N, classes), `labels` (N,); confidence is the highest probability.
    """
    import numpy as np
    from scipy.special import softmax

    probabilities = softmax(logits.astype(np.float64) / temperature, axis=1)  # (N, classes)
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    edges = np.linspace(0, 1, BINS + 1)
    place = np.clip(np.searchsorted(edges, confidence) - 1, 0, BINS - 1)  # (N,)
    counts, sure, hits = (
        np.bincount(place, weights, BINS) for weights in (None, confidence, right.astype(float))
    )
    filled = np.maximum(counts, 1)
    return tuple(
        Bin(float(low), float(high), int(n), float(c), float(a))
        for low, high, n, c, a in zip(
            edges[:-1], edges[1:], counts, sure / filled, hits / filled, strict=True
        )
    )


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Mean gap of confidence and accuracy, weighted by images, in [0, 1] (Naeini et al. 2015)."""
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.confidence - b.accuracy) for b in bins) / max(total, 1)


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """The divisor of the logits that makes the labels likeliest, above 0 (Guo et al. 2017).

    Accuracy stays as it is: the order of the classes does not change. `logits` (N, classes) and
    `labels` (N,) are the validation part's.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    wide = logits.astype(np.float64)
    true = wide[np.arange(len(labels)), labels]  # (N,)

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(wide * scale, axis=1) - true * scale))

    bounds = (np.log(_TEMPERATURES[0]), np.log(_TEMPERATURES[1]))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
