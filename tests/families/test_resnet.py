"""Residual networks: the contract, every size of image, and what the search may choose."""

import subprocess
import sys

import optuna
import pytest
import torch
from family_contract import FamilyContract, problem_of, random_trial

from pipeline_lib.data.problem import Classes, Image, Problem
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.families import convnet, resnet
from pipeline_lib.families.family import Family
from pipeline_lib.models.resnet import Residual, design, multiply_adds
from pipeline_lib.training.loop import use_one_thread
from pipeline_lib.training.size import size_of

GREY, COLOUR = problem_of("grey"), problem_of("colour")
SIDES = [8, 12, 16, 28, 64, 96, 224]
BUDGETS = (60.0, 300.0, 2000.0)
FEW, MANY = 4, 200  # configurations of a size


@pytest.fixture(autouse=True)
def one_thread():
    use_one_thread()


def images_problem(channels, height, width, train_size=54_000):
    classes = Classes(tuple("abcdefghij"))
    return Problem("x", "x", Image(channels, height, width), classes, train_size, 0, "made up")


def trains_within_its_limit(name, problem, seed):
    """Two batches of a random configuration."""
    family = Family.find(name)
    chosen = family.space(random_trial(seed), problem, BUDGETS[seed % len(BUDGETS)])
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = family.build(chosen, problem)
    assert size_of(network, problem.inputs).multiply_adds <= chosen["multiply_adds"]
    optimizer = family.optimizer(network, chosen)
    for _ in range(2):
        images = torch.randint(0, 256, (4, *problem.inputs.shape), dtype=torch.uint8)
        aims = torch.eye(10)[:4] if family.mix else torch.arange(4)
        pixels = family.transform(images, chosen, generator)
        if family.mix:
            pixels, aims = family.mix(pixels, aims, chosen, generator)
        assert pixels.shape == images.shape
        assert pixels.min() >= 0
        assert pixels.max() < 255.01  # what is interpolated is rounded
        loss = family.loss(network(pixels), aims, chosen)
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


class TestResNet(FamilyContract):
    named = "resnet"
    problems = ("tiny", "grey", "colour")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", SIDES)
def test_random_configurations_train_at_every_size(side, channels):
    problem = images_problem(channels, side, side, train_size=1000 if side < 28 else 54_000)
    for seed in range(FEW):
        trains_within_its_limit("resnet", problem, seed)


@pytest.mark.long
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", SIDES)
def test_two_hundred_random_configurations_train_at_every_size(side, channels):
    for seed in range(FEW, MANY):
        train_size = 1000 if seed % 2 else 54_000
        problem = images_problem(channels, side, side, train_size)
        trains_within_its_limit("resnet", problem, seed)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (8, 100), (90, 17), (31, 33)])
def test_images_of_any_form_are_learned(height, width):
    for seed in range(FEW):
        trains_within_its_limit("resnet", images_problem(3, height, width), seed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [convnet.LEAST_SIDE, 28, 32, convnet.MOST_SIDE])
def test_random_convnets_train_at_the_sizes_that_are_theirs(side, channels):
    for seed in range(FEW):
        trains_within_its_limit("convnet", images_problem(channels, side, side), seed)


@pytest.mark.long
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [convnet.LEAST_SIDE, 28, 32, convnet.MOST_SIDE])
def test_two_hundred_random_convnets_train_at_the_sizes_that_are_theirs(side, channels):
    for seed in range(FEW, MANY):
        trains_within_its_limit("convnet", images_problem(channels, side, side), seed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [convnet.LEAST_SIDE, convnet.MOST_SIDE])
def test_every_form_of_convnet_fits_the_smallest_and_the_largest_of_its_sizes(side, channels):
    problem = images_problem(channels, side, side)
    for seed in range(60):
        trial = random_trial(seed)
        chosen = convnet.space(trial, problem, BUDGETS[seed % len(BUDGETS)])
        chosen["multiply_adds"] = trial.distributions["multiply_adds"].low
        size = size_of(convnet.build(chosen, problem), problem.inputs)
        assert size.multiply_adds <= chosen["multiply_adds"]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 12), (16, 16), (96, 96), (28, 224)])
