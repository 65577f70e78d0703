"""`automl` on the first images of MNIST: a run of seconds.

All else is as a user has it; what the harness kills is this process and what it starts.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def main() -> None:
    """Run the command line that follows."""
    from small_mnist import small_dataset

    from pipeline_lib.data.sources import catalogue

    catalogue.CATALOGUE = {**catalogue.CATALOGUE, "mnist": small_dataset()}
    from flows import cli

    cli.main()


if __name__ == "__main__":
    main()
