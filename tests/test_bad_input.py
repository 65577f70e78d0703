"""Bad input at the command line: one clear line, exit code 2, and nothing written."""

from __future__ import annotations

import atexit
import os
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from flows import cli, deployments
from pipeline_lib.data.sources.catalogue import CATALOGUE
from pipeline_lib.data.sources.idx import idx_header

MNIST = [file.path for file in CATALOGUE["mnist"].files]
SHAPES = [file.shape for file in CATALOGUE["mnist"].files]


def png(width, height, data=b""):
    """A PNG that claims a size and holds these bytes as its pixels."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(data, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def text_bomb():
    """A small PNG whose comment unpacks to 200 MB."""
    bomb = zlib.compress(bytes(200_000_000), 9)
    body = b"zTXt" + b"Comment\x00\x00" + bomb
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    whole = png(28, 28, bytes(29 * 28))
    return whole[:33] + chunk + whole[33:]


def layout(directory: Path, real: Path, spoilt: int, content: bytes) -> str:
    """MNIST's four files in a user's directory, one of them spoilt."""
    for number, path in enumerate(MNIST):
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if number == spoilt:
            file.write_bytes(content)
        else:
            file.symlink_to(real / path)
    return str(directory)


def labels(value: int) -> bytes:
    return idx_header(SHAPES[1]) + bytes([value]) * SHAPES[1][0]


def picture(place: Path, content: bytes) -> str:
    (place / "picture.png").write_bytes(content)
    return str(place / "picture.png")


def a_taken_port() -> str:
    taken = socket.create_server(("127.0.0.1", 0))
    atexit.register(taken.close)
    return str(taken.getsockname()[1])


RUN = {
    "preset-unknown": (["run", "mnits"], ["DATA", "'mnits'", "did you mean 'mnist'"]),
    "preset-empty": (["run", ""], ["DATA", "choose from"]),
    "preset-path": (["run", "../../etc/passwd"], ["dataset", "is not there", "../../etc/passwd"]),
    "engine": (["run", "mnist", "--engine", "optunna"], ["engine", "'optunna'", "'optuna'"]),
    "budget-word": (["run", "mnist", "--budget", "soon"], ["budget", "'soon'", "90s, 10m, 2h"]),
    "budget-zero": (["run", "mnist", "--budget", "0"], ["budget", "'0'", "above zero"]),
    "budget-negative": (["run", "mnist", "--budget=-5m"], ["budget", "'-5m'", "90s"]),
    "budget-short": (
        ["run", "mnist", "--engine", "optuna", "--budget", "1s"],
        ["budget", "optuna", "'1 s'", "3s"],
    ),
    "budget-short-for-all": (["run", "mnist", "--budget", "1s"], ["budget", "optuna", "3s"]),
    "budget-short-for-autopytorch": (
        ["run", "mnist", "--engine", "autopytorch", "--budget", "10s"],
        ["budget", "autopytorch", "'10 s'", "12s"],
    ),
    "budget-years": (["run", "mnist", "--budget", "99999h"], ["budget_seconds", "2592000"]),
    "budget-digits": (["run", "mnist", "--budget", "9" * 400], ["budget", "inf"]),
    "trials-zero": (["run", "mnist", "--trials", "0"], ["trials", "0", "Maximum"]),
    "trials-word": (["run", "mnist", "--trials", "many"], ["trials", "'many'", "integer"]),
    "sampler": (["run", "mnist", "--sampler", "tpee"], ["sampler", "'tpee'", "'tpe'"]),
    "pruner": (["run", "mnist", "--pruner", "rung"], ["pruner", "'rung'", "'rungs'"]),
    "set-form": (["run", "mnist", "--set", "lr"], ["set", "'lr'", "NAME=VALUE"]),
    "set-twice": (["run", "mnist", "--set", "lr=1", "--set", "lr=2"], ["set", "'lr'", "twice"]),
    "set-unknown": (
        ["run", "mnist", "--engine", "optuna", "--set", "no_such=1"],
        ["set", "'no_such'", "Optuna"],
    ),
    "space": (["run", "mnist", "--space", "defualt"], ["space", "'defualt'", "'default'"]),
    "workers-zero": (["run", "mnist", "--workers", "0"], ["workers", "0", "in parallel"]),
    "workers-many": (["run", "mnist", "--workers", "9999"], ["workers", "9999", "256"]),
    "seed-negative": (["run", "mnist", "--seed", "-1"], ["seed", "-1", "random"]),
    "seed-large": (["run", "mnist", "--seed", str(2**40)], ["seed", str(2**40)]),
    "warm-start": (["run", "mnist", "--warm-start", "past,nowhere"], ["warm_start", "'nowhere'"]),
    "test": (["run", "mnist", "--test", "often"], ["test", "'often'", "never"]),
    "promote": (["run", "mnist", "--promote", "always"], ["promote", "'always'", "never"]),
    "name-traversal": (["run", "mnist", "--name", "../../out"], ["name", "'../../out'", "letters"]),
    "name-absolute": (["run", "mnist", "--name", "/tmp/out"], ["name", "'/tmp/out'", "letters"]),
    "name-newline": (["run", "mnist", "--name", "a\nb"], ["name", r"'a\nb'", "letters"]),
    "name-long": (["run", "mnist", "--name", "x" * 300], ["name", "at most 100"]),
    "name-empty": (["run", "mnist", "--name", ""], ["name", "''", "letters"]),
    "family": (["run", "mnist", "--family", "convnt"], ["family", "'convnt'", "'convnet'"]),
    "family-file": (["run", "mnist", "--family", "no.py"], ["family", "cannot be read", "no.py"]),
    "family-twice": (
        ["run", "mnist", "--family", "book,book"],
        ["family", "is given twice", "'book'"],
    ),
    "family-engine": (
        ["run", "mnist", "--engine", "autopytorch", "--family", "book"],
        ["family", "'book'"],
    ),
    "set-name": (
        ["run", "mnist", "--engine", "optuna", "--set", "multiply_ads=1e6"],
        ["set", "'multiply_ads'", "did you mean multiply_adds"],
    ),
    "set-range": (
        ["run", "mnist", "--engine", "optuna", "--set", "dropout=0.9"],
        ["set", "0.9", "0 to 0.2"],
    ),
    "option-unknown": (["run", "mnist", "--trails", "3"], ["--trails", "--trials"]),
}
NAMES = {
    "report-unknown": (["report", "nowhere"], ["run", "'nowhere'"]),
    "report-traversal": (["report", "../../etc"], ["run", "'../../etc'"]),
    "report-none": (["report"], ["report", "no run has finished", "automl run"]),
    "sync-unknown": (["sync", "nowhere"], ["run", "'nowhere'", "--home"]),
    "sync-traversal": (["sync", "../../etc"], ["name", "'../../etc'", "letters"]),
    "promote-dataset": (["promote", "mnits"], ["dataset", "'mnits'", "did you mean 'mnist'"]),
    "promote-traversal": (["promote", "../mnist"], ["dataset", "'../mnist'", "choose from"]),
    "promote-version": (["promote", "mnist", "seven"], ["'version'", "integer"]),
    "rollback-dataset": (["rollback", "nowhere"], ["dataset", "'nowhere'", "choose from"]),
    "space-engine": (["space", "hyperopt"], ["engine", "'hyperopt'", "choose from"]),
    "space-name": (["space", "optuna", "--space", "bok"], ["space", "'bok'", "'book'"]),
    "install": (["engines", "install", "autopytroch"], ["engine", "'autopytorch'"]),
    "command": (["rnu", "mnist"], ["rnu"]),
    "up-every-host": (["up", "--host", "0.0.0.0"], ["host", "'0.0.0.0'", "one IPv4 address"]),
    "up-open-host": (["up", "--host", "192.0.2.1"], ["host", "'192.0.2.1'", "ssh -L"]),
    "up-port": (["up", "--prefect-port", "70000"], ["'--prefect-port'", "65535"]),
    "model-unknown": (
        ["predict", "models:/automl-mnist@champion"], ["model", "is not registered", "automl run"],
    ),
    "model-traversal": (["predict", "models:/../../x@champion"], ["model", "models:/NAME@ALIAS"]),
    "model-file": (["predict", "file:///etc/passwd"], ["model", "'file:///etc/passwd'"]),
    "model-dataset": (["predict", "mnits"], ["model", "'mnits'", "did you mean 'mnist'"]),
}  # fmt: skip
PICTURES = {
    "png-absent": (None, "cannot be read"),
    "png-not": (b"GIF89a", "is no PNG"),
    "png-empty": (b"", "is no PNG"),
    "png-huge": (png(60_000, 60_000), "pixels at most"),
    "png-cut": (png(28, 28, bytes(29 * 28))[:50], "damaged"),
    "png-zip-bomb": (text_bomb(), "damaged"),
    "png-no-pixels": (png(28, 28), "damaged"),
    "png-zero": (png(0, 0), "damaged"),
}
DATA = {
    "idx-cut": (0, idx_header(SHAPES[0]) + bytes(1000), ["cut short", "1016"]),
    "idx-long": (1, labels(1) + b"more", ["too long", "60012"]),
    "idx-magic": (0, b"\x1f\x8b\x08\x00" + bytes(100), ["idx magic", "1f8b0800"]),
    "idx-empty": (0, b"", ["idx magic", "''"]),
    "idx-shape": (0, idx_header((7, 28, 28)) + bytes(7 * 784), ["shape", "(7, 28, 28)"]),
    "idx-huge": (0, idx_header((2**32 - 1,) * 3), ["shape", "4294967295"]),
    "label-range": (1, labels(10), ["label", "0…9", "10"]),
    "one-class": (1, labels(3), ["MD5"]),
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("AUTOML_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def listing(root):
    return sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob("*"))


def refused(arguments, monkeypatch, capsys, root):
    """What `automl` says; checks that it is one line, of ours or Typer's, and all is as it was."""
    before = listing(root)
    monkeypatch.setattr(sys, "argv", ["automl", *arguments])
    environment = dict(os.environ)
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        os.environ.clear()
        os.environ.update(environment)
    said = capsys.readouterr()
    assert ended.value.code == 2, said
    assert said.out == ""
    lines = said.err.strip().splitlines()
    if not lines[0].startswith("Usage:"):
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
    assert "Traceback" not in said.err
    assert listing(root) == before
    return lines[-1]


