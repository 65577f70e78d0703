"""What the command line takes and how its help reads; nothing here searches."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command

from flows import cli
from flows.running import configuration
from pipeline_lib.config import RunConfig
from pipeline_lib.config_file import write_configuration
from pipeline_lib.errors import ConfigurationError, HomeError, UserError
from pipeline_lib.home import Home
from pipeline_lib.options import Option

PROGRAM = str(Path(sys.executable).with_name("automl"))
COMMAND = get_command(cli.app)
RUN = {param.name: param for param in COMMAND.commands["run"].params}


def help_of(*words: str, monkeypatch, capsys, columns) -> str:
    monkeypatch.setattr(sys, "argv", ["automl", *words, "--help"])
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("field", RunConfig.model_fields)
def test_every_field_is_an_option_in_a_group(field):
    if field == "dataset":  # the argument
        return
    known = RunConfig.model_fields[field]
    (given,) = (each for each in known.metadata if isinstance(each, Option))
    (option,) = (
        param for param in RUN.values() if param.opts[0][2:] == (given.names or [dashed(field)])[0]
    )
    assert option.rich_help_panel == given.group
    assert known.description in option.help


def dashed(field):
    return field.replace("_", "-")


@pytest.mark.parametrize("columns", [80, 64, 50])
def test_no_line_of_help_is_cut_or_too_long(columns, monkeypatch, capsys):
    commands = {(): COMMAND, ("engines",): COMMAND.commands["engines"]}
    commands |= {(name,): command for name, command in COMMAND.commands.items()}
    for words, command in commands.items():
        said = help_of(*words, monkeypatch=monkeypatch, capsys=capsys, columns=columns)
        assert max(map(len, said.splitlines())) <= columns, words
        flat = " ".join(said.split())
        shown = [param for param in command.params if not getattr(param, "hidden", False)]
        for text in [command.help, *(param.help for param in shown)]:
            assert " ".join((text or "").split()) in flat, words
    front = " ".join(help_of(monkeypatch=monkeypatch, capsys=capsys, columns=columns).split())
    for command in COMMAND.commands.values():
        assert command.get_short_help_str(1000) in front


def test_the_version(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["automl", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().out) == (0, f"automl {version('automl')}\n")


@pytest.mark.parametrize(
    ("line", "offered"),
    [("automl lea", "leaderboard"), ("automl run --sampler cm", "cmaes"),
     ("automl report fir", "first")],
)  # fmt: skip
def test_a_shell_completes_commands_values_and_runs(line, offered, tmp_path):
    (tmp_path / "runs" / "first").mkdir(parents=True)
    words = line.split()
    environment = {
        **os.environ,
        "AUTOML_HOME": str(tmp_path),
        "_AUTOML_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [offered], done.stderr


class TestFile:
    """`--config FILE`."""

    def written(self, tmp_path, text):
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    def test_options_win_over_the_file_and_the_file_over_the_deployment(self, tmp_path):
        file = self.written(tmp_path, "budget: 10m\nseed: 3\ntrials: 7\n")
        found = configuration("mnist-nightly", {"seed": "4"}, file)
        assert (found.budget_seconds, found.seed, found.trials) == (600, 4, 7)
        assert configuration("mnist-nightly", {}).budget_seconds == 3600  # without them

    def test_settings_are_a_mapping_or_a_list_and_options_win_over_them(self, tmp_path):
        mapping = self.written(tmp_path, "set:\n  lr: 1e-3\n  width: [32, 64]\n")
        found = configuration("mnist", {}, mapping)
        assert found.settings == {"lr": 0.001, "width": (32, 64)}
        listed = self.written(tmp_path, "set: ['lr=0.001', 'width=[32,64]']\n")
        assert configuration("mnist", {}, listed) == found
        assert configuration("mnist", {"set": ["lr=1"]}, listed).settings == {"lr": 1}

    def test_a_file_of_an_older_version_has_search_space_updates(self, tmp_path):
        row = "{node: optimizer, hyperparameter: __choice__, range: [Adam], log: false}"
        file = self.written(tmp_path, f"search_space_updates: [{row}]\n")
        assert configuration("mnist", {}, file).set == ("optimizer:__choice__=[Adam]",)
        file = self.written(tmp_path, "search_space_updates: []\n")
        assert configuration("mnist", {}, file).set == ()

    def test_alone_it_says_everything(self, tmp_path):
        file = self.written(tmp_path, "dataset: kmnist\nbudget_seconds: 9\n")
        assert configuration(None, {}, file) == RunConfig(dataset="kmnist", budget_seconds=9)
        assert configuration("mnist", {}, file).dataset == "mnist"  # it was named

    def test_what_a_run_leaves_is_such_a_file(self, tmp_path):
        config = RunConfig(
            dataset="kmnist", trials=3, name="first", data_root=str(Path.home() / "data"),
            set=["optimizer:__choice__=[AdamOptimizer]", "data_loader:batch_size=[32,64]"],
        )  # fmt: skip
        path = write_configuration(tmp_path / "run.yaml", config, "first")
        again = configuration(None, {}, str(path))
        assert again == config.model_copy(update={"name": None})
        assert str(Path.home()) not in path.read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("text", "place", "kind", "says"),
        [
            ("seed: 1\nsampler: tpee\n", ":2: sampler", ConfigurationError, "'tpe'"),
            ("\n\nsmapler: tpe\n", ":3: configuration", ConfigurationError, "'sampler'"),
            ("dataset: mnits\n", ":1: dataset", ConfigurationError, "mnist"),
            ("seed: 1\nbudget: soon\n", ":2: budget", ConfigurationError, "90s"),
            ("budget: 9999h\n", ":1: budget_seconds", ConfigurationError, "2592000"),
            ("seed: 1\nseed: 2\n", ":2: ", ConfigurationError, "line 1"),
            ("seed: 1\n  trials: [\n", ":2: ", ConfigurationError, "YAML"),
            ("- seed\n", ": holds", ConfigurationError, "budget: 10m"),
            ("? [a]\n: 1\n", ":1: ", ConfigurationError, "name of a field"),
            ("seed: !!python/object/apply:os.getcwd []\n", ":1: ", ConfigurationError, "YAML"),
        ],
    )
    def test_what_is_wrong_is_said_with_file_and_line(self, tmp_path, text, place, kind, says):
        file = self.written(tmp_path, text)
        with pytest.raises(kind) as caught:
            configuration(None, {}, file)
        assert str(caught.value).startswith(f"{file}{place}")
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_what_is_wrong_in_an_option_is_not_blamed_on_the_file(self, tmp_path):
        file = self.written(tmp_path, "sampler: tpe\n")
        with pytest.raises(ConfigurationError) as caught:
            configuration(None, {"sampler": "tpee"}, file)
        assert caught.value.where == "sampler"

    def test_without_data_or_file_there_is_nothing_to_run(self, tmp_path):
        with pytest.raises(ConfigurationError, match="DATA: is missing"):
            configuration(None, {})
        with pytest.raises(ConfigurationError, match="cannot be read"):
            configuration(None, {}, str(tmp_path / "absent.yaml"))


class TestPaths:
    """`--data-root` and `--home`."""

    def test_a_relative_data_root_is_kept_whole(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        assert RunConfig(data_root="my").data_root == str(tmp_path / "my")

    def test_a_tilde_is_the_users_home(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert RunConfig(data_root="~/my").data_root == str(tmp_path / "my")
        assert Home(Path("~/state")).root == tmp_path / "state"
        monkeypatch.setenv("AUTOML_HOME", "~/state")
        assert Home.from_environment().root == tmp_path / "state"

    def test_older_records_and_command_lines_call_it_data(self, tmp_path):
        assert RunConfig.parse({"data": str(tmp_path)}).data_root == str(tmp_path)
        assert {"--data-root", "--data"} <= set(RUN["data_root"].opts)

    @pytest.mark.parametrize("path", ["", " ", "~nobody-of-this-name/my"])
    def test_what_is_no_path_is_refused(self, path):
        for wrong in (lambda: RunConfig(data_root=path), lambda: cli.setup.use_home(path)):
            with pytest.raises((ConfigurationError, HomeError)):
                wrong()


def test_a_condition_of_a_search_space_is_said_once_and_whole():
    from flows.listings import _described

    said = "(net:rate | net:use == True && net:rate | net:groups > 1)"
    row = {"name": "net:rate", "type": "UniformFloat", "range": [0.1, 0.5], "log": True,
           "default": 0.2, "conditions": [said, said]}  # fmt: skip
    assert _described(row)[-1] == "net:use == True and net:groups > 1"


def test_an_error_of_a_run_names_its_log(tmp_path, capsys):
    from pipeline_lib.run.log import log_path, logged

    home = Home(tmp_path)
    with pytest.raises(RuntimeError) as caught, logged(home, "first"):
        raise RuntimeError("of the machine's")
    path = log_path(home, "first")
    assert caught.value.__notes__ == [f"log: {path}"]
    assert "Traceback" in path.read_text(encoding="utf-8")


def test_what_the_user_can_mend_leaves_no_log(tmp_path):
    from pipeline_lib.run.log import logged

    with pytest.raises(UserError), logged(Home(tmp_path), "first"):
        raise ConfigurationError("name", "is that of a run that is going on")
    assert not list(tmp_path.iterdir())


def test_a_place_that_takes_no_log_costs_the_log_alone(tmp_path):
    from pipeline_lib.run.log import logged

    (tmp_path / "runs").write_text("")
    with logged(Home(tmp_path), "first"):
        logging.getLogger("automl").info("said all the same")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk here")
def test_a_disk_that_is_full_costs_the_log_alone(tmp_path, capsys):
    from pipeline_lib.run.log import log_path, logged

    path = log_path(Home(tmp_path), "first")
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    with logged(Home(tmp_path), "first"):
        logging.getLogger("automl").info("said all the same")
    assert capsys.readouterr().err == ""


HEARD = """
import logging, sys
from pathlib import Path
from pipeline_lib.home import Home
from pipeline_lib.run.log import logged

with logged(Home(Path(sys.argv[1])), "first"):
    logging.getLogger("automl").info("said once")
    logging.getLogger("prefect.flow_runs").warning("by Prefect, in %s", Path.home())
logging.getLogger("automl").info("said after")
assert logging.getLogger("automl").handlers == []
"""


def test_progress_is_heard_where_logging_was_not_configured_and_kept_in_the_log(tmp_path):
    command = [sys.executable, "-c", HEARD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines().count("said once") == 1
    assert "said after" not in done.stderr
    kept = (tmp_path / "runs" / "first" / "run.log").read_text(encoding="utf-8")
    assert "automl: said once" in kept
    assert "prefect.flow_runs: by Prefect, in ~" in kept
