from zoneinfo import ZoneInfo

import pytest
import yaml
from running_up import free_port

from flows.deployments import PROJECT, preset, presets
from flows.up import up
from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home


def deployments():
    document = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    return {entry["name"]: entry for entry in document["deployments"]}


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_a_configuration(name):
    assert RunConfig.parse(preset(name)).dataset == "mnist"


def test_presets_keep_their_order_and_budgets():
    budgets = {name: fields["budget_seconds"] for name, fields in presets().items()}
    assert list(budgets.items()) == [("mnist", 120), ("mnist-nightly", 3600)]


def test_two_deployments_of_one_name_are_refused(monkeypatch, tmp_path):
    listed = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
    listed["deployments"].append(listed["deployments"][0])
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(listed), encoding="utf-8")
    monkeypatch.setattr("flows.deployments.PROJECT", tmp_path)
    with pytest.raises(ConfigurationError, match=r"prefect.yaml: .*twice, got 'mnist'"):
        presets()
    with pytest.raises(ConfigurationError, match=r"prefect.yaml: .*twice, got 'mnist'"):
        up(Home(tmp_path / "home"), prefect_port=free_port(), mlflow_port=free_port())
    assert not (tmp_path / "home").exists()


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigurationError, match=r"preset: is unknown, got 'mnsit'.*'mnist'"):
        preset("mnsit")


@pytest.mark.parametrize("name", presets())
def test_a_deployment_runs_once_at_a_time_in_the_pool_of_up(name):
    deployment = deployments()[name]
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert deployment["work_pool"] == {"name": "local"}
    assert deployment["entrypoint"] == "flows/automl.py:automl"


def test_the_night_has_a_named_time_zone():
    [schedule] = deployments()["mnist-nightly"]["schedules"]
    assert schedule["slug"] == "nightly"
    assert schedule["cron"] == "0 2 * * *"
    assert ZoneInfo(schedule["timezone"]).key == schedule["timezone"]
