"""What Auto-PyTorch gains here: a schedule that fits the epochs, and the same work done faster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from autoPyTorch.pipeline.components.preprocessing.tabular_preprocessing.imputation import (
    SimpleImputer as imputation,  # noqa: N813
)
from autoPyTorch.pipeline.components.preprocessing.tabular_preprocessing.variance_thresholding import (  # noqa: E501
    VarianceThreshold as variance_thresholding,  # noqa: N813
)
from autoPyTorch.pipeline.components.setup.lr_scheduler import add_scheduler
from autoPyTorch.pipeline.components.setup.lr_scheduler.base_scheduler import BaseLRComponent
from autoPyTorch.pipeline.components.setup.lr_scheduler.constants import StepIntervalUnit
from autoPyTorch.pipeline.components.training.data_loader.feature_data_loader import (
    ContractTransform,
    ExpandTransform,
    FeatureDataLoader,
)
from autoPyTorch.pipeline.components.training.trainer import TrainerChoice
from autoPyTorch.pipeline.components.training.trainer.base_trainer import (
    BaseTrainerComponent,
    BudgetTracker,
)
from ConfigSpace.configuration_space import ConfigurationSpace
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, SubsetRandomSampler

from pipeline_lib.metrics import ACCURACY, Metric
from pipeline_lib.training.schedule import one_cycle

_PREDICT_ROWS = 2000
_WARM_UP = 0.15  # of the training


def install() -> None:
    """Register the schedule and put the rest in place of Auto-PyTorch's; once per process."""
    if FeatureDataLoader.fit is not _fit:
        add_scheduler(BudgetCosineLR)
        FeatureDataLoader.fit = _fit
        FeatureDataLoader.get_loader = _get_loader
        TrainerChoice.get_budget_tracker = _budget_tracker
        TrainerChoice.eval_valid_each_epoch = lambda self, X: True
        imputation.SklearnSimpleImputer = _Imputer
        variance_thresholding.SklearnVarianceThreshold = _VarianceThreshold


def follow(metric: Metric) -> None:
    """Have each epoch valued by a metric of ours; Auto-PyTorch knows accuracy itself."""
    if metric == ACCURACY:
        return

    def values(
        self: BaseTrainerComponent, outputs: list[Tensor], targets: list[Tensor]
    ) -> dict[str, float]:
        logits = torch.cat(outputs).numpy()  # (N, classes)
        return metric.scores(logits, torch.cat(targets).numpy().astype(np.int64))

    BaseTrainerComponent.compute_metrics = values


class _Imputer(imputation.SklearnSimpleImputer):
    """Leaves a matrix alone that has no gaps; scikit-learn's makes four copies of it first."""

    def fit(self, X: np.ndarray, y: Any = None) -> _Imputer:
        self.has_gaps_ = not np.isfinite(X.sum(dtype=np.float64))
        return super().fit(X, y) if self.has_gaps_ else self

    def transform(self, X: np.ndarray) -> np.ndarray:
        return super().transform(X) if self.has_gaps_ else X


class _VarianceThreshold(variance_thresholding.SklearnVarianceThreshold):
    """Finds constant columns by their extremes; scikit-learn's also takes the variance of each."""

    def fit(self, X: np.ndarray, y: Any = None) -> _VarianceThreshold:
        self.n_features_in_ = X.shape[1]
        self.variances_ = np.ptp(X, axis=0)  # > 0 where the variance is: the threshold is 0
        return self


