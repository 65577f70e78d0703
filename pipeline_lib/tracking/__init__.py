"""What happened, in MLflow: a projection that can be made again from the engines' storages."""

from pipeline_lib.tracking.environment import environment_tags
from pipeline_lib.tracking.experiments import experiment_name
from pipeline_lib.tracking.recorder import Recorder
from pipeline_lib.tracking.store import UI_VARIABLE, Store, open_store

__all__ = ["UI_VARIABLE", "Recorder", "Store", "environment_tags", "experiment_name", "open_store"]
