from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, browser
from synthetic import report_data

from pipeline_lib.report import build_report


@pytest.fixture(scope="session")
def html() -> str:
    """The report of 500 trials."""
    return build_report(report_data())


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture(scope="session")
def report_file(html: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html)
    return path
