"""How numbers and paths are written for people, everywhere the same."""

from __future__ import annotations

import re
from pathlib import Path


def percent(share: float, digits: int | None = None) -> str:
    """99.5% of 0.995; as many digits as it needs, two at most."""
    if digits is not None:
        return f"{100 * share:.{digits}f}%"
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def short(value: object) -> str:
    """A hyperparameter's value: at most four significant digits."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return str(value)


def rounded(value: float) -> str:
    """Two or three significant digits, for axes: 0.0031, 140, 1.3M."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def p_value(p: float) -> str:
    """`p = 0.031`, or `p < 0.0001`: never a zero."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def shorten_home(text: str) -> str:
    """The text with the user's home directory written `~`."""
    try:
        home = str(Path.home())
    except RuntimeError:  # no HOME, and a user whom the system does not know
        return text
    if len(home) <= 1:
        return text
    return re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
