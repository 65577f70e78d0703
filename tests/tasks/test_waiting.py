"""What is waited for is said when it begins."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from tasks import waiting
from tasks.stage import stage


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="automl")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_stage_is_said_before_it_does_anything(lines):
    seen = []
    task = stage("bake a cake")(lambda flour: seen.append((flour, lines())))
    task.fn(flour=3)
    assert seen == [(3, ["bake a cake …"])]


def test_a_stage_that_shows_itself_is_not_said(lines):
    stage("search", shown=False)(lambda: None).fn()
    assert lines() == []


def test_a_terminal_shows_a_clock_instead_of_lines(lines, monkeypatch):
    file = io.StringIO()
    terminal = Console(file=file, force_terminal=True, no_color=True, width=80)
    monkeypatch.setattr(waiting, "CONSOLE", terminal)
    with waiting.waiting_for("bake a cake"):
        pass
    assert "bake a cake … 0:00:00" in file.getvalue()
    assert lines() == []