@pytest.mark.parametrize("case", [*RUN, *NAMES])
def test_arguments(case, home, tmp_path, monkeypatch, capsys):
    arguments, words = (RUN | NAMES)[case]
    if arguments[0] == "predict":
        arguments = [*arguments, picture(tmp_path, png(28, 28, bytes(29 * 28)))]
    line = refused([*arguments, "--home", str(home)], monkeypatch, capsys, tmp_path)
    for word in words:
        assert word in line
    assert not home.exists()


@pytest.mark.parametrize("case", PICTURES)
def test_pictures(case, tmp_path):
    """The reader that `predict` calls, which needs no registered model."""
    from pipeline_lib.data.decode import decode
    from pipeline_lib.errors import ImageError

    content, word = PICTURES[case]
    path = tmp_path / "absent.png" if content is None else Path(picture(tmp_path, content))
    with pytest.raises(ImageError) as caught:
        decode(path, (1, 28, 28))
    assert str(caught.value).startswith(f"{path}: ")
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["png-absent", "png-not", "png-huge"])
def test_pictures_at_the_door(case, home, tmp_path, monkeypatch, capsys):
    content, word = PICTURES[case]
    path = str(tmp_path / "absent.png") if content is None else picture(tmp_path, content)
    command = ["predict", "mnist", path, "--home", str(home)]
    line = refused(command, monkeypatch, capsys, tmp_path)
    assert path in line
    assert word in line


