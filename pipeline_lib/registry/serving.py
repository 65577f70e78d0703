"""The script that MLflow stores with a model ("models from code") and runs to load it.

It needs this package beside it and the weights it names; nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from pipeline_lib.models.saved import load_model
from pipeline_lib.registry.served import Served


class ImageClassifier(PythonModel):
    """Images (B, C, H, W) uint8 to calibrated class probabilities (B, classes) float32."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network that was stored with this script, and what calibrates it."""
        directory = Path(context.artifacts["model"])
        self.network = load_model(directory)
        self.served = Served.load(directory)

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: object = None
    ) -> np.ndarray:
        """Probabilities (B, classes), each row summing to 1."""
        images = torch.from_numpy(np.ascontiguousarray(model_input))  # (B, C, H, W)
        return self.served.probabilities(self.network, images).numpy()


mlflow.models.set_model(ImageClassifier())