class BudgetCosineLR(BaseLRComponent):
    """Warms up, then falls along a cosine to zero exactly when the epochs of the budget end.

    Auto-PyTorch's own schedules are counted in epochs of a fixed number (`CosineAnnealingLR` from
    10 to 500), whatever an evaluation gets; on the short ones of a search they never fall.
    """

    def __init__(
        self,
        step_interval: StepIntervalUnit = StepIntervalUnit.batch,
        random_state: np.random.RandomState | None = None,
    ) -> None:
        super().__init__(step_interval)
        self.random_state = random_state

    def fit(self, X: dict[str, Any], y: Any = None) -> BudgetCosineLR:
        """Attach the schedule to the optimiser; the loader that it counts is made later."""
        self.check_requirements(X, y)

        def factor(step: int) -> float:
            if step == 0:
                return one_cycle(0.0, _WARM_UP)
            done = step / (X["epochs"] * len(X["train_data_loader"]))
            return one_cycle(min(max(done, X["time_limit"].share_spent), 1.0), _WARM_UP)

        self.scheduler = torch.optim.lr_scheduler.LambdaLR(X["optimizer"], factor)
        return self

    @staticmethod
    def get_properties(dataset_properties: Any = None) -> dict[str, str | bool]:
        """Its names, as Auto-PyTorch asks for them."""
        return {"shortname": "BudgetCosine", "name": "Cosine Annealing over the Budget"}

    @staticmethod
    def get_hyperparameter_search_space(dataset_properties: Any = None) -> ConfigurationSpace:
        """It has nothing to search."""
        return ConfigurationSpace()


class TimeLimit:
    """The end of the search, for a training that began when this was made.

    It only shows when the machine was slower than foreseen: then the learning rate falls with the
    time, and the training ends in a whole network instead of being cut off.
    """

    def __init__(self, deadline: float) -> None:
        self._began = time.monotonic()
        self.seconds = max(1.0, deadline - self._began)

    @property
    def share_spent(self) -> float:
        """How much of the time is over: 1 at the deadline."""
        return (time.monotonic() - self._began) / self.seconds


def _budget_tracker(self: TrainerChoice, X: dict[str, Any]) -> BudgetTracker:
    return BudgetTracker("epoch_or_time", X["epochs"], X["time_limit"].seconds)


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Rows of a matrix, a batch at a time; Auto-PyTorch collates them row by row."""

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.features, self.labels = features, labels
        self.served = 0  # rows

    def __getitem__(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(rows)
        self.served += len(rows)
        return self.features[chosen], self.labels[chosen]


class _InOrder:
    """Indices from first to last."""

    def __init__(self, indices: np.ndarray) -> None:
        self.indices = indices

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices.tolist())

    def __len__(self) -> int:
        return len(self.indices)


def _fit(self: FeatureDataLoader, X: dict[str, Any], y: Any = None) -> FeatureDataLoader:
    """As `BaseDataLoaderComponent.fit`, on tensors that were preprocessed as one matrix."""
    self.check_requirements(X, y)
    self.test_transform = self.build_transform(X, mode="test")
    data = _tensor(X["X_train"]), torch.from_numpy(np.asarray(X["y_train"]))
    train, validation = X["backend"].load_datamanager().splits[X["split_id"]]
    size = min(self.batch_size, len(train))
    shuffled = BatchSampler(SubsetRandomSampler(train.tolist()), size, drop_last=True)
    ordered = BatchSampler(_InOrder(validation), _PREDICT_ROWS, drop_last=False)
    self.train_data_loader = DataLoader(_Batches(*data), sampler=shuffled, batch_size=None)
    self.val_data_loader = DataLoader(_Batches(*data), sampler=ordered, batch_size=None)
    _fuse(X["optimizer"])
    return self


def _fuse(optimizer: torch.optim.Optimizer) -> None:
    """Have Adam step all weights in one kernel; Auto-PyTorch's components have no such switch."""
    for group in optimizer.param_groups:
        if "fused" in group and isinstance(optimizer, torch.optim.Adam):
            group.update(fused=True, foreach=False)


def _get_loader(
    self: FeatureDataLoader, X: np.ndarray, y: Any = None, batch_size: int | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Batches to predict, transformed as one matrix; Auto-PyTorch transforms row by row."""
    rows = X
    for transform in self.test_transform.transforms:
        if transform is not torch.from_numpy and not isinstance(
            transform, ExpandTransform | ContractTransform
        ):
            rows = transform(rows)
    features = _tensor(rows)
    return [(part, torch.zeros(len(part))) for part in features.split(_PREDICT_ROWS)]


def _tensor(matrix: Any) -> Tensor:
    dense = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    return torch.from_numpy(np.ascontiguousarray(dense, dtype=np.float32))