@pytest.mark.parametrize("case", DATA)
def test_files_of_a_data_set(case, mnist, test_home, home, tmp_path, monkeypatch, capsys):
    spoilt, content, words = DATA[case]
    directory = layout(tmp_path / "layout", test_home.data, spoilt, content)
    command = ["run", "mnist", "--data", directory, "--home", str(home)]
    line = refused(command, monkeypatch, capsys, tmp_path)
    for word in [MNIST[spoilt], "replace the file", *words]:
        assert word in line


@pytest.mark.parametrize("where", ["absent", "empty", "a-file"])
def test_directories_of_a_data_set(where, home, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a-file").write_text("")
    command = ["run", "mnist", "--data", str(tmp_path / where), "--home", str(home)]
    line = refused(command, monkeypatch, capsys, tmp_path)
    assert MNIST[0] in line
    assert "cannot be read" in line


def test_a_link_to_another_file_in_a_data_set(
    mnist, test_home, home, tmp_path, monkeypatch, capsys
):
    directory = Path(layout(tmp_path / "layout", test_home.data, 0, b""))
    (directory / MNIST[0]).unlink()
    (directory / MNIST[0]).symlink_to("/etc/passwd")
    command = ["run", "mnist", "--data", str(directory), "--home", str(home)]
    assert "idx magic" in refused(command, monkeypatch, capsys, tmp_path)


def test_homes_that_cannot_be(tmp_path, home, monkeypatch, capsys):
    (tmp_path / "a-file").write_text("")
    for place in ("a-file", "a-file/below"):
        command = ["run", "mnist", "--home", str(tmp_path / place)]
        line = refused(command, monkeypatch, capsys, tmp_path)
        for word in ("home", "is not a directory", str(tmp_path / "a-file"), "--home DIR"):
            assert word in line


def test_a_home_in_a_place_that_takes_no_files(home, tmp_path, monkeypatch, capsys):
    """/proc refuses new files even to root."""
    line = refused(["run", "mnist", "--home", "/proc/automl"], monkeypatch, capsys, tmp_path)
    assert "cannot be written" in line
    assert "'/proc/automl'" in line


@pytest.mark.parametrize("busy", ["--prefect-port", "--mlflow-port"])
def test_a_port_that_is_taken(busy, home, tmp_path, monkeypatch, capsys):
    port = a_taken_port()
    with socket.create_server(("127.0.0.1", 0)) as free:
        other = str(free.getsockname()[1])
    ports = {"--prefect-port": other, "--mlflow-port": other, busy: port}
    words = [word for flag_and_port in ports.items() for word in flag_and_port]
    line = refused(["up", *words, "--home", str(home)], monkeypatch, capsys, tmp_path)
    assert port in line
    assert f"choose another with {busy}" in line


def test_a_study_that_leads_out_of_the_home(home, tmp_path):
    from pipeline_lib.config import RunConfig
    from pipeline_lib.errors import ConfigurationError
    from pipeline_lib.home import Home
    from pipeline_lib.run.run import Run

    (tmp_path / "elsewhere").mkdir()
    (home / "studies").mkdir(parents=True)
    (home / "studies" / "first").symlink_to(tmp_path / "elsewhere")
    run = Run.begin(RunConfig(), Home(home), "first")
    with pytest.raises(ConfigurationError, match="leads elsewhere, got 'first'"), run.locked():
        raise AssertionError("not reached")
    assert list((tmp_path / "elsewhere").iterdir()) == []


PRESET_FILES = {
    "absent": (None, "No such file"),
    "no-yaml": ("deployments: [", "while parsing"),
    "empty": ("", "prefect.yaml"),
    "a-list": ("- mnist\n", "prefect.yaml"),
    "no-deployments": ("name: automl\n", "'deployments'"),
    "no-name": ("deployments:\n- parameters: {}\n", "'name'"),
    "no-parameters": ("deployments:\n- name: mnist\n", "'parameters'"),
    "parameters-text": ("deployments:\n- {name: mnist, parameters: soon}\n", "prefect.yaml"),
    "objects": ("deployments: !!python/object/apply:os.getcwd []\n", "could not determine"),
    "no-text": (b"\xff\xfe\x00", "prefect.yaml"),
    "unknown-field": (
        "deployments:\n- {name: mnist, parameters: {trails: 3}}\n", "did you mean 'trials'",
    ),
    "wrong-type": (
        "deployments:\n- {name: mnist, parameters: {budget_seconds: [1]}}\n", "budget_seconds",
    ),
    "bad-limit": (
        "deployments:\n- {name: mnist, parameters: {trial_memory: 1}}\n", "trial_memory",
    ),
    "bad-seconds": (
        "deployments:\n- {name: mnist, parameters: {trial_seconds: -1}}\n", "trial_seconds",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PRESET_FILES)
def test_the_file_of_presets(case, home, tmp_path, monkeypatch, capsys):
    content, word = PRESET_FILES[case]
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "prefect.yaml").write_bytes(data)
    monkeypatch.setattr(deployments, "PROJECT", tmp_path)
    line = refused(["run", "mnist", "--home", str(home)], monkeypatch, capsys, tmp_path)
    assert word in line


def test_the_installed_command_says_the_same(home, tmp_path):
    """As a process of its own: what a shell sees."""
    program = Path(sys.executable).with_name("automl")
    command = [program, "run", "mnits", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: DATA: is unknown, got 'mnits'")
    assert list(tmp_path.iterdir()) == []
