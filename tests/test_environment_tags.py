"""What a run says of code, packages and machine; asking costs a tag at worst, never the run."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_lib.formats import shorten_home
from pipeline_lib.tracking import environment, environment_tags

ROOT = Path(__file__).parents[1]
needs_checkout = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")


def test_environment_tags_say_how_to_get_the_run_again() -> None:
    tags = environment_tags(7)
    assert tags["seed"] == "7"
    assert tags["env.python"] == sys.version.split()[0]
    assert {"env.torch", "env.optuna", "env.mlflow", "env.cpu"} <= tags.keys()
    assert all(tags.values())
    if (ROOT / ".git").exists():
        assert len(tags["mlflow.source.git.commit"]) == 40
        assert tags["code.changed"] in {"true", "false"}


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """Git is asked once a process; here once more, and once more after the test."""
    environment._commit.cache_clear()
    yield
    environment._commit.cache_clear()


@needs_checkout
def test_the_commit_is_of_this_code_wherever_variables_lead_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_anew: None
) -> None:
    other = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*other, "init", "-q"], check=True)
    subprocess.run([*other, "commit", "-q", "--allow-empty", "-m", "other"], check=True)
    ours = subprocess.check_output(["git", "-C", str(ROOT), "rev-parse", "HEAD"], text=True).strip()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert environment_tags(0)["mlflow.source.git.commit"] == ours


@needs_checkout
@pytest.mark.parametrize("program", ["#!/bin/sh\nexec sleep 60\n", "not a program"])
def test_a_git_that_does_not_answer_costs_a_tag(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_anew: None
) -> None:
    git = tmp_path / "git"
    git.write_text(program, encoding="utf-8")
    git.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(environment, "_GIT_SECONDS", 0.2)
    tags = environment_tags(0)
    assert "env.torch" in tags
    assert "mlflow.source.git.commit" not in tags


def test_home_directories_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shorten_home(f"no file {Path.home()}/secret/x.png") == "no file ~/secret/x.png"
    monkeypatch.setenv("HOME", "/u/me")
    assert shorten_home("/u/me/x, /u/menace and '/u/me'") == "~/x, /u/menace and '~'"


def test_a_user_without_a_home_has_nothing_to_hide(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert shorten_home("no file /secret/x.png") == "no file /secret/x.png"


@pytest.mark.slow
def test_a_user_without_a_home_can_use_every_command(tmp_path: Path) -> None:
    """As in a container that runs as a user whom its image does not know."""
    code = """
import os, pwd, sys
def unknown(uid): raise KeyError(uid)
pwd.getpwuid = unknown
del os.environ["HOME"]
from flows import cli
sys.argv = ["automl", "doctor"]
try:
    cli.main()
finally:
    import prefect.settings
"""
    settings = {**os.environ, "AUTOML_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