def test_convnets_refuse_other_sizes_in_one_line(height, width):
    with pytest.raises(ConfigurationError) as refused:
        convnet.space(random_trial(0), images_problem(1, height, width), 300.0)
    assert f"{height}×{width}" in str(refused.value)
    assert "resnet" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_network_costs_is_known_before_it_is_built(side, channels):
    problem = images_problem(channels, side, side)
    for seed in range(FEW):
        chosen = resnet.space(random_trial(seed), problem, BUDGETS[seed % 3])
        architecture = resnet.architecture(chosen, problem)
        counted = size_of(resnet.build(chosen, problem), problem.inputs).multiply_adds
        assert multiply_adds(architecture) == counted


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_network_uses_what_it_may_cost(budget):
    for side in SIDES:
        problem = images_problem(3, side, side)
        used = []
        for seed in range(20):
            chosen = resnet.space(random_trial(seed), problem, budget)
            cost = multiply_adds(resnet.architecture(chosen, problem))
            used.append(cost / chosen["multiply_adds"])
        assert min(used) > 0.5
        assert sorted(used)[10] > 0.8


@pytest.mark.parametrize("side", SIDES)
def test_what_is_pooled_at_the_end_still_has_a_form(side):
    problem = images_problem(1, side, side)
    for seed in range(FEW):
        chosen = resnet.space(random_trial(seed), problem, BUDGETS[seed % 3])
        network = resnet.build(chosen, problem).eval()
        images = torch.zeros(1, 1, side, side)  # (B, C, H, W)
        features = network.features(network.normalise(network.shrink(images)))
        assert 3 <= features.shape[2] <= 4


def test_a_block_is_the_identity_at_first():
    images = torch.rand(2, 16, 5, 5)  # (B, C, H, W)
    assert torch.equal(Residual(16)(images), images)


def test_networks_grow_with_the_budget_and_shrink_with_many_examples():
    limits = [resnet.limit(GREY, budget) for budget in (1, 300, 1000, 2000, 1e5)]
    assert limits == sorted(limits)
    assert limits[0] == resnet.LEAST_MULTIPLY_ADDS
    assert limits[-1] == resnet.MOST_MULTIPLY_ADDS
    million = images_problem(1, 28, 28, train_size=1_000_000)
    assert resnet.limit(million, 1000) < resnet.limit(GREY, 1000)


def suggested(problem, budget):
    trials = [random_trial(seed) for seed in range(10)]
    for trial in trials:
        resnet.space(trial, problem, budget)
    return set().union(*(trial.params for trial in trials))


def test_a_choice_is_offered_where_it_means_something():
    assert "colour" in suggested(COLOUR, 300.0) - suggested(GREY, 300.0)
    small, large = images_problem(1, 28, 28, 500), images_problem(1, 28, 28, 50_000)
    assert "mixup" in suggested(small, 300.0) - suggested(large, 300.0)
    assert "detail" in suggested(GREY, 2000.0) - suggested(problem_of("tiny"), 2000.0)
    assert "detail" not in suggested(GREY, 60.0)


def test_whether_images_may_be_mirrored_is_never_assumed():
    for problem in (GREY, COLOUR):
        drawn = {resnet.space(random_trial(seed), problem, 300.0)["flip"] for seed in range(20)}
        first = {prior["flip"] for prior in resnet.priors(problem, 300.0)}
        assert drawn == first == {False, True}
    assert resnet.VARIANTS == "flip"


@pytest.mark.parametrize("problem", [GREY, COLOUR, problem_of("tiny")], ids=lambda p: p.name)
def test_the_same_study_may_be_continued_with_another_budget(problem):
    """Optuna refuses a categorical parameter whose choices change."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for budget in BUDGETS * 5:
        trial = study.ask()
        resnet.space(trial, problem, budget)
        study.tell(trial, 0.5)


@pytest.mark.parametrize("budget", BUDGETS)
def test_priors_leave_nothing_to_chance(budget):
    for problem in (GREY, COLOUR, images_problem(3, 96, 96, 500)):
        for prior in resnet.priors(problem, budget):
            resnet.space(optuna.trial.FixedTrial(prior), problem, budget)  # it raises if one misses


def test_more_blocks_and_growth_are_what_they_say():
    chosen = {"multiply_adds": 2e7, "detail": "coarse", "growth": 2.0, "dropout": 0.0}
    found = [
        [stage["blocks"] for stage in design(chosen | {"blocks": name}, (1, 28, 28), 10)["stages"]]
        for name in ("ends", "each", "two")
    ]
    assert found == [[1, 0, 1], [1, 1, 1], [1, 1, 2]]


def test_the_space_is_asked_without_torch():
    code = (
        "import sys\n"
        "from optuna.trial import FixedTrial\n"
        "from pipeline_lib.data.problem import Classes, Image, Problem\n"
        "from pipeline_lib.families import resnet\n"
        "problem = Problem('x', 'x', Image(3, 32, 32), Classes(('a', 'b')), 1000, 0, 'x')\n"
        "for prior in resnet.priors(problem, 300.0):\n"
        "    resnet.space(FixedTrial(prior), problem, 300.0)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
