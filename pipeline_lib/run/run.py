"""The stages of a run up to its trials: data, engines, searches. `finish.py` has the others."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pipeline_lib import metrics
from pipeline_lib.config import RunConfig
from pipeline_lib.config_file import CONFIG_FILE, write_configuration
from pipeline_lib.data import source
from pipeline_lib.data.splits import Split
from pipeline_lib.errors import ConfigurationError, EngineUnavailable, UserError
from pipeline_lib.families.family import Family
from pipeline_lib.files import acquire, write_whole
from pipeline_lib.home import LOCK, RUN, Home
from pipeline_lib.report.dot import find_dot
from pipeline_lib.run.checks import check, check_settings, engines_of, too_small
from pipeline_lib.search.engine import Engine, SearchRequest, check_identity, find_engine
from pipeline_lib.selection.ensemble_storage import Ensembles
from pipeline_lib.tracking.address import check_address
from pipeline_lib.tracking.record import Record
from pipeline_lib.trial import Trial

_log = logging.getLogger("automl")


@dataclass(frozen=True)
class Run:
    """What a run was asked for, what it is called, and where it keeps its state."""

    config: RunConfig
    name: str
    home: Home

    @classmethod
    def begin(cls, config: RunConfig, home: Home, name: str | None = None) -> Run:
        """A run of this configuration in a state directory that can be written.

        Raises:
            DataError: A file that the user has the data set in is not what it should be.
            HomeError: The state directory cannot be written.
            ServerError: MLflow cannot use what `MLFLOW_TRACKING_URI` names.
            ConfigurationError: A run to start from is not there, the budget is too small, or a
                setting is of no engine.
        """
        from pipeline_lib.run.warm_start import settle

        check(config, home)
        check_address(home)
        home.ensure_writable()
        _try_to_draw()
        called = name or config.name or claim_name(home, config.problem_name)
        return cls(settle(config, home, called), called, home)

    @property
    def seed(self) -> int:
        """The seed of the search, which `begin` draws where the configuration has none."""
        return self.config.drawn_seed

    @property
    def directory(self) -> Path:
        """Where the run leaves files for people."""
        return self.home.run(self.name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's name against other processes, which would search the same study.

        Raises:
            ConfigurationError: Another run has it.
        """
        directory = self.home.study(self.name)
        if directory.is_symlink():
            problem, remedy = "has a study that leads elsewhere", "choose another --name"
            raise ConfigurationError("name", problem, value=self.name, remedy=remedy)
        directory.mkdir(parents=True, exist_ok=True)
        lock = acquire(directory / LOCK)
        if lock is None:
            problem = "is that of a run that is going on"
            remedy = "wait for its end, or choose another --name"
            raise ConfigurationError("name", problem, value=self.name, remedy=remedy)
        try:
            yield
        finally:
            os.close(lock)

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """The kinds of network that it searches; a copy of a user's file is in the home.

        Raises:
            FamilyError: A file is gone, or was changed since the run began.
        """
        found = [Family.find(text, self.home) for text in self.config.families]
        return tuple(family.kept(self.home) for family in found)

    @property
    def ensembles(self) -> Ensembles:
        """The ensembles of its study."""
        return Ensembles.of(self.home, self.name)

    @contextmanager
    def recording(self) -> Iterator[Record]:
        """Hold the run's name, and record in MLflow what it does.

        Raises:
            ConfigurationError: Another run has the name.
        """
        with self.locked(), Record(self.home, self.name, self.config) as record:
            yield record

    def request(self, split: Split, engine: str, engines: int, deadline: float) -> SearchRequest:
        """The study of one engine; `engines` of them share the run's split, clock and workers."""
        return SearchRequest(
            study=self.name,
            split=split,
            space=self.config.space,
            deadline=deadline,
            budget_seconds=self.config.budget_seconds,
            trials=self.config.trials,
            workers=max(1, (self.config.workers or 1) // engines),
            seed=self.seed,
            directory=self.home.study(self.name) / engine,
            trial_seconds=self.config.rung_seconds,
            trial_memory=self.config.trial_memory,
            first_rung=self.config.first_rung,
            families=self.families if find_engine(engine).has_families else (),
            settings={n: v for n, v in self.config.settings.items() if ":" not in n},
            warm_start=tuple((n, self.home.study(n) / engine) for n in self.config.warm_start),
        )


def _try_to_draw() -> None:
    try:
        find_dot()
    except UserError as error:
        _log.warning("%s: there will be no diagram of the winner", error)


def default_name(stem: str) -> str:
    """A name for a run that was given none: data set and time."""
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"


def claim_name(home: Home, stem: str) -> str:
    """A made-up name that no other run of this home has or gets: its study's directory is made."""
    first, number = default_name(stem), 1
    while True:
        name = first if number == 1 else f"{first}-{number}"
        try:
            home.study(name).mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return name


def load_data(run: Run) -> Split:
    """Fetch, check and convert the run's data set, or find it ready; divided as the run asks.

    Raises:
        ConfigurationError: The study of this name was begun with other data or settings.
        DataError: It cannot be had, or a file of it is not what it should be.
    """
    config = run.config
    prepared = source.prepare(config, run.home, _log.info)
    split = Split(prepared, config.split_seed, config.validation_share, metric=config.metric)
    _check_study(run, split)
    return split


def _check_study(run: Run, split: Split) -> None:
    """Hold a run against the study that it would continue, before anything of either is written."""
    path = run.home.study(run.name) / RUN
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        begun = RunConfig.of_record(known["config"])
        if not set(run.config.engines) <= set(begun.engines):
            problem = f"the study {run.name!r} was begun with {begun.engine!r}"
            remedy = "choose another --name, or continue it as it was begun"
            raise ConfigurationError("engine", problem, value=run.config.engine, remedy=remedy)
        asked = {field: getattr(begun, field) for field in ("space", "seed", "first_rung")}
        request = run.request(split, run.config.engines[0], 1, deadline=0.0)
        of_data = replace(Split.from_json(known["data"], run.home), metric=split.metric)
        before = replace(request, split=of_data, **asked)
        chosen_by = {"metric": known.get("metric", metrics.ACCURACY.name)}  # older ones do not say
        check_identity(request, {**before.identity, **chosen_by})
    for engine in engines_of(run.config, run.home):
        engine.check(run.request(split, engine.name, len(run.config.engines), deadline=0.0))


def begin(run: Run, split: Split, record: Record) -> None:
    """Write down what the run is asked for and which data it sees, in MLflow and for `sync`."""
    sizes = {"training": len(split.train), "validation": len(split.validation)}
    record.begin(split.problem.name, split.problem.digest, split.digest, sizes)
    record.file(write_configuration(run.directory / CONFIG_FILE, run.config, run.name))
    for family in run.families:
        if family.file is not None:
            source = family.file.read_bytes()
            record.file(write_whole(run.directory / "families" / family.name, source))
    path = run.home.study(run.name) / RUN
    if path.exists():
        return
    asked = {
        "config": run.config.model_dump(),
        "data": split.as_json(run.home),
        "metric": metrics.find(run.config.metric).identity,
        "families": [family.as_json() for family in run.families],
        "split_digest": split.digest,
        "sizes": sizes,
    }
    write_whole(path, json.dumps(asked, indent=1) + "\n")


def prepare_engines(run: Run) -> list[Engine]:
    """The run's engines, able to search; one that cannot run here is left out, loudly.

    Raises:
        EngineUnavailable: None of them can.
        ConfigurationError: A setting is of no engine, which only an engine that is ready knows.
    """
    ready, engines = list[Engine](), engines_of(run.config, run.home)
    for engine in engines:
        if why := too_small(run.config, engine.name):
            _log.warning("%s: the run goes on without it", why)
            continue
        try:
            engine.prepare(_log.info)
        except EngineUnavailable as error:
            if not ready and engine is engines[-1]:
                raise
            _log.warning("%s: the run goes on without it", error)
        else:
            ready.append(engine)
    check_settings(run.config, engines)
    return ready


def search(
    engine: Engine,
    request: SearchRequest,
    stop: threading.Event,
    on_trial: Callable[[Trial], None],
) -> list[Trial]:
    """Search with one engine; `on_trial` gets every snapshot. Returns all trials of the study.

    Raises:
        ConfigurationError: The study was begun with other settings.
    """
    for trial in engine.trials(request.study, request.directory):
        on_trial(trial)  # An interrupted run may not have recorded it.
    engine.search(request, on_trial, stop)
    return engine.trials(request.study, request.directory)
