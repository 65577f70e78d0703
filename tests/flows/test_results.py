"""Prefect keeps results as pickles by its own choice: here it keeps none, and reads none."""

import json
import os
import subprocess
import sys

import pytest

from flows.prefect_server import client_settings
from pipeline_lib.home import Home

PLANT = """
import os, sys
from prefect.results import ResultRecord, ResultRecordMetadata
from prefect.serializers import PickleSerializer

class Hostile:
    def __reduce__(self):
        return os.mkdir, (sys.argv[1],)

for key in sys.argv[2:]:
    metadata = ResultRecordMetadata(serializer=PickleSerializer(), storage_key=key)
    record = ResultRecord(result=Hostile(), metadata=metadata)
    path = os.path.join(os.environ["PREFECT_HOME"], "storage", key)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(record.serialize())
"""

READ = """
import os, sys
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore

storage = LocalFileSystem(basepath=os.path.join(os.environ["PREFECT_HOME"], "storage"))
ResultStore(result_storage=storage).read(sys.argv[1])
"""

RUN = """
import os, sys

seen = []

def watch(event, arguments):
    name = arguments[0] if arguments else None
    if event == "open" and isinstance(name, str | os.PathLike) and "/prefect/storage" in str(name):
        seen.append(f"opened {name}")
    if event == "pickle.find_class" and arguments[1:] == ("posix", "mkdir"):
        seen.append("unpickled")

sys.addaudithook(watch)
from flows.cli import main

try:
    main()
finally:
    print("seen:", seen, flush=True)
"""

KEYS = ["0" * 32, "load data", "results/first", "automl"]


def python(program, home, *arguments, **environment):
    own = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**own, "PREFECT_HOME": str(home.prefect), "AUTOML_HOME": str(home.root)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_results_would_be_json(tmp_path):
    program = (
        "import json; from prefect.settings import get_current_settings as current; "
        "r = current().results; print(json.dumps([r.default_serializer, r.persist_by_default]))"
    )
    settings = client_settings(Home(tmp_path), "http://127.0.0.1:9/api")
    the_users = {"PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true"}
    done = python(program, Home(tmp_path), **the_users | settings)
    assert json.loads(done.stdout) == ["json", False], done.stderr


def test_no_task_looks_for_an_earlier_result():
    """One that did would read what somebody may have put in Prefect's storage."""
    from prefect.cache_policies import NO_CACHE

    from flows import automl as module
    from tasks.search import search_task

    tasks = [*module.TASKS.values(), search_task("optuna")]
    assert len(tasks) > 8
    for stage in [*tasks, module.automl]:
        assert not stage.persist_result, stage.name
        assert stage.result_storage is None
    for task in tasks:
        assert task.cache_policy == NO_CACHE, task.name
        assert task.cache_key_fn is None


@pytest.mark.long
def test_pickles_planted_in_prefects_storage_are_never_read(fresh_home, tmp_path):
    canary = tmp_path / "canary"
    python(PLANT, fresh_home, str(canary), *KEYS)
    assert not canary.exists()
    done = python(READ, fresh_home, KEYS[0])
    assert canary.is_dir(), done.stderr  # the poison works
    canary.rmdir()

    arguments = ["run", "mnist", "--engine", "optuna", "--workers", "1", "--budget", "15s"]
    done = python(RUN, fresh_home, *arguments, PREFECT_RESULTS_PERSIST_BY_DEFAULT="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seen: []" in done.stdout
    assert not canary.exists()
    kept = {str(path.relative_to(fresh_home.prefect / "storage")) for path in files_of(fresh_home)}
    assert kept == set(KEYS)


def files_of(home):
    return (path for path in (home.prefect / "storage").rglob("*") if path.is_file())
