"""The short form of `make chaos`: a few kills of real runs, and nothing is lost."""

from __future__ import annotations

import pytest
from harness import Broken, Chaos

from pipeline_lib.home import Home

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]


@pytest.fixture
def chaos(mnist, test_home, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.data.symlink_to(test_home.data)
    chaos = Chaos(home, seed=7)
    yield chaos
    chaos._end_all()


def test_kills_at_random_moments_lose_nothing(chaos):
    for _ in range(3):
        chaos.round()
    chaos.finish()
    assert chaos.known


def test_the_harness_sees_a_lost_trial(chaos):
    """A storage that forgets its trials, as one would that is not written at once, is found out."""
    chaos.finish()
    (chaos.home.study("chaos") / "optuna" / "study.journal").unlink()
    with pytest.raises(Broken, match="changed or is gone"):
        chaos._check()
