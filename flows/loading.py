"""What a command loads is said on stderr, where that takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from types import ModuleType

_SLOW = {"mlflow": "MLflow", "optuna_dashboard": "optuna-dashboard", "torch": "torch"}


@contextmanager
def announcing_imports() -> Iterator[None]:
    """Write a line when a package that takes seconds begins to load."""
    finder = _Announcer()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def stay_silent() -> None:
    """Write no such lines: the run says itself what is waited for."""
    for finder in sys.meta_path:
        if isinstance(finder, _Announcer):
            finder.is_silent = True


class _Announcer(MetaPathFinder):
    """Finds nothing: it is asked for every module before those that do."""

    is_silent = False

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if name in _SLOW and not self.is_silent:
            print(f"loading {_SLOW[name]} …", file=sys.stderr, flush=True)
