"""What trainings run on. The accelerator's own test runs where there is one."""

import logging
from dataclasses import asdict

import pytest
import torch
from misbehaving import exit_silently
from test_training import CONVNET, outcome, weights

from pipeline_lib.families.family import Family
from pipeline_lib.training import workers
from pipeline_lib.training.device import Device, choose, half_pays
from pipeline_lib.training.loop import Training, batches, use_one_thread

EPOCHS = 6


@pytest.fixture(scope="module")
def split(small_data):
    use_one_thread()
    return small_data


def trained(split, device):
    training = Training(Family("convnet"), CONVNET, split, 1, device=device)
    return training, training.fit(EPOCHS * len(split.train))


@pytest.mark.slow
def test_bfloat16_learns_as_well_and_leaves_a_model_in_float32(split):
    _, plain = trained(split, Device())
    half, rung = trained(split, Device(half=True))
    assert rung.value == pytest.approx(plain.value, abs=0.05)
    assert rung.value > 0.8
    assert weights(half).isfinite().all()
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    with torch.inference_mode():
        images = next(batches(split.examples, split.validation))
        assert half.model(images).dtype == torch.float32


@pytest.mark.slow
def test_bfloat16_gives_the_same_bits_twice(split):
    (first, one), (second, two) = (trained(split, Device(half=True)) for _ in range(2))
    assert outcome(one) == outcome(two)
    assert torch.equal(weights(first), weights(second))


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="there is no accelerator here")
def test_the_accelerator_is_chosen_and_learns_as_the_cpu_does(split):
    device, refused = choose()
    assert device.kind == torch.accelerator.current_accelerator().type
    assert not refused
    _, plain = trained(split, Device())
    _, rung = trained(split, device)
    assert rung.value == pytest.approx(plain.value, abs=0.05)


def test_a_cpu_without_such_instructions_is_not_asked(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False})
    assert half_pays("cpu") is False


def test_an_accelerator_that_cannot_train_leaves_it_to_the_cpu(monkeypatch):
    """As with a driver that is too old: torch names the device, and nothing runs on it."""
    if torch.cuda.is_available():
        pytest.skip("this one can")
    named = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: named)
    device, refused = choose()
    assert device.kind == "cpu"
    assert refused.startswith("cuda: ")


@pytest.mark.slow
def test_workers_are_told_once_and_go_on_where_nobody_tells(monkeypatch, caplog):
    chosen = workers.warm_up()
    assert asdict(chosen)["kind"] in {"cpu", "cuda", "mps"}
    monkeypatch.setattr(workers, "_tell_device", exit_silently)
    assert workers.warm_up() == chosen
    with caplog.at_level(logging.WARNING):
        assert workers._choose_device.__wrapped__() == Device()
    assert "trainings run on cpu, float32: the process that was to choose was killed" in caplog.text
