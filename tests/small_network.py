"""A network that is built in no time, for tests to which any would do."""

from __future__ import annotations

from typing import Any


def small_network(classes: int, dropout: float = 0.1) -> dict[str, Any]:
    """The architecture of a network for grey images of 12×12 pixels."""
    return {
        "kind": "book",
        "shape": [1, 12, 12],
        "classes": classes,
        "conv_depths": [4],
        "conv_dropout": dropout,
        "fc_sizes": [8],
        "fc_dropouts": [dropout],
    }
