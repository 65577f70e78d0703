"""The chapter's define-by-run ConvNet ("PyTorch and AutoML", Mastering PyTorch, ch. 12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pipeline_lib.models.convnet import Normalise


class BookNet(nn.Module):
    """Raw images (B, C, H, W), uint8 or float in 0…255, to log-probabilities (B, classes)."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        channels, height, width = architecture["shape"]
        layers: list[nn.Module] = []
        for depth in architecture["conv_depths"]:
            layers += [nn.Conv2d(channels, depth, 3, 1), nn.ReLU()]
            channels, height, width = depth, height - 2, width - 2
        layers += [nn.MaxPool2d(2), nn.Dropout(architecture["conv_dropout"]), nn.Flatten()]
        features = channels * (height // 2) * (width // 2)
        hidden = zip(architecture["fc_sizes"], architecture["fc_dropouts"], strict=True)
        for size, dropout in hidden:
            layers += [nn.Linear(features, size), nn.ReLU(), nn.Dropout(dropout)]
            features = size
        self.normalise = Normalise(architecture["shape"][0])
        self.layers = nn.Sequential(
            *layers, nn.Linear(features, architecture["classes"]), nn.LogSoftmax(dim=1)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) raw pixels to (B, classes) log-probabilities."""
        log_probabilities: Tensor = self.layers(self.normalise(images))  # (B, classes)
        return log_probabilities


def design(configuration: Mapping[str, Any], shape: Sequence[int], classes: int) -> dict[str, Any]:
    """The architecture that a configuration describes for images (C, H, W) and so many classes."""
    fully_connected = range(configuration["num_fc_layers"])
    convolutions = range(configuration["num_conv_layers"])
    return {
        "kind": "book",
        "shape": list(shape),
        "classes": classes,
        "conv_depths": [configuration[f"conv_depth_{i}"] for i in convolutions],
        "conv_dropout": configuration["conv_dropout"],
        "fc_sizes": [configuration[f"fc_output_feat_{i}"] for i in fully_connected],
        "fc_dropouts": [configuration[f"fc_dropout_{i}"] for i in fully_connected],
    }
