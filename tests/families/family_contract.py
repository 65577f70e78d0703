"""What every family promises, as tests. Derive from `FamilyContract` and say what `family` is."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass

import numpy as np
import optuna
import pytest
import torch

from pipeline_lib.data.examples import MappedExamples
from pipeline_lib.data.problem import Classes, Image, Problem
from pipeline_lib.data.splits import Split
from pipeline_lib.families.family import Family
from pipeline_lib.families.space import Space
from pipeline_lib.home import Home
from pipeline_lib.models.saved import load_model, save_model
from pipeline_lib.training.loop import Training
from pipeline_lib.training.size import size_of

PROBLEMS = {"tiny": (1, 8, 8), "grey": (1, 28, 28), "colour": (3, 32, 32)}
BUDGETS = (60.0, 600.0)


def problem_of(name: str) -> Problem:
    classes = Classes(tuple("abcdefghij"))
    return Problem(name, name, Image(*PROBLEMS[name]), classes, 120, 10, "made up")


@dataclass(frozen=True)
class MadeUp:
    """Random images of a problem, as a source."""

    problem: Problem

    lineage = ""

    def rows(self) -> None:
        return None

    def examples(self) -> MappedExamples:
        random = np.random.default_rng(0)
        shape = (self.problem.train_size, *self.problem.inputs.shape)
        targets = np.arange(self.problem.train_size) % len(self.problem.target)
        return MappedExamples(random.integers(0, 256, shape, np.uint8), targets)


def random_trial(seed: int) -> optuna.Trial:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask()


def images_of(problem: Problem, count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, *problem.inputs.shape), dtype=torch.uint8)


class FamilyContract:
    """Every family passes this. A subclass names it, and the problems that it can learn."""

    named: str
    problems: tuple[str, ...] = ("grey", "colour")

    @pytest.fixture
    def family(self, tmp_path, monkeypatch) -> Family:
        """The family, where this process finds what a user's models need."""
        monkeypatch.setenv("AUTOML_HOME", str(tmp_path / "home"))
        return Family.find(self.named).kept(Home(tmp_path / "home"))

    @pytest.fixture(params=PROBLEMS)
    def problem(self, request) -> Problem:
        if request.param not in self.problems:
            pytest.skip("the family's networks do not fit these images")
        return problem_of(request.param)

    @pytest.fixture
    def configurations(self, family, problem):
        spaces = [Space(family, problem, budget) for budget in BUDGETS]
        return [space.propose(random_trial(seed)) for seed in range(2) for space in spaces]

    def test_a_configuration_is_plain_json(self, configurations):
        for chosen in configurations:
            assert json.loads(json.dumps(chosen)) == chosen
            assert {"batch_size", "lr"} <= chosen.keys()

    def test_a_network_maps_raw_pixels_to_a_finite_logit_a_class(
        self, family, problem, configurations
    ):
        for chosen in configurations:
            logits = family.build(chosen, problem).eval()(images_of(problem))
            assert logits.shape == (3, len(problem.target))
            assert torch.isfinite(logits).all()

    def test_the_configuration_alone_decides_what_is_built(self, family, problem, configurations):
        for chosen in configurations:
            networks = []
            for _ in range(2):
                torch.manual_seed(0)
                networks.append(family.build(json.loads(json.dumps(chosen)), problem))
            one, same = (network.state_dict() for network in networks)
            assert one.keys() == same.keys()
            assert all(torch.equal(one[name], same[name]) for name in one)

    @pytest.mark.parametrize("budget", BUDGETS)
    def test_priors_lie_in_the_space(self, family, problem, budget):
        for parameters in family.priors(problem, budget):
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
            study.enqueue_trial(parameters)
            trial = study.ask()
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Optuna warns of what is out of range
                Space(family, problem, budget).propose(trial)
            assert trial.params.items() >= parameters.items()

    def test_its_size_is_counted_without_a_trace(self, family, problem, configurations):
        for chosen in configurations:
            network = family.build(chosen, problem)
            size = size_of(network, problem.inputs)
            assert network.training
            assert size.parameters > 0
            assert size.multiply_adds > 0

    def test_what_is_saved_answers_alike_when_it_is_loaded(
        self, family, problem, configurations, tmp_path
    ):
        for chosen in configurations:
            network = family.build(chosen, problem).eval()
            images = images_of(problem)
            before = network(images)
            save_model(network, family.architecture(chosen, problem), tmp_path / "model")
            torch.testing.assert_close(load_model(tmp_path / "model")(images), before)

    def test_random_configurations_train_on_a_batch(self, family, problem, configurations):
        split = Split(MadeUp(problem), seed=0, share=0.2)
        for chosen in configurations:
            training = Training(family, chosen, split, seed=0)
            training.fit(int(chosen["batch_size"]))
            before = [parameter.detach().clone() for parameter in training.model.parameters()]
            training.fit(int(chosen["batch_size"]) * (2 if family.schedule is None else 1))
            after = list(training.model.parameters())
            same = [torch.equal(*pair) for pair in zip(before, after, strict=True)]
            assert family.schedule is not None or not all(same)
            assert all(torch.isfinite(parameter).all() for parameter in after)
