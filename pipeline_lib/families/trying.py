"""A user's family tried on two made-up examples, before anything is searched."""

from __future__ import annotations

import inspect

import torch

from pipeline_lib.data.problem import Problem
from pipeline_lib.errors import FamilyError
from pipeline_lib.families.family import Family
from pipeline_lib.trial import Configuration


def check_form(family: Family) -> None:
    """Whether the module has what a family must have.

    Raises:
        FamilyError: It has no `build`, or one of other parameters.
    """
    module = family.module
    for name, needed, parameters in (("build", True, 2), ("space", False, 3)):
        function = getattr(module, name, None)
        if function is None and not needed:
            continue
        if not callable(function):
            remedy = "write build(trial, problem), or space(trial, problem, budget) and build"
            raise FamilyError(family.name, f"has no function {name!r}", remedy=remedy)
        try:
            inspect.signature(function).bind(*range(parameters))
        except TypeError as error:
            given = f"{name}{inspect.signature(function)}"
            problem = f"{name} must take {parameters} positional arguments"
            raise FamilyError(family.place_of(name), problem, value=given) from error


def try_out(family: Family, configuration: Configuration, problem: Problem) -> None:
    """Build a network; let it answer two images and take one step of training on them.

    Raises:
        FamilyError: Its answer is no finite (2, classes); other errors are the file's own.
    """
    network = family.build(configuration, problem).eval()
    generator = torch.Generator().manual_seed(0)
    shape, classes = problem.inputs.shape, len(problem.target)
    images = torch.randint(0, 256, (2, *shape), generator=generator, dtype=torch.uint8)
    with torch.no_grad():
        logits = network(images)  # (2, classes)
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        remedy = f"it must be (2, {classes}), a logit for each class"
        asked = f"its network maps two images (2, {', '.join(map(str, shape))}) to another shape"
        raise FamilyError(family.place_of("build"), asked, value=given, remedy=remedy)
    if not torch.isfinite(logits).all():
        problem_found = "its network maps two images to numbers that are not finite"
        raise FamilyError(family.place_of("build"), problem_found)
    optimizer = family.optimizer(network, configuration)
    inputs = family.transform(images, configuration, generator)
    targets = torch.arange(2) % classes
    if family.mix is not None:
        hot = torch.eye(classes)[targets]  # (2, classes)
        inputs, targets = family.mix(inputs, hot, configuration, generator)
    loss = family.loss(network.train()(inputs), targets, configuration)
    loss.backward()
    optimizer.step()
    if family.schedule is not None:
        float(family.schedule(0.5))
