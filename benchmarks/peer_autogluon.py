"""AutoGluon tabular on pixels: a script that runs in an environment of its own.

    python peer_autogluon.py DIRECTORY SECONDS

The directory has `train`, `validation` and `test`: `_pixels.npy` (N, features) and `_labels.npy`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np


def main(directory: Path, seconds: float) -> None:
    """Fit for so many seconds, read the test arrays once, and print what came of it as JSON."""
    import pandas as pd
    from autogluon.tabular import TabularPredictor, __version__

    def frame(part: str) -> pd.DataFrame:
        pixels = pd.DataFrame(np.load(directory / f"{part}_pixels.npy")).add_prefix("pixel")
        return pixels.assign(label=np.load(directory / f"{part}_labels.npy"))

    train, validation = frame("train"), frame("validation")
    predictor = TabularPredictor(
        "label", "multiclass", "accuracy", path=str(directory / "models"), verbosity=0
    )
    began = time.perf_counter()
    predictor.fit(
        train,
        tuning_data=validation,
        time_limit=seconds,
        presets="medium_quality",
        excluded_model_types=["FASTAI", "NN_TORCH"],  # there is no torch here
    )
    spent = time.perf_counter() - began
    said = {
        "seconds": spent,
        "val_accuracy": predictor.evaluate(validation)["accuracy"],
        "test_accuracy": predictor.evaluate(frame("test"))["accuracy"],
        "model": f"{predictor.model_best} of {', '.join(predictor.model_names(level=1))}",
        "version": __version__,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
