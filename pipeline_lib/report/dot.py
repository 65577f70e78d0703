"""Graphviz's dot: found, asked for pictures, and its SVG made fit for any browser and for paper."""

from __future__ import annotations

import html
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pipeline_lib.errors import UserError

FONT = "Helvetica"  # dot and PDF readers know its widths; a browser is told them
_PORTED_DOT = "graphviz-pure"  # dot as a wheel
_TRY_SECONDS, _DRAW_SECONDS = 10.0, 120.0
_TEXT = re.compile(r'(<text\b[^>]* font-size="([\d.]+)"[^>]*)>([^<]*)<')


def find_dot() -> Path:
    """The system's `dot`, else the port that was installed with this package: one that draws.

    Each is tried with a graph of one node, which takes milliseconds.

    Raises:
        UserError: There is neither, or none that draws.
    """
    beside_python = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = (shutil.which("dot"), shutil.which(_PORTED_DOT, path=beside_python))
    problems = [f"neither dot nor {_PORTED_DOT} was found"]
    for dot in map(Path, filter(None, found)):
        try:
            if b"<svg" in render(dot, "digraph {a}", "-Tsvg", seconds=_TRY_SECONDS):
                return dot
            problems.append(f"what {dot} -Tsvg writes is no SVG")
        except UserError as error:
            problems.append(error.problem)
    remedy = f"install Graphviz, or the Python package {_PORTED_DOT}"
    raise UserError("drawing", problems[-1], remedy=remedy)


def render(dot: Path, source: str, *options: str, seconds: float = _DRAW_SECONDS) -> bytes:
    """What dot makes of *source* with *options*.

    Raises:
        UserError: It cannot be started, it refused, or it takes longer than so many seconds.
    """
    command, given = [str(dot), *options], source.encode()
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        problem = f"{dot} {options[0]} was ended after {seconds:.0f} seconds"
        raise UserError("drawing", problem) from error
    except OSError as error:
        raise UserError("drawing", f"{dot} cannot be started ({error.strerror})") from error
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise UserError("drawing", f"{dot} {options[0]} failed: {said}")
    return done.stdout


def svg_of(dot: Path, source: str) -> bytes:
    """An SVG without dot's comments, each text as wide as in Helvetica whatever font shows it.

    Raises:
        UserError: dot refused.
    """
    svg = render(dot, source, "-Tsvg")
    return _with_widths(re.sub(rb"<!--.*?-->\n?", b"", svg, flags=re.DOTALL))


def _with_widths(svg: bytes) -> bytes:
    """A browser without Helvetica may take a font that is wider, and then run over the boxes."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    def measured(text: re.Match[str]) -> str:
        opening, size, line = text.groups()
        width = stringWidth(html.unescape(line), FONT, float(size))
        return f'{opening} textLength="{width:.2f}" lengthAdjust="spacingAndGlyphs">{line}<'

    return _TEXT.sub(measured, svg.decode()).encode()


def pdf_from_svg(svg: bytes) -> bytes:
    """The port of dot writes no PDF, and dot writes one that names the second it was made."""
    from reportlab.graphics import renderPDF
    from svglib.svglib import svg2rlg

    page = io.BytesIO()
    renderPDF.drawToFile(svg2rlg(io.BytesIO(svg)), page, invariant=1)
    return page.getvalue()
