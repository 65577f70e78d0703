import base64
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from made import made_rung

from pipeline_lib.errors import HomeError, ServerError
from pipeline_lib.home import Home
from pipeline_lib.tracking import Recorder, open_store
from pipeline_lib.tracking.store import without_password
from pipeline_lib.tracking.trials import metrics_of, run_name
from pipeline_lib.trial import Epoch, Rung, Trial, TrialState

CURVE = (Epoch(1000, 0.9, 0.91), Epoch(2000, 0.5, 0.95))


def a_trial(number: int = 0, state: TrialState = TrialState.COMPLETE, **changes: object) -> Trial:
    trial = Trial(
        study="first",
        engine="optuna",
        number=number,
        state=state,
        configuration={"lr": 0.01, "width": 16, "stem": "pool", "conv3": None},
        rungs=(made_rung(1000, 0.93, 1.5), made_rung(2000, 0.95, 3.0, CURVE)),
        parameters=1234,
        multiply_adds=56789,
        started=1_800_000_000.0,
        seconds=4.5,
    )
    return replace(trial, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A store that is only created: its migrations take seconds."""
    home = Home(tmp_path_factory.mktemp("blank"))
    open_store(home)
    return home


@pytest.fixture
def home(blank: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)  # where MLflow would leave ./mlruns or ./mlflow.db
    home = Home(tmp_path / "a home")
    home.mlflow_database.parent.mkdir(parents=True)
    home.mlflow_database.write_bytes(blank.mlflow_database.read_bytes())
    return home


def opened(home: Home, study: str = "first", **tags: str) -> Recorder:
    return Recorder.open(home, "mnist", study, tags)


def runs(recorder: Recorder, wanted: str = "") -> list:
    return list(recorder.store.client.search_runs([recorder.experiment_id], wanted))


def trials(recorder: Recorder) -> list:
    return runs(recorder, "tags.`automl.role` = 'trial'")


def test_importing_it_leaves_mlflow_unloaded() -> None:
    imported = "import pipeline_lib.tracking, pipeline_lib.registry.versions, sys"
    code = f"{imported}; sys.exit('mlflow' in sys.modules)"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_a_trial_is_a_child_of_its_search_which_is_a_child_of_the_run(home: Home) -> None:
    recorder = opened(home)
    for engine in ("optuna", "autopytorch"):
        recorder.record(a_trial(41, engine=engine))
    recorder.finish("FINISHED")

    by_name = {run.info.run_name: run for run in runs(recorder)}
    parents = {name: run.data.tags.get("mlflow.parentRunId") for name, run in by_name.items()}
    identity = {name: run.info.run_id for name, run in by_name.items()}
    assert parents == {
        "first": None,
        "optuna search": identity["first"],
        "autopytorch search": identity["first"],
        "95.00 · optuna-0041": identity["optuna search"],
        "95.00 · autopytorch-0041": identity["autopytorch search"],
    }
    assert {run.info.status for run in by_name.values()} == {"FINISHED"}
    experiment = recorder.store.client.get_experiment(recorder.experiment_id)
    assert experiment.name == "automl/mnist"
    assert experiment.artifact_location == (home.mlflow_artifacts / "mnist").as_uri()


def test_a_trial_is_recorded_whole(home: Home, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.safetensors").write_bytes(b"weights")
    (model / "architecture.json").write_text("{}")
    recorder = opened(home)
    trial = a_trial(7, model=model, notes={"budget": "50"})
    run = recorder.store.client.get_run(recorder.record(trial))

    assert run.data.params == {"lr": "0.01", "width": "16", "stem": "pool", "conv3": "None"}
    assert run.data.metrics == {
        "val_accuracy": 0.95,
        "rung_seconds": 3.0,
        "curve/val_accuracy": 0.95,
        "curve/train_loss": 0.5,
        "seconds": 4.5,
        "parameters": 1234,
        "multiply_adds": 56789,
    }
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    assert tags == {
        "automl.study": "first",
        "automl.role": "trial",
        "automl.engine": "optuna",
        "automl.trial": "7",
        "state": "complete",
        "stage": "search",
        "note.budget": "50",
    }
    assert (run.info.start_time, run.info.end_time) == (1_800_000_000_000, 1_800_000_004_500)

    client = recorder.store.client
    history = client.get_metric_history(run.info.run_id, "val_accuracy")
    assert [(point.step, point.value) for point in history] == [(1000, 0.93), (2000, 0.95)]
    kept = home.mlflow_artifacts / "mnist" / run.info.run_id / "artifacts" / "model"
    assert (kept / "weights.safetensors").read_bytes() == b"weights"
    listed = client.list_artifacts(run.info.run_id, "model")
    assert [file.path for file in listed] == [
        "model/architecture.json",
        "model/weights.safetensors",
    ]


def test_weights_are_one_file_under_two_names_where_they_can_be(home: Home, tmp_path: Path) -> None:
    shared_memory = Path("/dev/shm")
    elsewhere = Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
    recorder = opened(home)
    for number, directory in enumerate((tmp_path / "model", elsewhere)):
        directory.mkdir(exist_ok=True)
        (directory / "weights.safetensors").write_bytes(b"weights")
        for _ in range(2):  # also when a first try came only so far
            recorder.store.keep(
                recorder.store.client.get_run(recorder.record(a_trial(number))).info,
                directory,
                "model",
            )
    copies = list(home.mlflow_artifacts.rglob("weights.safetensors"))
    assert {copy.read_bytes() for copy in copies} == {b"weights"}
    here = (tmp_path / "model" / "weights.safetensors").stat().st_ino
    assert [copy.stat().st_ino == here for copy in copies].count(True) == 1
    shutil.rmtree(elsewhere)
    assert all(copy.is_file() for copy in copies)
    assert len(copies) == 2


def test_commits_to_our_database_alone_wait_for_no_disk(home: Home, tmp_path: Path) -> None:
    assert open_store(home).plain_client
    for path, expected in ((home.mlflow_database, 1), (tmp_path / "another.db", 2)):
        engine = sqlalchemy.create_engine(f"sqlite:///{path}")
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar() == expected
        engine.dispose()


@pytest.mark.parametrize(
    ("state", "status", "name"),
    [
        (TrialState.COMPLETE, "FINISHED", "95.00 · optuna-0000"),
        (TrialState.PRUNED, "FINISHED", "pruned 95.00 · optuna-0000"),
        (TrialState.STOPPED, "FINISHED", "stopped 95.00 · optuna-0000"),
        (TrialState.FAILED, "FAILED", "failed · optuna-0000"),
    ],
)
def test_how_a_trial_ended_reads_in_the_list_of_runs(
    home: Home, state: TrialState, status: str, name: str
) -> None:
    recorder = opened(home)
    run_id = recorder.record(a_trial(state=state, reason="because"))
    run = recorder.store.client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == (status, name)
    assert (run.data.tags["state"], run.data.tags["reason"]) == (state.value, "because")


def test_trials_without_rungs_or_with_a_diverged_loss_are_recorded(home: Home) -> None:
    recorder = opened(home)
    recorder.record(a_trial(0, TrialState.FAILED, rungs=(), parameters=None, multiply_adds=None))
    diverged = (made_rung(1000, 0.1, 1.0, (Epoch(1000, float("nan"), 0.1),)),)
    recorder.record(a_trial(1, TrialState.FAILED, rungs=diverged, reason="x" * 9000))
    assert len(trials(recorder)) == 2


def test_a_running_trial_or_one_of_another_study_is_refused(home: Home) -> None:
    recorder = opened(home)
    for trial in (a_trial(state=TrialState.RUNNING), a_trial(study="second")):
        with pytest.raises(ValueError, match="not a finished trial of 'first'"):
            recorder.record(trial)
    assert trials(recorder) == []


def test_recording_again_changes_nothing_also_after_a_resume(home: Home) -> None:
    recorder = opened(home)
    first = [recorder.record(a_trial(number)) for number in range(3)]
    assert [recorder.record(a_trial(number)) for number in range(3)] == first
    recorder.finish("KILLED")

    resumed = opened(home)
    assert resumed.run_id == recorder.run_id
    going_on = runs(resumed, "tags.`automl.role` != 'trial'")
    assert [run.info.status for run in going_on] == ["RUNNING", "RUNNING"]
    assert [resumed.record(a_trial(number)) for number in range(4)][:3] == first
    resumed.finish("FINISHED")
    assert len(trials(resumed)) == 4
    assert len(runs(resumed)) == 6
    assert {run.info.status for run in runs(resumed)} == {"FINISHED"}


def test_a_finalist_is_a_run_beside_the_trial_it_comes_from(home: Home) -> None:
    recorder = opened(home)
    recorder.record(a_trial(3))
    recorder.record(a_trial(3, stage="final"))
    names = sorted(run.info.run_name for run in trials(recorder))
    assert names == ["95.00 · optuna-0003", "95.00 · optuna-0003 final"]


def test_a_trial_whose_writer_was_killed_half_way_is_written_anew(home: Home) -> None:
    recorder = opened(home)
    half = recorder.record(a_trial(0))
    recorder.record(a_trial(1))
    recorder.store.client.update_run(half, status="RUNNING")

    resumed = opened(home)
    assert [run.data.tags["automl.trial"] for run in trials(resumed)] == ["1"]
    whole = resumed.record(a_trial(0))
    assert whole != half
    assert sorted(run.data.tags["automl.trial"] for run in trials(resumed)) == ["0", "1"]


def test_two_studies_share_the_experiment_and_nothing_else(home: Home) -> None:
    first, second = opened(home), opened(home, "second")
    first.record(a_trial(0))
    second.record(a_trial(0, study="second"))
    assert first.experiment_id == second.experiment_id
    assert len(trials(first)) == 2
    found = runs(second, "tags.`automl.study` = 'second' and tags.`automl.trial` = '0'")
    assert [run.data.tags["mlflow.parentRunId"] for run in found] == [
        run.info.run_id
        for run in runs(second, "tags.`automl.study` = 'second' and tags.`automl.role` = 'search'")
    ]


def test_a_search_counts_its_trials_and_shows_the_incumbent_rise(home: Home) -> None:
    """The incumbent is what would win: also a pruned trial, or one out of time."""

    def scored(number: int, value: float, state: TrialState = TrialState.COMPLETE) -> Trial:
        return a_trial(number, state, rungs=(made_rung(1000, value, 1.0),))

    recorder = opened(home)
    recorder.record(scored(0, 0.90))
    older = a_trial(1, TrialState.PRUNED, rungs=(), reason="the run was stopped")
    recorder.record(older)  # as versions without a word for it recorded it
    recorder.finish("KILLED")
    recorder = opened(home)
    recorder.record(scored(2, 0.99, TrialState.PRUNED))
    recorder.record(scored(3, 0.95, TrialState.STOPPED))
    recorder.finish("FINISHED")

    (search,) = runs(recorder, "tags.`automl.role` = 'search'")
    states = {"complete": 1, "pruned": 1, "stopped": 2, "failed": 0}
    assert search.data.metrics == {"trials": 4, **states, "best_val_accuracy": 0.99}
    rise = recorder.store.client.get_metric_history(search.info.run_id, "best_val_accuracy")
    assert [(point.step, point.value) for point in rise] == [(1, 0.90), (3, 0.99)]


def test_threads_may_share_a_recorder(home: Home) -> None:
    recorder = opened(home)
    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(recorder.record, [a_trial(n % 6) for n in range(12)]))
    assert len(set(written)) == 6
    assert len(trials(recorder)) == 6
    assert len(runs(recorder)) == 8


def test_what_belongs_to_the_whole_run(home: Home, tmp_path: Path) -> None:
    recorder = opened(home, data=str(Path.home() / "data"))
    recorder.log_params({"budget_seconds": 60, "data": Path.home() / "d"})
    recorder.log_dataset("MNIST", "ab" * 32, "cd" * 32, {"train": 54000, "validation": 6000})
    recorder.log_metrics({"test_accuracy": 0.994})
    recorder.log_text("hello", "notes.txt")
    (tmp_path / "table.csv").write_text("a,b\n")
    recorder.log_artifact(tmp_path / "table.csv", "tables")
    recorder.set_note("# Done")

    run = recorder.store.client.get_run(recorder.run_id)
    assert run.data.params == {"budget_seconds": "60", "data": "~/d"}
    assert run.data.tags["data"] == "~/data"
    assert run.data.metrics == {"test_accuracy": 0.994}
    assert run.data.tags["mlflow.note.content"] == "# Done"
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("MNIST", "abababababab")
    assert json.loads(entry.dataset.profile) == {
        "train": 54000,
        "validation": 6000,
        "digest": "ab" * 32,
        "split_digest": "cd" * 32,
    }
    artifacts = home.mlflow_artifacts / "mnist" / recorder.run_id / "artifacts"
    assert (artifacts / "notes.txt").read_text() == "hello"
    assert (artifacts / "tables" / "table.csv").exists()
    page = f"/#/experiments/{recorder.experiment_id}/runs/{recorder.run_id}?"
    assert page in recorder.page("http://127.0.0.1:5000")


def test_an_experiment_tells_the_ui_how_to_list_its_trials(home: Home) -> None:
    recorder = opened(home)
    experiment = recorder.store.client.get_experiment(recorder.experiment_id)
    packed = experiment.tags["mlflow.sharedViewState.trials"].removeprefix("deflate;")
    view = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`val_accuracy`", False)
    assert {"metrics.`parameters`", "metrics.`seconds`"} <= set(view["selectedColumns"])
    link = f"(#/experiments/{recorder.experiment_id}/runs?viewStateShareKey=trials&"
    assert link in experiment.tags["mlflow.note.content"]


def test_a_run_resumed_with_other_parameters_keeps_the_first_and_tags_the_new(home: Home) -> None:
    opened(home).log_params({"budget_seconds": 60, "seed": 0})
    resumed = opened(home)
    resumed.log_params({"budget_seconds": 600, "seed": 0, "workers": 2})
    run = resumed.store.client.get_run(resumed.run_id)
    assert run.data.params == {"budget_seconds": "60", "seed": "0", "workers": "2"}
    assert run.data.tags["resumed.budget_seconds"] == "600"
    assert "resumed.seed" not in run.data.tags


def test_an_experiment_deleted_in_the_ui_is_taken_back(home: Home) -> None:
    recorder = opened(home)
    recorder.store.client.delete_experiment(recorder.experiment_id)
    assert opened(home).experiment_id == recorder.experiment_id


def test_mlflow_leaves_nothing_outside_the_home_and_says_nothing(tmp_path: Path) -> None:
    code = (
        "import logging, sys; from pathlib import Path; logging.basicConfig(level='INFO');"
        "from pipeline_lib.home import Home; from pipeline_lib.tracking import Recorder;"
        "Recorder.open(Home(Path('home').absolute()), 'mnist', 'first', {}).finish('FINISHED')"
    )
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "MLFLOW_TRACKING_URI": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert {path.name for path in (tmp_path / "home" / "mlflow").iterdir()} <= {
        "mlflow.db",
        "mlflow.lock",
        "artifacts",
    }


def test_errors_of_the_store_still_reach_the_log(blank: Home) -> None:
    assert logging.getLogger("mlflow.store.db.utils").isEnabledFor(logging.WARNING)
    assert not logging.getLogger("mlflow.store.db.utils").isEnabledFor(logging.INFO)


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b""])
def test_a_file_that_is_no_store_is_named(home: Home, content: bytes) -> None:
    home.mlflow_database.write_bytes(content)
    with pytest.raises(HomeError, match=r"mlflow: cannot be used .*mlflow\.db.*move that file"):
        open_store(home)
    assert home.mlflow_database.read_bytes() == content


def test_a_store_of_another_version_is_named(home: Home) -> None:
    with sqlite3.connect(home.mlflow_database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'cfd24bdc0731'")
    connection.close()
    with pytest.raises(HomeError, match="out-of-date database schema"):
        open_store(home)


def test_a_database_half_built_by_a_killed_start_is_built_again(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.mlflow_database.parent.mkdir(parents=True)
    home.mlflow_database.with_suffix(".new").write_bytes(b"half")
    assert open_store(home).client.search_experiments()
    assert not home.mlflow_database.with_suffix(".new").exists()


def test_the_users_own_server_wins(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(home.mlflow_database.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    store = open_store(home)
    assert store.uri == f"sqlite:///{other}"
    assert store.artifact_location("mnist") == (tmp_path / "mlruns" / "mnist").as_uri()


def test_a_server_that_does_not_answer_is_named_without_its_password(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(ServerError, match="MLFLOW_TRACKING_URI") as caught:
        open_store(home)
    assert "secret" not in str(caught.value)
    assert caught.value.value == "http://127.0.0.1:9"


@given(st.text("abc:@/", max_size=8))
def test_an_address_without_password_is_left_alone(path: str) -> None:
    assert without_password(f"http://host:1/{path}") == f"http://host:1/{path}"


accuracies = st.floats(0, 1)
curves = st.lists(st.builds(Epoch, st.integers(0), st.floats(0, 9), accuracies), max_size=3)
rungs = st.lists(
    st.builds(made_rung, st.integers(0), accuracies, st.floats(0, 99), curves.map(tuple)),
    max_size=4,
)


@given(rungs.map(tuple), st.sampled_from(list(TrialState)))
def test_the_last_accuracy_written_is_the_trials(
    steps: tuple[Rung, ...], state: TrialState
) -> None:
    trial = a_trial(state=state, rungs=steps)
    written = [value for name, value, _ in metrics_of(trial) if name == "val_accuracy"]
    assert (written[-1] if written else None) == trial.value
    assert trial.label in run_name(trial)
