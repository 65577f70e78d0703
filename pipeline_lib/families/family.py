"""A family: one kind of network, described by one Python module.

Built-in modules stand beside this file; a user's own is named by its path. Both have this form:

    space(trial, problem, budget)       suggests a configuration, JSON values by name; runs without
                                        torch in a built-in module
    build(configuration, problem)       the network, float32 (B, C, H, W) to logits (B, classes);
                                        without `space`: build(trial, problem), which suggests
                                        hyperparameters as it builds (define-by-run)

and, where they are there:

    priors(problem, budget)             parameters to try first, each a mapping
    VARIANTS = "name"                   a boolean hyperparameter; finalists are trained with both
                                        of its values, since such networks make other errors
    PASSES = (1, 2)                     rungs in passes over the training part, the search's own
                                        otherwise; then there are no final trainings
    FIRST_RUNG = 10_000                 samples that the first rung needs, where that is known
    RAW_PIXELS = True                   the network takes raw pixels, 0…255; otherwise a first layer
                                        normalises them, fitted on training images
    architecture(configuration, problem)    JSON of a kind that `names.KINDS` builds again, so that
                                        a stored model does not depend on this module
    transform(images, configuration, generator)    raw images to augmented ones, float32, 0…255
    mix(images, targets, configuration, generator)    both, blended; targets are one-hot
    optimizer(model, configuration)     otherwise `training.optimizers.make_optimizer`
    schedule(progress)                  share of the peak learning rate at a progress in [0, 1],
                                        one cycle otherwise; None: a constant rate. Then a rung has
                                        no end of its own, and the next continues it
    loss(logits, targets, configuration)    cross entropy otherwise

What a training needs and the module leaves out is suggested too: `batch_size`, and `lr` and
`weight_decay` of AdamW.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from pipeline_lib import names
from pipeline_lib.data.problem import Problem
from pipeline_lib.errors import FamilyError
from pipeline_lib.families.suggestions import Suggestions, from_configuration, from_trial
from pipeline_lib.files import write_whole
from pipeline_lib.home import Home
from pipeline_lib.options import unpinned
from pipeline_lib.own_code import OwnFile
from pipeline_lib.training.recipe import Mix
from pipeline_lib.training.schedule import one_cycle
from pipeline_lib.trial import Configuration

if TYPE_CHECKING:  # the process that searches has no torch
    import torch
    from optuna.trial import BaseTrial
    from torch import Tensor, nn

DECAYING = ("adamw", "sgd")
"""Optimisers that take a weight decay."""
_kept: dict[str, Path] = {}  # copies that runs of this process made, by digest
_BATCH_SIZES = (32, 64, 128)
_LR, _WEIGHT_DECAY = (1e-4, 3e-2), (1e-4, 1e-1)


@dataclass(frozen=True)
class Family:
    """A family by name, small enough to be sent to other processes; its module is loaded there."""

    name: str  # of `names.FAMILIES`, or of the file
    file: Path | None = None
    sha256: str = ""  # of the file

    @classmethod
    def find(cls, text: str, home: Home | None = None) -> Family:
        """The family that a configuration names: built in, or the path of a file.

        Behind `#` a path may have the digest of what the file held when a run began: then the
        copy that the home has of that is taken, where it has one.

        Raises:
            FamilyError: The file cannot be read.
        """
        if text in names.FAMILIES:
            return cls(text)
        path, pinned = unpinned(text)
        file = Path(path)
        if pinned:
            copy = home.family(pinned) if home else file
            return cls(file.name, copy if copy.is_file() else file, pinned)
        try:
            return cls(file.name, file, hashlib.sha256(file.read_bytes()).hexdigest())
        except OSError as error:
            remedy = "name a Python file, or one of " + ", ".join(names.FAMILIES)
            problem = f"cannot be read ({error.strerror})"
            raise FamilyError("family", problem, value=text, remedy=remedy) from error

    def kept(self, home: Home) -> Family:
        """The same family, its file copied into the home: models of it are loaded from there."""
        if self._own is None:
            return self
        copy = home.family(self.sha256)
        if copy != self.file:
            write_whole(copy, self._own.source())
        _kept[self.sha256] = copy
        return replace(self, file=copy)

    def as_json(self) -> dict[str, str]:
        """Name, and of a user's file digest and source, as the study holds them.

        Raises:
            ConfigurationError: The file is gone or was changed.
        """
        if self._own is None:
            return {"name": self.name}
        return {"name": self.name, "sha256": self.sha256, "source": self._own.source().decode()}

    @property
    def _own(self) -> OwnFile | None:
        return None if self.file is None else OwnFile(self.file, self.sha256, self.name)

    @property
    def module(self) -> ModuleType:
        """The module, loaded once a process."""
        if self._own is not None:
            return self._own.module()
        built_in: ModuleType = names.load(names.FAMILIES[self.name])
        return built_in

    def _hook(self, name: str, default: Any = None) -> Any:
        return getattr(self.module, name, default)

    @property
    def variants(self) -> str:
        """Name of a boolean hyperparameter whose both values finalists are trained with, or ""."""
        return str(self._hook("VARIANTS", ""))

    @property
    def first_rung(self) -> int:
        """Samples that the first rung needs at least, where that is known; else 0."""
        return int(self._hook("FIRST_RUNG", 0))

    @property
    def passes(self) -> tuple[int, ...]:
        """Rungs in passes over the training part; none leaves them to the search."""
        return tuple(self._hook("PASSES", ()))

    def priors(self, problem: Problem, budget: float) -> list[dict[str, Any]]:
        """Parameters to try first; the budget is in seconds."""
        ask = self._hook("priors", lambda *_: [])
        return [dict(parameters) for parameters in ask(problem, budget)]

    def space(
        self, trial: BaseTrial | Suggestions, problem: Problem, budget: float
    ) -> Configuration:
        """The configuration that a trial's suggestions make; the budget is in seconds."""
        space, suggesting = self._hook("space"), Suggestions(from_trial(trial))
        if space is not None:
            chosen = space(suggesting, problem, budget)
            if not isinstance(chosen, Mapping):
                where, returned = self.place_of("space"), type(chosen).__name__
                raise FamilyError(where, "space returned no mapping", value=returned)
        else:
            import torch

            with torch.device("meta"):
                self.module.build(suggesting, problem)
            chosen = suggesting.params
        return {**chosen, **self._left_out(suggesting, dict(chosen))}

    def _left_out(self, trial: Suggestions, chosen: dict[str, Any]) -> dict[str, Any]:
        """What a training needs beside what the family chose."""
        more: dict[str, Any] = {}
        if "batch_size" not in chosen:
            more["batch_size"] = trial.suggest_categorical("batch_size", _BATCH_SIZES)
        if self._hook("optimizer") is not None:
            return more
        if "optimizer" not in chosen:
            more["optimizer"] = "adamw"
        if "lr" not in chosen:
            more["lr"] = trial.suggest_float("lr", *_LR, log=True)
        if (chosen | more)["optimizer"] in DECAYING and "weight_decay" not in chosen:
            more["weight_decay"] = trial.suggest_float("weight_decay", *_WEIGHT_DECAY, log=True)
        return more

    def build(self, configuration: Configuration, problem: Problem) -> nn.Module:
        """A fresh network: raw images (B, C, H, W), 0…255, to logits (B, classes).

        Raises:
            FamilyError: What was built is no network.
        """
        from torch import nn

        from pipeline_lib.models.inputs import normalised, with_shapes

        suggested = Suggestions(from_configuration(configuration))
        network = self.module.build(configuration if self._hook("space") else suggested, problem)
        if not isinstance(network, nn.Module):
            returned = type(network).__name__
            what = "build returned no torch.nn.Module"
            raise FamilyError(self.place_of("build"), what, value=returned)
        whole = network if self._hook("RAW_PIXELS", False) else normalised(network, problem.inputs)
        return with_shapes(whole, problem.inputs)

    def architecture(self, configuration: Configuration, problem: Problem) -> dict[str, Any]:
        """JSON of which `pipeline_lib.models` builds the same network."""
        own = self._hook("architecture")
        if own is not None:
            return dict(own(configuration, problem))
        return {
            "kind": "family",
            "family": self.name,
            "sha256": self.sha256,
            "shape": list(problem.inputs.shape),
            "classes": len(problem.target),
            "configuration": dict(configuration),
            "problem": problem.as_json(),
        }

    def check_form(self) -> None:
        """Whether the module has what a family must have.

        Raises:
            FamilyError: It has no `build`, or functions of other parameters.
        """
        from pipeline_lib.families.trying import check_form

        check_form(self)

    def try_out(self, configuration: Configuration, problem: Problem) -> None:
        """Let a network of a user's file answer and learn from two made-up examples.

        Raises:
            FamilyError: It cannot; other errors are the file's own.
        """
        if self.file is None:
            return  # the project's tests do, and the process that searches has no torch
        from pipeline_lib.families.trying import try_out

        try_out(self, configuration, problem)

    def transform(
        self, images: Tensor, configuration: Configuration, generator: torch.Generator
    ) -> Tensor:
        """Raw images (B, C, H, W) of a training batch, augmented: float32 (B, C, H, W), 0…255."""
        transform = self._hook("transform", lambda images, *_: images)
        return cast("Tensor", transform(images, configuration, generator).float())

    @property
    def mix(self) -> Mix | None:
        """The hook of this name; None where examples are not blended."""
        return cast("Mix | None", self._hook("mix"))

    def optimizer(self, model: nn.Module, configuration: Configuration) -> torch.optim.Optimizer:
        """The optimiser of a network, at its peak learning rate."""
        from pipeline_lib.training.optimizers import make_optimizer

        make = self._hook("optimizer", make_optimizer)
        return cast("torch.optim.Optimizer", make(model, configuration))

    @property
    def schedule(self) -> Callable[[float], float] | None:
        """Share of the peak learning rate at a progress in [0, 1]; None for a constant rate."""
        return cast("Callable[[float], float] | None", self._hook("schedule", one_cycle))

    def loss(self, logits: Tensor, targets: Tensor, configuration: Configuration) -> Tensor:
        """The mean loss of logits (B, classes) under targets (B,) or (B, classes); see `mix`."""
        from torch.nn import functional as F

        loss = self._hook("loss", lambda logits, targets, _: F.cross_entropy(logits, targets))
        return cast("Tensor", loss(logits, targets, configuration))

    def place_of(self, function: str) -> str:
        """Where the file defines a function, `mine.py:12`; its name alone where that is unknown."""
        code = getattr(getattr(self.module, function, None), "__code__", None)
        return f"{self.name}:{code.co_firstlineno}" if code else self.name

    def place(self, error: BaseException) -> str:
        """The line of the family's file in which an error began, `mine.py:12`, or ""."""
        line = self._own.line(error) if self._own else None
        return f"{self.name}:{line}" if line else ""


def copy_of(sha256: str) -> Path:
    """Where the copy of a user's file is: in the home of a run of this process, or in the usual."""
    return _kept.get(sha256) or Home.from_environment().family(sha256)


def named(name: str, families: Sequence[Family]) -> Family:
    """The family of a trial: one of these, or else a built-in one."""
    return next((family for family in families if family.name == name), Family(name))
