"""The whole run in one call, for those who want it without Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline_lib.config import RunConfig
from pipeline_lib.data.problem import Problem
from pipeline_lib.data.sources.given import keep
from pipeline_lib.errors import ImageError
from pipeline_lib.home import Home
from pipeline_lib.outcome import Findings
from pipeline_lib.run.log import logged, logs_of
from pipeline_lib.run.run import Run
from pipeline_lib.run.stages import STAGES, Work, side_by_side
from pipeline_lib.run.stopping import stoppable
from pipeline_lib.selection import leaderboard
from pipeline_lib.trial import Trial

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    from torch import nn

    from pipeline_lib.test_result import TestResult


@dataclass(frozen=True, repr=False)
class Outcome:
    """What a run leaves behind."""

    run_id: str  # of the pipeline's run in MLflow
    findings: Findings
    directory: Path  # report, model card, leaderboard, diagrams, test figures
    problem: Problem

    def __repr__(self) -> str:
        winner = self.winner
        return (
            f"<Outcome of {self.directory.name}: {winner.title}, {winner.text} validation "
            f"{winner.metric.title}, {len(self.trials)} trials, {self.model}>"
        )

    @property
    def trials(self) -> list[Trial]:
        """All that were conducted."""
        return self.findings.trials

    @property
    def winner(self) -> Trial:
        """The best of them on validation."""
        return self.findings.winner

    @property
    def test(self) -> TestResult | None:
        """What the winner is worth on the test set; None where that stayed closed."""
        return self.findings.test

    @property
    def model(self) -> str:
        """The winner's `models:/…` address, as champion or challenger."""
        return self.findings.registration.address

    @property
    def leaderboard(self) -> pd.DataFrame:
        """Trials that ended, best first: a row each, and a column for each hyperparameter."""
        return leaderboard.leaderboard(self.trials)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of `predict_proba`'s columns."""
        return self.problem.target.names

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Labels (N,) of images (N, C, H, W), or (N, H, W) where C is 1, as the data set has them.

        Raises:
            ImageError: The images are of another type or shape.
        """
        labels: npt.NDArray[np.int64] = self.predict_proba(images).argmax(1)
        return labels

    def predict_proba(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities (N, classes) of images as `predict` takes them.

        Raises:
            ImageError: The images are of another type or shape.
        """
        import torch

        from pipeline_lib.training.loop import EVALUATION_BATCH, predict

        pixels = torch.from_numpy(self._as_batch(images))  # (N, C, H, W)
        logits = predict(self._network, pixels.split(EVALUATION_BATCH))
        probabilities = (logits / self.findings.compared.temperature).softmax(1)
        return np.asarray(probabilities.numpy(), np.float32)

    @cached_property
    def _network(self) -> nn.Module:
        from pipeline_lib.models.saved import load_model

        assert self.winner.model is not None
        return load_model(self.winner.model)

    def _as_batch(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The images as (N, C, H, W), in memory of their own: torch warns of a read-only view."""
        given, shape = np.asarray(images), self.problem.inputs.shape
        batch = given[:, None] if given.ndim == 3 and shape[0] == 1 else given
        if given.dtype != np.uint8 or batch.shape[1:] != shape:
            problem = f"must be uint8 of the shape (N, {', '.join(map(str, shape))})"
            raise ImageError("images", problem, value=f"{given.dtype} {given.shape}")
        return np.array(batch)


def find_model(config: RunConfig, home: Home | None = None, data: Any = None) -> Outcome:
    """Search, compare, decide, test, register and report, as the flow `automl` does.

    `data` takes the place of the configuration's data set: a pair of images and labels (arrays, or
    lists of pictures of any size), a map-style data set of torch, or a mapping of `train`,
    `validation` and `test` to either. A copy is kept in the home.

    Guard the call with `if __name__ == "__main__":`, since trials run in processes of their own.
    Its progress is logged, on stderr where logging was not configured; to have it quiet:
    `logging.getLogger("automl").setLevel("WARNING")`. Nobody is told of its end: `notify` is the
    flow's.

    Raises:
        UserError: The data cannot be had, the home not be written, or the study is another's.
        Stopped: A signal ended it before a trial left a model.
        AutomlError: No trial left a model.
    """
    from pipeline_lib.report.making import make_report

    home = home or Home.from_environment()
    if data is not None:
        kept = {"dataset": str(keep(home, data)), "problem": config.problem or "data"}
        config = config.model_copy(update=kept)
    run = Run.begin(config, home)
    with logged(run.home, run.name), stoppable() as stop, run.recording() as record:
        work = Work(run, record, stop, side_by_side)
        for stage in STAGES:
            stage.do(work)
        for path in (*make_report(run.home, run.name), *logs_of(run.home, run.name)):
            record.recorder.log_artifact(path)
        return Outcome(record.recorder.run_id, work.findings, run.directory, work.split.problem)
