"""Who is champion of which model, with the figures that were registered."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline_lib.errors import ModelError
from pipeline_lib.home import Home
from pipeline_lib.metrics import ACCURACY, Metric, metric_of
from pipeline_lib.outcome import Champion
from pipeline_lib.registry.promotion import champion, history, registered_names
from pipeline_lib.registry.versions import METRIC_TAG, model_name
from pipeline_lib.tracking.store import open_store


@dataclass(frozen=True)
class Reign:
    """A champion, where it is from, and since when it reigns."""

    model: str
    version: int
    validation: str  # the value that it was chosen by, for people; empty where it is not known
    test: str  # its accuracy, and the value of another metric
    run: str
    since: str  # UTC, to the minute
    by: str


def reigns(home: Home, dataset: str | None) -> list[Reign]:
    """The champion of a data set, or of every one.

    Raises:
        ModelError: There is none.
    """
    wanted = registered_names(home) if dataset is None else [dataset]
    found = [(name, reigning) for name in wanted if (reigning := champion(home, name))]
    if not found:
        where = "model" if dataset is None else model_name(dataset)
        remedy = "`automl run` makes one; --home or AUTOML_HOME says where to look"
        raise ModelError(where, "has no champion yet", remedy=remedy)
    return [_reign(home, name, reigning) for name, reigning in found]


def _reign(home: Home, dataset: str, reigning: Champion) -> Reign:
    promoted = [event for event in history(home, dataset) if event.version == reigning.version]
    run = open_store(home).client.get_run(reigning.run_id).info.run_name
    metric = _metric(reigning)
    return Reign(
        model=model_name(dataset),
        version=reigning.version,
        validation=_figure(reigning, "val", metric),
        test=", ".join(
            filter(None, (_figure(reigning, "test", m) for m in dict.fromkeys((ACCURACY, metric))))
        ),
        run=str(run),
        since=promoted[-1].at[:16].replace("T", " ") if promoted else "",
        by=promoted[-1].by if promoted else "",
    )


def _metric(reigning: Champion) -> Metric:
    """What it was chosen by: before models said so, accuracy."""
    return metric_of(reigning.tags.get(METRIC_TAG, ACCURACY.name))


def _figure(reigning: Champion, part: str, metric: Metric) -> str:
    known = reigning.tags.get(f"{part}_{metric.key}")
    return metric.phrase(float(known)) if known else ""
