"""Values of a configuration that misbehave in the worker that trains it.

Each is a text that a training asks for with `str()`. They cross to the worker by name, as values of
this module; storage takes them for the plain texts that they are.
"""

from __future__ import annotations

import os
import signal
import time


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
