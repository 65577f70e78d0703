import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from in_memory import in_memory, with_images
from torch import nn

from pipeline_lib.data.examples import MappedExamples
from pipeline_lib.data.splits import Split
from pipeline_lib.errors import DataError, TrialFailure
from pipeline_lib.families.family import Family
from pipeline_lib.training.loop import (
    Training,
    batches,
    predict,
    predict_on_all_cores,
    use_one_thread,
)
from pipeline_lib.training.optimizers import make_optimizer
from pipeline_lib.training.schedule import WARM_UP, one_cycle

CONVNET = {
    "multiply_adds": 2e5,
    "stem": "stride",
    "stem_kernel": 5,
    "conv3": 1.0,
    "padding": "valid",
    "fc": 0,
    "dropout": 0.2,
    "optimizer": "adamw",
    "lr": 1e-2,
    "weight_decay": 2e-2,
    "batch_size": 64,
    "label_smoothing": 0.05,
    "augmentation": "shift",
}
BOOK = {
    "num_conv_layers": 1,
    "conv_depth_0": 16,
    "conv_dropout": 0.1,
    "num_fc_layers": 1,
    "fc_output_feat_0": 16,
    "fc_dropout_0": 0.1,
    "optimizer": "Adadelta",
    "lr": 0.3,
    "batch_size": 32,
}


@pytest.fixture(scope="module")
def data(small_data):
    use_one_thread()
    return small_data


def first_images(data, count):
    """The first so many, in the batches of an evaluation."""
    return [*batches(data.examples, np.arange(count))]


def training(data, configuration=CONVNET, seed=1, **changes):
    configuration = configuration | changes
    family = Family("book" if "num_conv_layers" in configuration else "convnet")
    return Training(family, configuration, data, seed)


def weights(run):
    return torch.cat([tensor.flatten().double() for tensor in run.model.state_dict().values()])


def outcome(rung):
    """All of a rung but the seconds."""
    return rung.samples, rung.value, rung.curve


def test_one_cycle_rises_peaks_and_ends_near_zero():
    steps = np.linspace(0, 1, 1001)
    factors = np.array([one_cycle(step) for step in steps])
    peak = int(factors.argmax())
    assert steps[peak] == pytest.approx(WARM_UP)
    assert factors[peak] == pytest.approx(1.0)
    assert (np.diff(factors[: peak + 1]) >= 0).all()
    assert (np.diff(factors[peak:]) < 0).all()
    assert 0 < factors[0] <= 0.05
    assert factors[-1] == pytest.approx(0.0, abs=1e-9)


@given(st.floats(0, 1))
def test_one_cycle_is_a_share(progress):
    assert 0 <= one_cycle(progress) <= 1


def test_the_learning_rate_follows_the_cycle_and_its_peak_is_the_configurations(data):
    run = training(data)
    rates = []
    run._check = lambda: rates.append(run.optimizer.param_groups[0]["lr"])
    run.fit(64 * 50)
    rates = [*rates[1:], run.optimizer.param_groups[0]["lr"]]  # read before the next batch
    assert max(rates) == pytest.approx(1e-2)
    assert rates.index(max(rates)) == pytest.approx(WARM_UP * 50, abs=1)
    assert rates[-1] < 0.02 * max(rates)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_weight_decay_is_for_matrices_and_kernels_only(data, optimizer):
    model = training(data, fc=64).model
    decaying = {"optimizer": optimizer, "lr": 0.1, "weight_decay": 0.5}
    made = make_optimizer(model, decaying)
    decay = {id(p): g["weight_decay"] for g in made.param_groups for p in g["params"]}
    assert len(decay) == len(list(model.parameters()))
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            matrix = isinstance(module, nn.Conv2d | nn.Linear) and name == "weight"
            assert decay[id(parameter)] == (0.5 if matrix else 0.0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", "AdamW"), ("sgd", "SGD"), *((n, n) for n in ("Adam", "Adadelta", "RMSprop", "SGD"))],
)
def test_optimisers_by_name(name, kind):
    kind = getattr(torch.optim, kind)
    made = make_optimizer(nn.Linear(2, 2), {"optimizer": name, "lr": 0.25, "weight_decay": 0.1})
    assert type(made) is kind
    assert {group["lr"] for group in made.param_groups} == {0.25}
    if name == "sgd":
        assert made.defaults["nesterov"] and made.defaults["momentum"] == 0.9
    if name[0].isupper():  # the chapter's keep PyTorch's defaults
        assert made.defaults == kind(nn.Linear(2, 2).parameters(), lr=0.25).defaults


