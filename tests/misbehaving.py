"""Values of a configuration that misbehave in the worker that trains it.

Each is a text that a training asks for with `str()`. They cross to the worker by name, as values of
this module; storage takes them for the plain texts that they are.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from pipeline_lib.data.problem import Problem
from pipeline_lib.families.family import Family
from pipeline_lib.trial import Configuration


class Segfault(str):
    def __str__(self):
        os.kill(os.getpid(), signal.SIGSEGV)
        return "unreachable"


class Exit(str):
    def __str__(self):
        os._exit(7)
        return "unreachable"


class Forever(str):
    def __str__(self):
        while os.getpid():
            time.sleep(0.01)
        return "unreachable"


class NumpyHoard(str):
    def __str__(self):
        import numpy as np

        return str(np.ones(50 * 2**27).sum())  # 50 GiB


class TorchHoard(str):
    def __str__(self):
        import torch

        return str(torch.ones(50 * 2**30, dtype=torch.uint8).sum())


class SlowHoard(str):
    def __str__(self):
        return str(sum(len(piece) for piece in [bytearray(2**25) for _ in range(1600)]))


class UnpicklableError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")

    def __reduce__(self):
        raise TypeError("cannot be pickled")


class Unpicklable(str):
    def __str__(self):
        raise UnpicklableError("this", "that")


class Mute(str):
    def __str__(self):
        raise KeyError


def exit_silently(*_arguments: object) -> None:
    """What a process does that was killed before it could say anything."""
    os._exit(7)


@dataclass(frozen=True)
class FirstMisbehaves(Family):
    """The default family, whose first trial has a configuration that does harm in its worker."""

    sound: dict[str, Any] = field(default_factory=dict, compare=False)
    changes: dict[str, Any] = field(default_factory=dict, compare=False)

    def priors(self, problem: Problem, budget: float) -> list[dict[str, Any]]:
        return [{"bad": True}, {"bad": False}]

    def space(self, trial: Any, problem: Problem, budget: float) -> Configuration:
        bad = trial.suggest_categorical("bad", [False, True])
        return self.sound | (self.changes if bad else {})
