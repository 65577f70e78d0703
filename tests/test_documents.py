"""What documents and comments refer to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md"))
)
DECISIONS = {int(path.name[:4]) for path in (ROOT / "docs" / "decisions").glob("0*.md")}
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")
_CITED = re.compile(r"decisions? (\d+)(?: and (\d+))?")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_within_the_repository_leads_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    missing = [
        link for link in _LINK.findall(text) if not (ROOT / document).parent.joinpath(link).exists()
    ]
    assert not missing


def test_every_decision_that_is_cited_is_there():
    sources = [
        path
        for folder in ("pipeline_lib", "tasks", "flows", "tests", "benchmarks", "docs")
        for suffix in ("py", "md")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    cited = {int(number) for pair in _CITED.findall(text) for number in pair if number}
    assert {7, 12} <= cited
    assert cited <= DECISIONS
    assert {*range(1, max(DECISIONS) + 1)} == DECISIONS
