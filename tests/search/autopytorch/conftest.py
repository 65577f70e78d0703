from __future__ import annotations

import pytest

from pipeline_lib.home import Home
from pipeline_lib.search.autopytorch import environment


@pytest.fixture(scope="session")
def engine_home(test_home: Home) -> Home:
    """The home that outlives the test run, where Auto-PyTorch's environment stands."""
    lacking = None if environment.is_ready(test_home) else environment.missing()
    if lacking:
        pytest.skip(f"Auto-PyTorch cannot be built here without {lacking}")
    environment.ensure(test_home, print)
    return test_home
