"""The built-in families beyond their contract: what is in the spaces, and what comes first."""

import warnings

import optuna
import pytest
from family_contract import problem_of, random_trial
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from pipeline_lib.families import book, convnet
from pipeline_lib.families.convnet import BASE_MULTIPLY_ADDS
from pipeline_lib.families.family import Family
from pipeline_lib.training.size import size_of

GREY = problem_of("grey")
BUDGETS = [1.0, 60.0, 120.0, 280.0, 600.0, 2000.0, 8 * 3600.0]


def test_the_chapters_space_exactly():
    """SEED.md B."""
    depth, size = IntDistribution(16, 64), IntDistribution(16, 64)
    dropout = FloatDistribution(0.1, 0.4)
    expected = {
        "num_conv_layers": IntDistribution(1, 4),
        **{f"conv_depth_{i}": depth for i in range(4)},
        "conv_dropout": dropout,
        "num_fc_layers": IntDistribution(1, 2),
        **{f"fc_output_feat_{i}": size for i in range(2)},
        **{f"fc_dropout_{i}": dropout for i in range(2)},
        "optimizer": CategoricalDistribution(("Adam", "Adadelta", "RMSprop", "SGD")),
        "lr": FloatDistribution(0.1, 0.5, log=True),
    }
    found = {}
    for seed in range(30):
        trial = random_trial(seed)
        chosen = book.space(trial, GREY, 2000.0)
        found |= trial.distributions
        layers, connected = chosen["num_conv_layers"], chosen["num_fc_layers"]
        assert sum(name.startswith("conv_depth_") for name in chosen) == layers
        assert sum(name.startswith("fc_output_feat_") for name in chosen) == connected
        assert sum(name.startswith("fc_dropout_") for name in chosen) == connected
        assert chosen["batch_size"] == 32
        assert chosen.items() >= trial.params.items()
    assert found == expected


def test_the_chapters_best_configuration_is_in_its_space():
    parameters = {
        "num_conv_layers": 3, "conv_depth_0": 27, "conv_depth_1": 28, "conv_depth_2": 46,
        "conv_dropout": 0.2, "num_fc_layers": 2, "fc_output_feat_0": 57, "fc_dropout_0": 0.3,
        "fc_output_feat_1": 54, "fc_dropout_1": 0.4, "optimizer": "Adadelta", "lr": 0.2,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # FixedTrial warns of what is out of range
        assert book.space(FixedTrial(parameters), GREY, 2000.0) == parameters | {"batch_size": 32}


@pytest.mark.parametrize(("optimizer", "prefix"), [("adamw", "adamw"), ("sgd", "sgd")])
def test_each_optimiser_has_learning_rates_of_its_own(optimizer, prefix):
    base = {k: v for k, v in convnet.priors(GREY, 60.0)[0].items() if not k.startswith("adamw")}
    rates = {f"{prefix}_lr": 0.01 if optimizer == "adamw" else 0.1}
    decays = {f"{prefix}_weight_decay": 0.01 if optimizer == "adamw" else 1e-4}
    chosen = convnet.space(FixedTrial(base | rates | decays | {"optimizer": optimizer}), GREY, 60.0)
    assert chosen["lr"] == rates[f"{prefix}_lr"]
    assert chosen["weight_decay"] == decays[f"{prefix}_weight_decay"]
    assert not any(name.startswith(("adamw_", "sgd_")) for name in chosen)


@pytest.mark.parametrize(
    ("budget", "times"), [(1.0, 1), (150.0, 1), (300.0, 2), (750.0, 5), (2000.0, 6.5)]
)
def test_networks_grow_with_the_budget(budget, times):
    trial = random_trial(0)
    convnet.space(trial, GREY, budget)
    limit = BASE_MULTIPLY_ADDS * times
    assert trial.distributions["multiply_adds"] == FloatDistribution(limit / 2, limit, log=True)
    is_long = limit >= 4e6
    for name in ("double", "padding", "upright"):
        assert (name in trial.params) == is_long
    for name in ("augmentation", "label_smoothing"):
        assert (name in trial.params) == (not is_long)


def test_the_same_study_may_be_continued_with_a_longer_budget():
    """Optuna refuses a categorical parameter whose choices change."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for budget in BUDGETS:
        trial = study.ask()
        convnet.space(trial, GREY, budget)
        study.tell(trial, 0.5)


@pytest.mark.parametrize("seed", range(8))
def test_what_rungs_cannot_judge_is_settled_for_long_budgets(seed):
    chosen = convnet.space(random_trial(seed), GREY, 2000.0)
    assert (chosen["augmentation"], chosen["label_smoothing"]) == ("sheared", 0.05)


@pytest.mark.parametrize(("stem", "kernel"), [("stride", 5), ("pool", 3)])
def test_the_kernel_of_the_stem_follows_from_its_kind(stem, kernel):
    """Decision 12."""
    chosen = convnet.space(FixedTrial(convnet.priors(GREY, 60.0)[0] | {"stem": stem}), GREY, 60.0)
    assert (chosen["stem"], chosen["stem_kernel"]) == (stem, kernel)


def test_long_budgets_begin_with_a_deep_network_and_leave_nothing_of_a_prior_to_chance():
    first, *others = convnet.priors(GREY, 2000.0)
    assert first["double"]
    assert not any(prior["double"] for prior in others)
    for prior in (first, *others):
        convnet.space(FixedTrial(prior), GREY, 2000.0)  # it raises where a parameter is missing


@pytest.mark.parametrize("seed", range(8))
def test_a_convnet_keeps_to_the_size_that_it_was_asked_for(seed):
    family = Family("convnet")
    chosen = family.space(random_trial(seed), GREY, 60.0 if seed < 6 else 600.0)
    size = size_of(family.build(chosen, GREY), GREY.inputs)
    assert size.multiply_adds <= chosen["multiply_adds"]


@pytest.mark.parametrize("budget", BUDGETS)
def test_priors_are_members_of_their_space_at_every_budget(budget):
    for parameters in convnet.priors(GREY, budget):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.enqueue_trial(parameters)
        trial = study.ask()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            convnet.space(trial, GREY, budget)
        assert trial.params.items() >= parameters.items()
