"""The report on disk: what a run keeps for it, and its two files, made again at any time.

Trials stay in the engines' storages and test figures in `test.json`; `summary.json` holds what
neither does, `details.json` what is measured for the report alone. A report is always built from
these files, so that `automl report` and the run itself write the same one, and neither opens the
test set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline_lib.config import RunConfig
from pipeline_lib.data.problem import Problem
from pipeline_lib.data.sources.catalogue import find
from pipeline_lib.errors import UserError
from pipeline_lib.evaluation.final_test import read_figures
from pipeline_lib.evaluation.ledger import figures, readings
from pipeline_lib.files import write_whole
from pipeline_lib.formats import p_value
from pipeline_lib.home import Home
from pipeline_lib.metrics import ACCURACY
from pipeline_lib.options import choice
from pipeline_lib.outcome import ComparisonResult, Ensemble, Findings
from pipeline_lib.report import verdict
from pipeline_lib.report.build import build_report
from pipeline_lib.report.card import build_card
from pipeline_lib.report.data import ReportData, Section, Table
from pipeline_lib.search.engine import find_engine
from pipeline_lib.selection.ensemble_storage import Ensembles
from pipeline_lib.statistics import Units
from pipeline_lib.test_result import TestResult
from pipeline_lib.trial import Trial

SUMMARY, TEST, DETAILS = "summary.json", "test.json", "details.json"
REPORT, CARD = "report.html", "README.md"


def keep(directory: Path, findings: Findings, problem: Problem) -> Path:
    """Write down, in `summary.json`, what a report needs and no other file of the run holds."""
    from pipeline_lib.registry.versions import model_name
    from pipeline_lib.tracking import environment_tags

    winner, config = findings.winner, findings.config
    kept = {
        "config": config.model_dump(mode="json"),
        "problem": problem.as_json(),
        "winner": [winner.engine, winner.number],
        "model": f"models:/{model_name(problem.name)}/{findings.registration.version}",
        "standing": verdict.promotion_sentence(findings),
        "statistics": asdict(statistics_of(findings.compared)),
        "environment": environment_tags(config.seed),
    }
    return write_whole(directory / SUMMARY, json.dumps(kept, indent=1) + "\n")


def load(home: Home, name: str) -> ReportData:
    """What the report of a run says, from its files and its engines' storages.

    Raises:
        UserError: There is no such run, it has not finished, or a file of it is damaged.
    """
    choice("run", name, [*_by_age(home)])
    directory = home.run(name)
    kept, test = _read(directory / SUMMARY), _read(directory / TEST)
    try:
        return _thaw(home, name, kept, test)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"is not what this version of automl writes ({type(error).__name__}: {error})"
        raise UserError("report", problem, value=str(directory / SUMMARY)) from error


def write(directory: Path, data: ReportData) -> list[Path]:
    """Write `report.html` and the model card, `README.md`; each appears whole or not at all."""
    page, card = build_report(data), build_card(data)
    return [write_whole(directory / REPORT, page), write_whole(directory / CARD, card)]


def latest(home: Home) -> str:
    """Name of the run that finished last.

    Raises:
        UserError: None has.
    """
    finished = [name for name in _by_age(home) if (home.run(name) / SUMMARY).exists()]
    if not finished:
        remedy = "`automl run` makes one; --home or AUTOML_HOME says where to look"
        raise UserError("report", "no run has finished", value=str(home.root), remedy=remedy)
    return finished[0]


def _by_age(home: Home) -> list[str]:
    """Names of runs, the latest first."""
    runs = home.root / "runs"
    if not runs.is_dir():
        return []
    found = [path for path in runs.iterdir() if path.is_dir()]
    return [path.name for path in sorted(found, key=_changed, reverse=True)]


def _changed(directory: Path) -> float:
    summary = directory / SUMMARY
    return (summary if summary.exists() else directory).stat().st_mtime


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        problem = f"the run left no {path.name}"
        remedy = "let it finish: `automl run … --name` continues a run that was stopped"
        raise UserError("report", problem, value=path.parent.name, remedy=remedy) from error
    except ValueError as error:
        raise UserError("report", f"is damaged ({error})", value=str(path)) from error
    return found


def _thaw(home: Home, name: str, kept: Mapping[str, Any], test: Mapping[str, Any]) -> ReportData:
    config = RunConfig.of_record(kept["config"])
    problem, ensembles = _problem(kept), Ensembles.of(home, name)
    trials = [
        trial
        for engine in config.engines
        for trial in find_engine(engine).of(config, home).trials(name, home.study(name) / engine)
    ]
    trials += ensembles.trials()
    winners = [t for t in trials if [t.engine, t.number] == kept["winner"]]
    if not winners:
        remedy = f"restore {home.study(name)}"
        gone = f"the study of {name!r} no longer holds its winner"
        raise UserError("report", gone, remedy=remedy)
    untested = test.get("untested", "")
    result = _tested_since(home, winners[0], problem) if untested else TestResult.from_json(test)
    directory = home.run(name)
    details = _read(directory / DETAILS) if (directory / DETAILS).exists() else kept
    return ReportData(
        name=name,
        problem=problem,
        config=config,
        verdict=verdict.sentence(problem.name, winners[0], result, untested),
        standing=kept["standing"],
        trials=tuple(trials),
        winner=winners[0],
        test=result,
        untested="" if result else untested,
        readings=tuple(readings(home, problem.digest)),
        model=kept["model"],
        architecture_svg=_text(directory / "architecture.svg"),
        architecture_text=_text(directory / "architecture.txt"),
        spaces=details.get("spaces", {}),
        latency=details.get("latency", {}),
        environment=kept["environment"],
        statistics=_section(kept["statistics"]),
        ensemble=_ensemble(ensembles.leading()),
    )


def _problem(kept: Mapping[str, Any]) -> Problem:
    """What was learned; a summary of an older version names it and its digest."""
    if "problem" in kept:
        return Problem.from_json(kept["problem"])
    return find(kept["config"]["dataset"]).problem(kept["digest"])


def _tested_since(home: Home, winner: Trial, problem: Problem) -> TestResult | None:
    """What `automl promote`, or another run that found the same model, measured later."""
    from pipeline_lib.models.saved import WEIGHTS, model_digest

    if winner.model is None or not (winner.model / WEIGHTS).is_file():
        return None  # `automl gc` removed it
    return read_figures(figures(home, problem.digest, model_digest(winner.model)))


def statistics_of(compared: ComparisonResult) -> Section:
    """Which model is shown to be better: a sentence and a row for each pair."""
    rows = tuple(
        (
            f"{c.a} and {c.b}",
            Units(c.metric).text(c.difference, "+"),
            " to ".join(Units(c.metric).text(end, "+") for end in c.interval),
            p_value(c.p).removeprefix("p ").removeprefix("= "),
            p_value(c.adjusted_p).removeprefix("p ").removeprefix("= "),
            Units(c.metric).text(c.detectable),
        )
        for c in compared.comparisons
    )
    head = ("models", "difference", "95% CI", "p", "p (Holm)", "minimum detectable difference")
    units = "percentage points"
    if compared.comparisons and compared.comparisons[0].metric != ACCURACY:
        units = Units(compared.comparisons[0].metric).name.removeprefix("in ")
    caption = f"Paired on {compared.size:,} validation images; differences in {units}"
    ended = tuple(each if each.endswith(".") else f"{each}." for each in compared.sentences())
    return Section(ended, (Table(caption, head, rows),) if rows else ())


def _ensemble(ensemble: Ensemble | None) -> Section:
    if ensemble is None:
        return Section()
    metric = ensemble.trial.metric
    rows = tuple(
        (m.title, f"{m.weight:.0%}", metric.text(m.alone), metric.text(m.joined))
        for m in ensemble.members
    )
    head = ("member", "weight", f"validation {metric.title} alone", "of the ensemble up to it")
    reached = f"{ensemble.trial.title}: {ensemble.trial.text} validation {metric.title}, "
    how = "from the weighted average of the members’ probabilities."
    return Section((reached + how,), (Table("In the order of selection", head, rows),))


def _section(fields: Mapping[str, Any]) -> Section:
    return Section(
        tuple(fields["sentences"]),
        tuple(
            Table(each["caption"], tuple(each["head"]), tuple(tuple(row) for row in each["rows"]))
            for each in fields["tables"]
        ),
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
