"""The script that MLflow stores with a model ("models from code") and runs to load it.

It needs this package beside it and the weights it names; nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from pipeline_lib.models import load_model

BATCH = 500  # images at a time: bounds the memory of a long request


class ImageClassifier(PythonModel):
    """Images (B, C, H, W) uint8 to class probabilities (B, classes) float32."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network that was stored with this script."""
        self.network = load_model(Path(context.artifacts["model"]))

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: object = None
    ) -> np.ndarray:
        """Probabilities (B, classes), each row summing to 1."""
        images = torch.from_numpy(np.ascontiguousarray(model_input))  # (B, C, H, W)
        with torch.inference_mode():
            logits = torch.cat([self.network(part) for part in torch.split(images, BATCH)])
            return logits.softmax(dim=1).numpy()


mlflow.models.set_model(ImageClassifier())
