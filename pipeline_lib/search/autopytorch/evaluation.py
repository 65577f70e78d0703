"""One evaluation: fit a pipeline on the given split, score it, write its network to disk.

Runs in a process of its own, started by Auto-PyTorch's `ExecuteTaFuncWithQueue`.
"""

from __future__ import annotations

import copy
import math
import time
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline_lib.search.autopytorch import compat
from pipeline_lib.search.autopytorch.export import UNSUPPORTED, CannotExportError, export

compat.prepare()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from autoPyTorch.automl_common.common.utils.backend import Backend, BackendContext  # noqa: E402
from autoPyTorch.datasets.resampling_strategy import HoldoutValTypes  # noqa: E402
from autoPyTorch.datasets.tabular_dataset import TabularDataset  # noqa: E402
from autoPyTorch.evaluation.abstract_evaluator import fit_and_suppress_warnings  # noqa: E402
from autoPyTorch.evaluation.tae import get_cost_of_crash  # noqa: E402
from autoPyTorch.evaluation.train_evaluator import TrainEvaluator  # noqa: E402
from ConfigSpace.configuration_space import Configuration  # noqa: E402
from smac.tae import StatusType  # noqa: E402

from pipeline_lib.data.examples import all_inputs  # noqa: E402
from pipeline_lib.data.source import Source  # noqa: E402
from pipeline_lib.metrics import ACCURACY, find  # noqa: E402
from pipeline_lib.search.autopytorch import components  # noqa: E402
from pipeline_lib.search.autopytorch.job import Job  # noqa: E402
from pipeline_lib.training.memory import limit_memory  # noqa: E402

_TRAINING_SHARE = 0.8
"""Of the seconds of an evaluation: the rest is for what comes before and after its training."""
_CURVE_POINTS = 200
"""At most, evenly spaced: a result that does not fit into a pipe's 64 KB would never be read,
for its reader waits for the process to end and the process for its reader."""


class Pixels(np.ndarray):
    """A matrix (N, features) of uint8 whose rows are float32 as soon as they are taken.

    So no process holds, and no disk keeps, all of them in four times the bytes.
    """

    def __getitem__(self, key: Any) -> np.ndarray:
        """A part of it, float32."""
        return np.asarray(super().__getitem__(key)).astype(np.float32)


class SplitDataset(TabularDataset):
    """Flattened pictures with the split that was given, not one of Auto-PyTorch's own."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, splits: Any) -> None:
        self._given = splits
        columns = list(range(features.shape[1]))
        validator = SimpleNamespace(
            transform=lambda X, Y: (X, Y),
            feature_validator=SimpleNamespace(
                categorical_columns=[],
                numerical_columns=columns,
                num_features=len(columns),
                categories=[],
            ),
        )
        super().__init__(
            features,
            labels,
            resampling_strategy=HoldoutValTypes.holdout_validation,
            dataset_name="automl",
            validator=validator,
        )
        self.test_tensors = None

    def get_splits_from_resampling_strategy(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The given split."""
        return [self._given]


class MappedBackend(Backend):
    """A backend whose data set is mapped from arrays on disk, not unpickled for every use."""

    def __init__(self, job: Job) -> None:
        self.directory = job.directory
        self.source = job.source
        self.shape = job.source.problem.inputs.shape
        self.memory_mb = job.memory_mb
        self.metric = find(job.metric)
        self.deadline = job.deadline
        self.training_seconds = _TRAINING_SHARE * job.evaluation_seconds
        temporary = str(job.directory / "autopytorch")
        context = BackendContext(temporary, None, False, False, prefix="autopytorch")
        super().__init__(context, "autopytorch")

    def load_datamanager(self) -> SplitDataset:
        """A data set that shares its arrays with every other of this process."""
        return copy.copy(_opened(self.source, self.directory))

    def time_limit(self) -> components.TimeLimit:
        """For a training that begins now."""
        own = time.monotonic() + self.training_seconds
        return components.TimeLimit(min(own, self.deadline))

    def model_directory(self, config_id: int, epochs: int) -> Path:
        """Where an evaluation leaves its network."""
        return self.directory / "models" / f"{config_id}-{epochs}"


