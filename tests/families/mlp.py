"""A multilayer perceptron with every hook that a family may have."""

import torch
from torch import nn
from torch.nn import functional as F

VARIANTS = "deep"


def space(trial, problem, budget):
    return {
        "width": trial.suggest_int("width", 16, 64),
        "deep": trial.suggest_categorical("deep", [False, True]),
        "lr": trial.suggest_float("lr", 1e-3, 1e-2, log=True),
        "noise": trial.suggest_float("noise", 0, 20),
        "batch_size": 32,
    }


def build(configuration, problem):
    width, classes = configuration["width"], len(problem.target)
    hidden = [nn.Linear(width, width), nn.ReLU()] if configuration["deep"] else []
    return nn.Sequential(
        nn.Flatten(), nn.LazyLinear(width), nn.ReLU(), *hidden, nn.Linear(width, classes)
    )


def priors(problem, budget):
    return [{"width": 32, "deep": False, "lr": 3e-3, "noise": 5.0}]


def transform(images, configuration, generator):
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return images + configuration["noise"] * noise


def mix(images, targets, configuration, generator):
    other = torch.randperm(len(images), generator=generator, device=images.device)
    return images.lerp(images[other], 0.1), targets.lerp(targets[other], 0.1)


def optimizer(model, configuration):
    return torch.optim.NAdam(model.parameters(), lr=configuration["lr"])


def schedule(progress):
    return 1 - progress


def loss(logits, targets, configuration):
    return F.cross_entropy(logits, targets, label_smoothing=0.1)
