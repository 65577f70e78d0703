"""What a person sees in Prefect's pages and MLflow's after real runs, in a browser."""

import json
import time
import urllib.request

import pytest
from browser import DESKTOP, PHONE, browser
from running_up import running_up

from pipeline_lib.home import Home

NAME = "shown"


@pytest.fixture(scope="module")
def up(tmp_path_factory, mnist, test_home):
    """An `automl up` after a run that completed and one that failed."""
    home = Home(tmp_path_factory.mktemp("pages") / "home")
    with running_up(home) as running:
        failed = running.deploy_run("--watch --param name=broken --param data_root=/nowhere")
        assert "finished in state 'Failed'" in failed.stdout, failed.stdout + failed.stderr
        done = running.deploy_run(
            f"--watch --param name={NAME} --param engine=optuna --param budget_seconds=20",
            f"--param data_root={test_home.data}",
        )
        log = (home.prefect / "worker.log").read_text()
        assert "finished successfully" in done.stdout, done.stdout + log
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    """A browser of its own: Chromium hangs when these pages grow back to a desktop's size."""
    with browser(tmp_path_factory.mktemp("phone") / "profile") as opened:
        yield opened


@pytest.fixture(scope="module")
def shows(page, phone):
    """Opens an address, waits until it shows these words (a phone the first); keeps pictures."""

    def look(address, *words, picture=""):
        views = [(page, DESKTOP, "desktop", words), (phone, PHONE, "phone", words[:1])]
        for view, size, name, expected in views if picture else views[:1]:
            view.open(address, size)
            for word in expected:
                view.wait_for(f"document.body.innerText.includes({json.dumps(word)})")
            if picture:
                view.screenshot(f"{picture}-{name}", whole=False)

    return look


def prefect(up):
    return up.api_url.removesuffix("/api")


