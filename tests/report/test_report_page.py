"""The report in a browser: what a person who opens the file gets."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE, Page

pytestmark = pytest.mark.slow

ROWS = "Array.from(document.querySelectorAll('#board tbody tr:not([hidden])'))"
HEADS = "Array.from(document.querySelectorAll('#board thead button'))"


def head(name: str) -> str:
    return f"{HEADS}.find(b => b.textContent === '{name}')"


def cells(column: int) -> str:
    return f"{ROWS}.map(r => r.cells[{column}].dataset.v)"


@pytest.fixture
def opened(page: Page, report_file: Path) -> Page:
    page.open(report_file.as_uri())
    page.wait_for("document.documentElement.dataset.charts")
    return page


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_opens_from_disk_alone_and_fits_the_window(
    page: Page, report_file: Path, size: tuple[int, int], dark: bool
) -> None:
    page.open(report_file.as_uri(), size, dark=dark)
    page.wait_for("document.documentElement.dataset.charts")
    page.screenshot(
        f"report-{'phone' if size == PHONE else 'desktop'}-{'dark' if dark else 'light'}"
    )

    asked_for = [address for address in page.requests if not address.startswith("data:")]
    assert asked_for == [report_file.as_uri()]
    assert page.problems == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    drawn = page.evaluate(
        "Array.from(document.querySelectorAll('[data-figure]'),"
        " p => p.querySelectorAll('.main-svg').length > 0)"
    )
    assert len(drawn) > 15
    assert all(drawn)


def test_nothing_overlaps_its_neighbour(opened: Page) -> None:
    wider = """Array.from(document.querySelectorAll('h1, h2, h3, h4, p, dd, figcaption'))
        .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"""
    assert opened.evaluate(wider) == []


def test_columns_sort_by_mouse_and_by_keyboard(opened: Page) -> None:
    assert opened.evaluate(cells(0)) == [str(rank) for rank in range(1, 26)]

    opened.evaluate(head("parameters") + ".click()")
    rising = [float(value) for value in opened.evaluate(cells(6))]
    assert rising == sorted(rising)

    opened.evaluate(head("parameters") + ".focus()")
    opened.press("Enter")
    falling = [float(value) for value in opened.evaluate(cells(6))]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > rising[-1]
    sort = "document.querySelector('#board th:nth-child(7)').getAttribute('aria-sort')"
    assert opened.evaluate(sort) == "descending"


def test_trials_without_a_value_stay_last_whichever_way_it_sorts(opened: Page) -> None:
    opened.evaluate("document.getElementById('show-all').click()")
    for _ in range(2):
        opened.evaluate(head("validation") + ".click()")
        values = opened.evaluate(cells(2))
        measured = [value for value in values if value]
        assert len(measured) < len(values)
        assert values == measured + [""] * (len(values) - len(measured))


def test_filters_narrow_the_leaderboard(opened: Page) -> None:
    opened.evaluate("document.getElementById('show-all').click()")
    assert len(opened.evaluate(cells(0))) == 501

    opened.evaluate(
        "for (const [id, value] of [['filter-state', 'failed'], ['filter-text', 'diverged adamw']])"
        " document.getElementById(id).value = value;"
        "document.getElementById('filters').dispatchEvent(new Event('input'))"
    )
    shown = opened.evaluate(f"{ROWS}.map(r => r.textContent)")
    assert 0 < len(shown) < 20
    assert all("diverged" in row and "adamw" in row for row in shown)
    assert opened.evaluate("document.getElementById('shown').textContent").startswith(
        f"{len(shown)} of 501 trials"
    )


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_leaderboard_does_not_scroll_sideways(
    page: Page, report_file: Path, size: tuple[int, int]
) -> None:
    page.open(report_file.as_uri(), size)
    overflow = "(e => e.scrollWidth - e.clientWidth)(document.getElementById('board').parentNode)"
    assert page.evaluate(overflow) <= 0
    cut = f"""{ROWS}.flatMap(r => Array.from(r.cells))
        .filter(c => c.scrollWidth > c.clientWidth + 1).map(c => c.textContent)"""
    assert page.evaluate(cut) == []


def test_the_width_of_the_window_is_used(opened: Page) -> None:
    used = "document.querySelector('main').getBoundingClientRect().width"
    assert opened.evaluate(used) > 0.95 * DESKTOP[0]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_label_of_an_axis_touches_its_neighbour(
    page: Page, report_file: Path, size: tuple[int, int]
) -> None:
    page.open(report_file.as_uri(), size)
    page.wait_for("document.documentElement.dataset.charts")
    touching = """Array.from(document.querySelectorAll('[data-figure]')).filter(plot =>
        !plot.dataset.figure.startsWith('parallel')).flatMap(plot => {
            const boxes = Array.from(plot.querySelectorAll('.xtick text'),
                text => text.getBoundingClientRect()).sort((a, b) => a.left - b.left);
            return boxes.slice(1).filter((box, at) => box.left < boxes[at].right)
                .map(() => plot.dataset.figure);
        })"""
    assert page.evaluate(touching) == []


def test_the_diagram_is_dark_in_the_dark(page: Page, report_file: Path) -> None:
    box = "getComputedStyle(document.querySelector('.diagram svg polygon')).fill"
    text = "getComputedStyle(document.querySelector('.diagram svg text')).fill"
    page.open(report_file.as_uri(), dark=False)
    light = page.evaluate(box), page.evaluate(text)
    page.show_as(DESKTOP, dark=True)
    page.wait_for(f"{text} !== '{light[1]}'")
    assert page.evaluate(box) != light[0]
    assert contrast(hexadecimal(page.evaluate(text)), "#14171b") >= 4.5


def test_the_diagram_zooms(opened: Page) -> None:
    width = "document.querySelector('.diagram svg').getBoundingClientRect().width"
    before = opened.evaluate(width)
    opened.evaluate("document.querySelector('[data-zoom=\"1.25\"]').click()")
    assert opened.evaluate(width) == pytest.approx(1.25 * before, rel=0.02)


def test_text_stands_out_from_its_ground_in_both_schemes(page: Page, report_file: Path) -> None:
    colours = """['ink', 'muted', 'accent', 'paper', 'raised'].map(
        n => getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim())"""
    for dark in (False, True):
        page.open(report_file.as_uri(), dark=dark)
        *texts, paper, raised = page.evaluate(colours)
        for text in texts:
            for ground in (paper, raised):
                assert contrast(text, ground) >= 4.5, (text, ground)  # WCAG 2.2, AA


def test_charts_take_the_colours_of_the_scheme_and_of_paper(page: Page, report_file: Path) -> None:
    ink = "document.querySelector('[data-figure=time] .xtick text').style.fill"
    page.open(report_file.as_uri(), dark=False)
    page.wait_for("document.documentElement.dataset.charts")
    light = page.evaluate(ink)
    page.show_as(DESKTOP, dark=True)
    page.wait_for(f"{ink} !== '{light}'")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(ink) == light
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(ink) != light


def test_headings_and_names_are_in_order(opened: Page) -> None:
    levels = opened.evaluate(
        "Array.from(document.querySelectorAll('h1,h2,h3,h4,h5'), h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    nameless = """Array.from(document.querySelectorAll(
        '[role=img], [role=region], [role=group], input, select, button, img'))
        .filter(e => !(e.ariaLabel || e.alt || e.labels?.length || e.textContent.trim()))
        .map(e => e.outerHTML.slice(0, 80))"""
    assert opened.evaluate(nameless) == []
    anchors = """Array.from(document.querySelectorAll('a[href^="#"]'))
        .filter(a => !document.querySelector(a.getAttribute('href'))).map(a => a.hash)"""
    assert opened.evaluate(anchors) == []


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours written #rgb or #rrggbb, as WCAG defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def hexadecimal(colour: str) -> str:
    """#rrggbb of what a browser computes: rgb(229, 232, 236)."""
    return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", colour)[:3])


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    pairs = [a + a for a in digits] if len(digits) == 3 else [digits[i : i + 2] for i in (0, 2, 4)]
    channels = [int(pair, 16) / 255 for pair in pairs]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
