from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_lib.data.splits import Split
from pipeline_lib.search.engine import SearchRequest

sys.path.append(str(Path(__file__).parent))  # for contract.py
pytest.register_assert_rewrite("contract")


@pytest.fixture
def make_request(tiny_data: Split, tmp_path: Path) -> Callable[..., SearchRequest]:
    """Makes requests for the study in `tmp_path`; `seconds` from now, `trials` at most."""

    def make(
        seconds: float = 300, trials: int | None = 4, space: str = "default", seed: int = 0
    ) -> SearchRequest:
        return SearchRequest(
            study="tiny",
            split=tiny_data,
            space=space,
            deadline=time.monotonic() + seconds,
            budget_seconds=seconds,
            trials=trials,
            workers=2,
            seed=seed,
            directory=tmp_path / "study",
        )

    return make