def test_it_learns_real_digits(data):
    rung = training(data).fit(6000)
    assert rung.value > 0.85
    losses = [epoch.train_loss for epoch in rung.curve]
    assert losses[-1] < losses[0] / 2


def test_a_rung_starts_afresh(data):
    climbing, straight = training(data), training(data)
    climbing.fit(500)
    assert outcome(climbing.fit(1500)) == outcome(straight.fit(1500))
    assert torch.equal(weights(climbing), weights(straight))


def test_the_same_seed_repeats_itself_and_another_does_not(data):
    one, same, other = training(data), training(data), training(data, seed=2)
    assert torch.equal(weights(one), weights(same))  # initialised alike
    assert not torch.equal(weights(one), weights(other))
    first = one.fit(700)
    assert outcome(first) == outcome(same.fit(700))
    assert torch.equal(weights(one), weights(same))
    other.fit(700)
    assert not torch.equal(weights(one), weights(other))


def test_what_else_draws_random_numbers_does_not_matter(data):
    one, same = training(data, dropout=0.0), training(data, dropout=0.0)
    one.fit(700)
    torch.rand(17)
    np.random.default_rng().random(3)
    same.fit(700)
    assert torch.equal(weights(one), weights(same))


def test_the_chapters_networks_go_on_where_they_ended(data):
    epoch = len(data.train)
    rates, twice = [], training(data, BOOK)
    twice._check = lambda: rates.append(twice.optimizer.param_groups[0]["lr"])
    first = twice.fit(epoch)
    before = weights(twice)
    second = twice.fit(2 * epoch)
    once = training(data, BOOK)  # only now: dropout draws from torch's own generator
    whole = once.fit(2 * epoch)
    assert (first.samples, second.samples) == (epoch, 2 * epoch)
    assert not torch.equal(before, weights(twice))
    assert torch.equal(weights(twice), weights(once))
    assert second.value == whole.value
    assert set(rates) == {BOOK["lr"]}
    assert len(rates) == 2 * -(-epoch // BOOK["batch_size"])


@pytest.mark.parametrize("samples", [1, 63, 64, 959, 960, 961, 2500])
def test_a_rung_sees_just_so_many_samples(data, samples):
    seen = []
    run = training(data)
    for which in run._batches(samples):
        assert len(which) <= CONVNET["batch_size"]
        seen.append(len(which))
    assert sum(seen) == samples
    rung = training(data).fit(samples)
    assert rung.samples == samples
    assert rung.curve[-1].samples == samples
    assert rung.curve[-1].value == rung.value
    assert len(rung.curve) == -(-samples // len(data.train))


def test_the_first_epochs_are_every_training_image_once_and_no_validation_image(data):
    run = training(data)
    run.examples = MappedExamples(data.examples.images, np.arange(len(data.examples)))
    seen = torch.cat([run._pick(which)[1] for which in run._batches(2 * len(data.train))])
    for epoch in seen.split(len(data.train)):
        assert np.array_equal(epoch.sort().values.numpy(), data.train)
    first, second = seen.split(len(data.train))
    assert not torch.equal(first, second)


def test_images_come_with_their_own_labels(data):
    run = training(data)
    images, labels = run._pick(next(run._batches(100)))
    for image, label in zip(images.numpy(), labels.numpy(), strict=True):
        matches = (data.examples.images == image).all((1, 2, 3))
        assert label in data.examples.targets[matches]


def test_validation_images_never_touch_the_weights(data):
    images = data.examples.images.copy()
    images[data.validation] = 0
    dark = with_images(data, images)
    seen, unseen = training(data), training(dark)
    seen.fit(700)
    unseen.fit(700)
    assert torch.equal(weights(seen), weights(unseen))


def test_pixels_of_validation_images_are_not_in_the_statistics(data):
    images = data.examples.images.copy()
    images[data.validation] = 255
    one, other = training(data), training(with_images(data, images))
    assert torch.equal(one.model.normalise.mean, other.model.normalise.mean)
    assert one.model.normalise.mean > 0


def test_evaluation_is_in_evaluation_mode_and_changes_nothing(data):
    run = training(data, dropout=0.3)
    run.fit(700)
    run.model.train()
    before = weights(run)
    first, again = run.evaluate(), run.evaluate()
    assert first == again
    assert run.model.training
    assert torch.equal(before, weights(run))
    run.model.eval()
    logits = predict(run.model, batches(data.examples, data.validation))
    assert not run.model.training
    hits = int((logits.argmax(1).numpy() == data.validation_targets).sum())
    assert first == {"accuracy": hits / len(data.validation)}


def test_predictions_do_not_depend_on_the_batch_they_come_in(data):
    run = training(data)
    run.fit(700)
    many = first_images(data, 600)
    together = predict(run.model, many)
    assert together.shape == (600, 10)
    torch.testing.assert_close(together[599:], predict(run.model, [many[-1][-1:]]))
    assert not together.requires_grad


class Watched(torch.nn.Module):
    """Notes on how many of torch's threads it is asked."""

    def __init__(self):
        super().__init__()
        self.threads = []

    def forward(self, images):
        self.threads.append(torch.get_num_threads())
        return images.flatten(1)[:, :10]


def test_all_cores_answer_as_one_does_and_none_waits_for_another_within_an_operation(data):
    torch.set_num_threads(3)
    model, many = Watched(), first_images(data, 700)
    found = predict_on_all_cores(model, many)
    assert torch.equal(found, predict(Watched(), many))
    assert not found.requires_grad
    assert set(model.threads) == {1}
    assert torch.get_num_threads() == 3  # it is the caller's process
    use_one_thread()


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 1e30), ("adamw", 1e38)])
def test_divergence_is_a_failure_with_its_reason(data, optimizer, lr):
    with pytest.raises(TrialFailure, match=r"diverged: the loss became (nan|inf)"):
        training(data, optimizer=optimizer, lr=lr).fit(2000)


