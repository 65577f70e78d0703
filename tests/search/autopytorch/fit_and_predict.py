"""Run in Auto-PyTorch's environment: fit pipelines, predict with Auto-PyTorch's own code, export.

Standard input: {"directory", "problem" and "source" of the data, "rows" (.npy of raw pictures),
"counts": {name: rows to predict}, "choices": {name: {hyperparameter: value}}}. For each name:
DIRECTORY/NAME.npy with the probabilities, DIRECTORY/NAME/ with the export.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from pipeline_lib.search.autopytorch import compat

compat.prepare()

import numpy as np  # noqa: E402
from autoPyTorch.pipeline.components.training.data_loader.feature_data_loader import (  # noqa: E402
    FeatureDataLoader,
)
from autoPyTorch.pipeline.components.training.metrics.metrics import accuracy  # noqa: E402
from autoPyTorch.utils.pipeline import (  # noqa: E402
    get_configuration_space,
    get_dataset_requirements,
)
from ConfigSpace.util import deactivate_inactive_hyperparameters  # noqa: E402

from pipeline_lib.data.problem import Problem  # noqa: E402
from pipeline_lib.data.source import reopen  # noqa: E402
from pipeline_lib.home import Home  # noqa: E402
from pipeline_lib.search.autopytorch import components, evaluation  # noqa: E402
from pipeline_lib.search.autopytorch.job import Job  # noqa: E402
from pipeline_lib.search.autopytorch.search import _options  # noqa: E402

row_by_row = FeatureDataLoader.get_loader


class _Queue:
    def put(self, result: dict[str, Any]) -> None:
        self.result = result


def main() -> None:
    job = json.loads(sys.stdin.read())
    directory = Path(job["directory"])
    rows = np.load(job["rows"])
    components.install()
    pipelines: list[Any] = []
    make = evaluation.Evaluator._get_pipeline
    evaluation.Evaluator._get_pipeline = lambda self: pipelines.append(make(self)) or pipelines[-1]
    backend = evaluation.MappedBackend(
        Job(
            directory=directory,
            source=reopen(Problem.from_json(job["problem"]), job["source"], Home(directory)),
            seed=0,
            deadline=time.monotonic() + 3600,
            grace_seconds=60,
            evaluation_seconds=3600,
            memory_mb=4000,
            workers=1,
            include={},
            updates=[],
            min_epochs=2,
            max_epochs=2,
            evaluations=None,
            first_number=0,
            first=[],
            metric="accuracy",
        )
    )
    dataset = backend.load_datamanager()
    requirements = get_dataset_requirements(dataset.get_required_dataset_info())
    space = get_configuration_space(dataset.get_dataset_properties(requirements))
    matched = components._get_loader
    for number, (name, choice) in enumerate(job["choices"].items()):
        values = space.get_default_configuration().get_dictionary()
        unknown = choice.keys() - set(space.get_hyperparameter_names())
        assert not unknown, unknown
        for hyperparameter in space.get_hyperparameters():
            values.setdefault(hyperparameter.name, hyperparameter.default_value)
        config = deactivate_inactive_hyperparameters({**values, **choice}, space)
        config.config_id = number
        FeatureDataLoader.get_loader = matched
        evaluation.Evaluator(
            backend=backend,
            queue=_Queue(),
            metric=accuracy,
            budget=2.0,
            configuration=config,
            budget_type="epochs",
            pipeline_options=_options(2),
            seed=1,
            num_run=number,
            all_supported_metrics=False,
        ).fit_predict_and_loss()
        backend.model_directory(number, 2).replace(directory / name)
        FeatureDataLoader.get_loader = row_by_row  # Auto-PyTorch's own, as it was published
        some = rows[: job["counts"][name]]
        matrix = some.reshape(len(some), -1).astype(np.float32)
        np.save(directory / f"{name}.npy", pipelines[-1].predict_proba(matrix, batch_size=1000))


if __name__ == "__main__":
    main()