@lru_cache(maxsize=1)
def _opened(source: Source, directory: Path) -> SplitDataset:
    examples = source.examples()
    inputs = all_inputs(examples)  # (N, C, H, W)
    features = inputs.reshape(len(inputs), -1).view(Pixels)
    splits = tuple(np.load(directory / f"{name}.npy") for name in ("train", "validation"))
    labels = np.array(examples.targets)  # writable: torch takes it as it is
    return SplitDataset(features, labels, splits)


class Evaluator(TrainEvaluator):
    """Scores on the validation rows only: Auto-PyTorch would predict the training rows as well."""

    def fit_predict_and_loss(self) -> None:
        """Fit, score, export, and send the result up the queue."""
        torch.manual_seed(self.seed)
        pipeline = self._get_pipeline()
        train, validation = self.splits[0]
        fit_dictionary = {
            "train_indices": train,
            "val_indices": validation,
            "split_id": 0,
            "num_run": self.num_run,
            "time_limit": self.backend.time_limit(),
            **self.fit_dictionary,
        }
        fit_and_suppress_warnings(self.logger, pipeline, fit_dictionary, None)
        probabilities = pipeline.predict_proba(self.X_train[validation])
        finite = bool(np.isfinite(probabilities).all())
        scores = self._scores(probabilities, self.y_train[validation]) if finite else {}
        regret = self.backend.metric.regret(scores[self.backend.metric.name]) if finite else None
        directory = self.backend.model_directory(self.configuration.config_id, int(self.budget))
        export(pipeline, self.backend.shape, directory)
        summary = pipeline.named_steps["trainer"].run_summary
        info = {
            "scores": scores,
            "regret": regret,
            "finite": finite,
            "curve": _curve(summary.performance_tracker, self.backend.metric.name),
            "samples": self._samples(pipeline, len(train)),
            "parameters": summary.total_parameter_count,
            "seconds": time.time() - self.starttime,
            "model": str(directory),
        }
        # The search minimises the regret of our metric; Auto-PyTorch's says what a failure costs.
        self._send(get_cost_of_crash(self.metric) if regret is None else regret, info)

    def _scores(self, probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """By name: accuracy, and the value of the search's own metric."""
        metric = self.backend.metric
        accuracy = float(np.mean(probabilities.argmax(1) == targets))
        found = {ACCURACY.name: accuracy}
        if metric != ACCURACY:
            found[metric.name] = metric.score(probabilities, targets)
        return found

    def _samples(self, pipeline: Any, an_epoch: int) -> int:
        """Training samples seen; those that do not fill a batch count, as they do in an epoch."""
        loader = pipeline.named_steps["data_loader"].train_data_loader
        full = int(self.budget) * len(loader) * loader.sampler.batch_size
        served = loader.dataset.served
        return int(self.budget) * an_epoch if served >= full else served

    def _send(self, loss: float, info: dict[str, Any]) -> None:
        self.queue.put(
            {
                "loss": loss,
                "additional_run_info": info,
                "status": StatusType.SUCCESS,
                "final_queue_element": True,  # else the reader waits a second for more
            }
        )


def evaluate(
    config: Configuration,
    backend: MappedBackend,
    output_y_hat_optimization: bool,
    instance: str,
    **settings: Any,
) -> None:
    """What `ExecuteTaFuncWithQueue` calls in the new process.

    Raises:
        CannotExportError: The preprocessing that was chosen could not be used outside.
        MemoryError: Its memory limit was reached.
    """
    compat.die_with_parent()
    components.install()
    components.follow(backend.metric)
    torch.set_num_threads(1)
    if config["feature_preprocessor:__choice__"] in UNSUPPORTED:
        name = config["feature_preprocessor:__choice__"]
        raise CannotExportError(f"the preprocessing {name} has no plain counterpart")
    limit_memory(backend.memory_mb)
    try:
        Evaluator(configuration=config, backend=backend, **settings).fit_predict_and_loss()
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise MemoryError from error
        raise


def _curve(tracker: dict[str, dict[int, Any]], metric: str) -> list[dict[str, float]]:
    """Loss, value and seconds of the epochs, of so many that the last is among them."""
    epochs = sorted(tracker["train_loss"])
    step = math.ceil(len(epochs) / _CURVE_POINTS)
    return [
        {
            "epoch": epoch,
            "seconds": tracker["end_time"][epoch] - tracker["start_time"][epoch],
            "train_loss": float(tracker["train_loss"][epoch]),
            "value": float(tracker["val_metrics"][epoch][metric]),
        }
        for epoch in epochs[::-step][::-1]
    ]
