"""What is waited for is said when it begins."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from pipeline_lib.run.stages import Stage
from tasks import waiting
from tasks.stage import as_task


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="automl")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_stage_is_said_before_it_does_anything(lines):
    seen = []
    as_task(Stage("bake a cake", lambda work: seen.append((work, lines())))).fn("flour")
    assert seen == [("flour", ["bake a cake …"])]


def test_a_terminal_shows_a_clock_instead_of_lines(lines, monkeypatch):
    file = io.StringIO()
    terminal = Console(file=file, force_terminal=True, no_color=True, width=80)
    monkeypatch.setattr(waiting, "CONSOLE", terminal)
    with waiting.waiting_for("bake a cake"):
        pass
    assert "bake a cake … 0:00:00" in file.getvalue()
    assert lines() == []