def test_a_check_that_raises_ends_the_training_at_the_next_batch(data):
    stop, calls = threading.Event(), []

    def check():
        calls.append(1)
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    run = Training(Family("convnet"), CONVNET, data, 0, check)
    with pytest.raises(KeyboardInterrupt):
        run.fit(2000)
    assert len(calls) == 2


def test_training_needs_no_test_set(tiny_data):
    """There is none beside the examples that it is given."""
    with pytest.raises(DataError):
        tiny_data.source.test_set.unseal()
    assert 0 <= training(tiny_data).fit(200).value <= 1


def test_the_statistics_of_large_pictures_are_those_of_fewer(data):
    """All of two thousand would be gigabytes as floats; of small ones, none is left out."""
    every = len(data.train) // 2000 or 1
    assert len(training(data)._typical()) == -(-len(data.train) // every)
    images = np.zeros((400, 3, 160, 160), np.uint8)
    large = Split(in_memory(images, np.arange(400) % 10), seed=0, share=0.1)
    run = Training(Family("convnet"), CONVNET, large, 0)
    assert run._typical().numel() <= 2 * 2**23


def test_use_one_thread():
    use_one_thread()
    assert torch.get_num_threads() == 1


def test_a_slow_machine_hurries_the_schedule_and_ends_annealed(small_data):
    training = Training(Family("convnet"), CONVNET, small_data, 0)
    rung = training.fit(10_000_000, seconds=1.0)
    assert 0 < rung.samples < 10_000_000
    assert rung.curve[-1].samples == rung.samples
    assert training.optimizer.param_groups[0]["lr"] < 0.3 * float(CONVNET["lr"])


def test_the_first_batch_of_a_training_in_time_does_not_depend_on_the_clock(data):
    run, progress = training(data), []
    run._schedule = progress.append
    run.fit(200, seconds=1e-6)
    assert progress == [0.0]
