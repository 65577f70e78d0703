"""What a registered model has beside its network, and its answers: calibrated probabilities."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib.errors import ModelError
from pipeline_lib.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

_FILE = "served.json"
_BATCH = 500  # images at a time: bounds the memory of a long request


@dataclass(frozen=True)
class Served:
    """What was fitted to data beside the weights, and is kept with them."""

    temperature: float = 1.0  # divides the logits; fitted on validation images
    brightness: tuple[float, float] | None = None  # of nearly all training images, in [0, 1]

    def save(self, directory: Path) -> None:
        """Keep it with a network."""
        write_whole(directory / _FILE, json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Served:
        """What is kept with a network; models that were registered before have nothing.

        Raises:
            ModelError: The file is damaged.
        """
        path = directory / _FILE
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            temperature, brightness = float(kept["temperature"]), kept["brightness"]
            if not 0 < temperature < math.inf:
                raise ValueError(f"temperature {temperature}")
            low, high = map(float, brightness) if brightness else (0.0, 0.0)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError("model", f"cannot be read ({error})", value=str(path)) from error
        return cls(temperature, (low, high) if brightness else None)

    def probabilities(self, network: nn.Module, images: Tensor) -> Tensor:
        """Probabilities (N, classes) of raw images (N, C, H, W), each row summing to 1."""
        import torch

        with torch.inference_mode():
            logits = torch.cat([network(batch) for batch in images.split(_BATCH)])  # (N, classes)
            return (logits / self.temperature).softmax(dim=1)
