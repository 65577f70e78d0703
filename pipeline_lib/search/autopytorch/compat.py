"""What Auto-PyTorch 0.2.1 needs bridged to run on a current torch. Only its environment uses this.

Left out of that environment, and stood in for by empty modules: `catboost` (100 MB; only the
traditional learners, which are not searched here, call it) and `imgaug` (does not run on current
numpy; only the image augmenters call it).
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import types
from typing import Any

_STAND_INS = ("catboost", "imgaug", "imgaug.augmenters", "imgaug.augmenters.meta")
_PR_SET_PDEATHSIG = 1


def prepare() -> None:
    """Make `import autoPyTorch` work; call it before the first import."""
    if "autoPyTorch" in sys.modules:
        return
    for name in _STAND_INS:
        _stand_in(name)
    import torch

    # Schedulers derive from LRScheduler since torch 2.0; Auto-PyTorch asks for the old base.
    schedulers = torch.optim.lr_scheduler
    vars(schedulers)["_LRScheduler"] = schedulers.LRScheduler
    _log_without_a_server()


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    starter = multiprocessing.parent_process()
    if starter is not None and not starter.is_alive():  # it died before this call
        os._exit(1)


def _stand_in(name: str) -> None:
    module = _StandIn(name)
    module.__path__ = []
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


class _StandIn(types.ModuleType):
    """A module in which every public name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _log_without_a_server() -> None:
    """Log through `logging`: Auto-PyTorch would send each line to a server process of its own."""
    import autoPyTorch.automl_common.common.utils.logging_ as shared
    import autoPyTorch.utils.logging_ as own

    def get_named_client_logger(
        name: str, host: str = "localhost", port: int = 0
    ) -> logging.Logger:
        return logging.getLogger(f"autoPyTorch.{name}")

    for module in (own, shared):
        module.get_named_client_logger = get_named_client_logger