def run_of(up, name):
    return up.ask("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})[0]


def artifacts(up):
    """Of the completed run, by key."""
    of_the_run = {"artifacts": {"flow_run_id": {"any_": [run_of(up, NAME)["id"]]}}}
    return {found["key"]: found for found in up.ask("artifacts/filter", of_the_run)}


@pytest.fixture(scope="module")
def study(up):
    """Addresses, below MLflow's, of the experiment and of the run in it."""
    body = {"experiment_ids": [experiment(up)], "filter": "tags.`automl.role` = 'pipeline'"}
    runs = mlflow(up, "runs/search", body)["runs"]
    [run_id] = [run["info"]["run_id"] for run in runs if run["info"]["run_name"] == NAME]
    listed = f"{up.mlflow_url}/#/experiments/{experiment(up)}/runs"
    return listed, f"{listed}/{run_id}"


def experiment(up):
    url = f"{up.mlflow_url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=automl/mnist"
    with urllib.request.urlopen(url) as response:
        return json.load(response)["experiment"]["experiment_id"]


def mlflow(up, path, body):
    url, headers = f"{up.mlflow_url}/api/2.0/mlflow/{path}", {"Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(url, json.dumps(body).encode(), headers)
    ) as response:
        return json.load(response)


@pytest.mark.long
def test_prefect_shows_the_deployments_and_what_a_run_of_one_takes(up, shows):
    shows(f"{prefect(up)}/deployments", "mnist-nightly", "At 02:00 AM", picture="deployments")
    [mnist] = [d for d in up.ask("deployments/filter", {}) if d["name"] == "mnist"]
    words = (
        "Seconds for search and final trainings together",
        "MiB, 512 or more",
        "folder of class folders",
    )
    form = f"{prefect(up)}/deployments/deployment/{mnist['id']}/run"
    shows(form, *words, picture="custom-run")


@pytest.mark.long
def test_prefect_refuses_a_run_with_a_parameter_that_cannot_be(up):
    done = up.deploy_run("--param budget_seconds=-1")
    assert done.returncode != 0
    assert "Validation failed for field 'budget_seconds'" in done.stdout + done.stderr


@pytest.mark.long
def test_prefect_shows_a_run_and_its_artifacts(up, page, shows):
    words = ("Completed", "mnist", "Task runs")
    shows(f"{prefect(up)}/runs/flow-run/{run_of(up, NAME)['id']}", *words, picture="run")
    deadline = time.monotonic() + 300
    while "architecture" not in (found := artifacts(up)):  # it is drawn after the run is done
        assert time.monotonic() < deadline
        time.sleep(0.5)
    expected = {"optuna-progress", "leaderboard", "architecture", "verdict", "mlflow-run", "report"}
    assert expected <= found.keys()
    for key, words in {
        "leaderboard": (f"Leaderboard of {NAME}", "optuna #0", "validation"),
        "verdict": ("test accuracy", "Hyperparameters of the winner"),
        "architecture": ("Network of ",),
        "mlflow-run": (f"{NAME} in MLflow",),
    }.items():
        address = f"{prefect(up)}/artifacts/artifact/{found[key]['id']}"
        shows(address, *words, picture=f"artifact-{key}")
    page.open(f"{prefect(up)}/artifacts/artifact/{found['architecture']['id']}")
    page.wait_for("[...document.images].some(image => image.naturalWidth > 100)")
    assert up.mlflow_url in found["report"]["data"]


@pytest.mark.long
def test_prefect_shows_why_a_run_failed(up, shows):
    address = f"{prefect(up)}/runs/flow-run/{run_of(up, 'broken')['id']}"
    shows(address, "Failed", "/nowhere/MNIST", "cannot be read", picture="failed-run")


@pytest.mark.long
def test_mlflow_shows_the_run_its_verdict_and_its_report(up, page, shows, study):
    _, run = study
    asked = "?workflowType=machine_learning"
    words = (NAME, "wins on mnist with", "optuna search", "Training And Validation", "automl-mnist")
    shows(f"{run}{asked}", *words, picture="mlflow-run")
    report = f"{run}/artifacts/report.html{asked}"
    shows(report, "report.html", picture="mlflow-report")
    page.wait_for("document.querySelector('iframe')")


def _expander(name):
    """The button, in JavaScript, that shows the children of the run of this name."""
    row = f"[...document.querySelectorAll('[role=row]')].find(r => r.innerText.includes('{name}'))"
    return f"""{row}?.querySelector('[col-id*="Run Name"] button')"""


@pytest.mark.long
def test_mlflow_shows_parents_children_and_the_trials_best_first(up, page, shows, study):
    listed, _ = study
    everything = "searchFilter=&orderByKey=attributes.start_time&orderByAsc=false"
    page.open("about:blank")  # a view that is open already keeps its filter
    shows(f"{listed}?{everything}&workflowType=machine_learning", NAME)
    for parent, child in ((NAME, "optuna search"), ("optuna search", "optuna-0000")):
        page.wait_for(_expander(parent))
        page.evaluate(f"{_expander(parent)}.click()")
        page.wait_for(f"document.body.innerText.includes({json.dumps(child)})")
    page.screenshot("mlflow-runs-desktop", whole=False)
    trials = f"{listed}?viewStateShareKey=trials&workflowType=machine_learning"
    shows(trials, "optuna-0000", "val_accuracy", "parameters", picture="mlflow-trials")


@pytest.mark.long
def test_mlflow_opens_on_the_trials_best_first(up, page, study):
    """Whoever types the address; whoever comes through the list of experiments as well."""
    page.open(f"{up.mlflow_url}/health", DESKTOP)
    page.evaluate("localStorage.clear()")  # as in a browser that has not been here
    page.open(up.mlflow_url, DESKTOP)
    page.wait_for(f"location.hash.startsWith('#/experiments/{experiment(up)}/runs')")
    for word in ("val_accuracy", "parameters", "seconds", "automl.study", "state", "optuna-0000"):
        page.wait_for(f"document.body.innerText.includes({json.dumps(word)})")
    accuracies = """Array.from(document.querySelectorAll('[role=row] [col-id*=val_accuracy]'),
        cell => Number(cell.innerText)).filter(Number.isFinite)"""
    page.wait_for(f"{accuracies}.length > 1")
    shown = page.evaluate(accuracies)
    assert shown == sorted(shown, reverse=True)
    page.screenshot("mlflow-landing-desktop", whole=False)
    page.open("about:blank", DESKTOP)
    page.open(f"{up.mlflow_url}/#/experiments", DESKTOP)
    listed = (
        "document.querySelector('[data-testid=experiment-list-item-link][title=\"automl/mnist\"]')"
    )
    page.wait_for(listed)
    page.evaluate(f"{listed}.click()")
    page.wait_for("document.body.innerText.includes('val_accuracy')")


@pytest.mark.long
def test_no_page_asks_anybody_else(up, page, study):
    listed, run = study
    ours = ("http://127.0.0.1:", "data:", "blob:")
    for address in (
        *(f"{prefect(up)}/{path}" for path in ("", "dashboard", "runs", "deployments", "settings")),
        up.mlflow_url,
        listed,
        run,
        f"{up.mlflow_url}/#/models",
    ):
        page.open(address, DESKTOP)
        page.wait_for("document.body.innerText.length > 100")
        time.sleep(1.5)  # what a page does when it has been drawn
        page.evaluate("1")
        assert [asked for asked in page.requests if not asked.startswith(ours)] == [], address


@pytest.mark.long
def test_mlflow_shows_the_model_its_champion_and_a_description(up, shows):
    words = ("Classifiers of mnist", "champion", "test accuracy")
    shows(f"{up.mlflow_url}/#/models/automl-mnist", *words, picture="mlflow-model")
