"""What one reading of the test set says of one model, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline_lib.metrics import ACCURACY, Metric


@dataclass(frozen=True)
class Bin:
    """The images whose confidence lies above `low` and at most at `high`."""

    low: float
    high: float
    count: int
    confidence: float  # mean over them, in [0, 1]; 0 without any
    accuracy: float  # share of them that is right; 0 without any


@dataclass(frozen=True)
class ClassResult:
    """How one class fared on the test set."""

    name: str
    support: int  # images of this class
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Calibration:
    """How far the model's confidence is from its accuracy, as it is and temperature-scaled."""

    temperature: float  # fitted on validation images
    error: float  # expected calibration error (ECE) in [0, 1]
    error_scaled: float
    bins: tuple[Bin, ...]  # reliability, by confidence
    bins_scaled: tuple[Bin, ...]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Calibration:
        """The calibration of which these are the values."""
        bins = {key: tuple(Bin(**each) for each in fields[key]) for key in ("bins", "bins_scaled")}
        return cls(**{**fields, **bins})

    def sentence(self) -> str:
        """Both errors, in words."""
        return (
            f"Expected calibration error {self.error:.2%}, {self.error_scaled:.2%} at the "
            f"temperature {self.temperature:.2f} that was fitted on validation images and that the "
            "registered model applies."
        )


@dataclass(frozen=True)
class Mistake:
    """A test image that the model took for another class."""

    image: int  # its place in the test set, from 0
    label: str
    predicted: str
    confidence: float  # in [0, 1]
    picture: str  # the image itself: a PNG file in base64


@dataclass(frozen=True)
class Scored:
    """The value of a metric on the test set."""

    metric: Metric
    value: float
    interval: tuple[float, float]  # 95 %, bootstrap within each class

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Scored:
        """The value of which these are the fields."""
        low, high = fields["interval"]
        return cls(Metric(**fields["metric"]), fields["value"], (low, high))

    @property
    def interval_text(self) -> str:
        """Its interval, for people."""
        low, high = map(self.metric.text, self.interval)
        return f"{low} to {high}"


@dataclass(frozen=True)
class TestResult:
    """What one reading of the test set says of one model."""

    accuracy: float  # in [0, 1]
    interval: tuple[float, float]  # 95 % Wilson score interval of the accuracy
    size: int
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]  # (true class, predicted class) counts
    reading: int  # which reading of this test set it was, from 1
    calibration: Calibration | None = None
    robustness: Mapping[str, float] = field(default_factory=dict)  # accuracy by perturbation
    mistakes: tuple[Mistake, ...] = ()  # the most confident ones, most confident first
    scored: Scored | None = None  # of the run's metric, where that is not accuracy

    __test__ = False  # pytest: not a test

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TestResult:
        """The result that `as_json` gave these values."""
        calibration, scored = fields["calibration"], fields.get("scored")  # older ones have none
        return cls(
            **{
                **fields,
                "interval": tuple(fields["interval"]),
                "classes": tuple(ClassResult(**each) for each in fields["classes"]),
                "confusion": tuple(tuple(row) for row in fields["confusion"]),
                "calibration": calibration and Calibration.from_json(calibration),
                "scored": scored and Scored.from_json(scored),
                "mistakes": tuple(Mistake(**each) for each in fields["mistakes"]),
            }
        )

    @property
    def figures(self) -> dict[str, float]:
        """What a registered model is tagged with."""
        scored = {f"test_{self.scored.metric.key}": self.scored.value} if self.scored else {}
        return {"test_accuracy": self.accuracy, **scored}

    @property
    def sentence(self) -> str:
        """In words: `99.10% test accuracy (95% CI 98.90% to 99.30%)`, after another metric."""
        return " and ".join(
            f"{metric.text(value)} test {metric.title} (95% CI {interval})"
            for metric, value, interval in self._valued
        )

    @property
    def text(self) -> str:
        """As `sentence`, where it is clear that it is of the test set."""
        if self.scored is None:
            return "".join(f"{m.phrase(value)}  (95% CI {i})" for m, value, i in self._valued)
        return ", ".join(f"{m.text(value)} {m.title} (95% CI {i})" for m, value, i in self._valued)

    @property
    def _valued(self) -> list[tuple[Metric, float, str]]:
        """Metric, value and interval: of the run's metric, and of accuracy last."""
        low, high = map(ACCURACY.text, self.interval)
        scored = self.scored
        own = [(scored.metric, scored.value, scored.interval_text)] if scored else []
        return [*own, (ACCURACY, self.accuracy, f"{low} to {high}")]

    def metrics(self) -> dict[str, float]:
        """The numbers to record of a run, by name."""
        low, high = self.interval
        found = {
            **self.figures,
            "test_accuracy_low": low,
            "test_accuracy_high": high,
            "test_set_reading": float(self.reading),
        }
        if self.scored is not None:
            name = f"test_{self.scored.metric.key}"
            found[f"{name}_low"], found[f"{name}_high"] = self.scored.interval
        if self.calibration is not None:
            found["test_calibration_error"] = self.calibration.error
            found["test_calibration_error_scaled"] = self.calibration.error_scaled
        return found
