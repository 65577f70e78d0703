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
class ChampionEntry:
    """A champion, where it is from, and since when."""

    model: str
    version: int
    validation: str  # the value that it was chosen by, for people; empty where it is not known
    test: str  # its accuracy, and the value of another metric
    run: str
    since: str  # UTC, to the minute
    by: str


def list_champions(home: Home, dataset: str | None) -> list[ChampionEntry]:
    """The champion of a data set, or of every one.

    Raises:
        ModelError: There is none.
    """
    wanted = registered_names(home) if dataset is None else [dataset]
    found = [
        (name, current_champion) for name in wanted if (current_champion := champion(home, name))
    ]
    if not found:
        where = "model" if dataset is None else model_name(dataset)
        remedy = "`automl run` makes one; --home or AUTOML_HOME says where to look"
        raise ModelError(where, "has no champion yet", remedy=remedy)
    return [_entry_of(home, name, current_champion) for name, current_champion in found]


def _entry_of(home: Home, dataset: str, current_champion: Champion) -> ChampionEntry:
    promoted = [
        event for event in history(home, dataset) if event.version == current_champion.version
    ]
    run = open_store(home).client.get_run(current_champion.run_id).info.run_name
    metric = _metric(current_champion)
    return ChampionEntry(
        model=model_name(dataset),
        version=current_champion.version,
        validation=_figure(current_champion, "val", metric),
        test=", ".join(
            filter(
                None,
                (_figure(current_champion, "test", m) for m in dict.fromkeys((ACCURACY, metric))),
            )
        ),
        run=str(run),
        since=promoted[-1].at[:16].replace("T", " ") if promoted else "",
        by=promoted[-1].by if promoted else "",
    )


def _metric(current_champion: Champion) -> Metric:
    """What it was chosen by: before models said so, accuracy."""
    return metric_of(current_champion.tags.get(METRIC_TAG, ACCURACY.name))


def _figure(current_champion: Champion, part: str, metric: Metric) -> str:
    known = current_champion.tags.get(f"{part}_{metric.key}")
    return metric.phrase(float(known)) if known else ""
