"""What one reading of the test set says of one model, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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

    __test__ = False  # pytest: not a test

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TestResult:
        """The result that `as_json` gave these values."""
        calibration = fields["calibration"]
        return cls(
            **{
                **fields,
                "interval": tuple(fields["interval"]),
                "classes": tuple(ClassResult(**each) for each in fields["classes"]),
                "confusion": tuple(tuple(row) for row in fields["confusion"]),
                "calibration": calibration and Calibration.from_json(calibration),
                "mistakes": tuple(Mistake(**each) for each in fields["mistakes"]),
            }
        )

    def metrics(self) -> dict[str, float]:
        """The numbers to record of a run, by name."""
        low, high = self.interval
        found = {
            "test_accuracy": self.accuracy,
            "test_accuracy_low": low,
            "test_accuracy_high": high,
            "test_set_reading": float(self.reading),
        }
        if self.calibration is not None:
            found["test_calibration_error"] = self.calibration.error
            found["test_calibration_error_scaled"] = self.calibration.error_scaled
        return found
