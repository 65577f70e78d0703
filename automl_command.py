"""The command `automl`, before anything else is imported.

Its name is unlike any other, and it needs no module that could be somebody else's: what stands on
PYTHONPATH, a `token.py` or a folder `flows`, must hide neither the standard library nor our own.
"""

import os
import sys


def _prefer_our_modules() -> None:
    """Look for modules on PYTHONPATH last; first in our folder, where it is a checkout."""
    ours = os.path.dirname(os.path.abspath(__file__))
    named = os.environ.get("PYTHONPATH")
    theirs = {os.path.abspath(entry) for entry in named.split(os.pathsep)} if named else set()
    first = [] if os.path.basename(ours).endswith("-packages") else [ours]
    others = [entry for entry in sys.path if entry not in (*theirs, *first, "")]
    last = [entry for entry in sys.path if entry in theirs and entry not in first]
    sys.path[:] = first + others + last


def main() -> None:
    """Run the command."""
    _prefer_our_modules()
    from flows.cli import main as run

    run()
