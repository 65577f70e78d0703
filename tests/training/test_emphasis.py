import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.training.emphasis import SHARE, WHOLE_PASSES, Emphasis


def emphasis(count, seed=0):
    return Emphasis(count, torch.Generator().manual_seed(seed))


def teach(taught, losses):
    """Say of every sample, the class of all is 0, what gives it this loss."""
    losses = torch.as_tensor(losses, dtype=torch.float32)
    logits = torch.stack([torch.zeros(len(losses)), losses.expm1().log()], dim=1)
    taught.learn(torch.arange(len(losses)), logits, torch.zeros(len(losses), dtype=torch.long))


@given(st.integers(1, 300), st.integers(0, 9), st.integers(0, 2**32))
def test_a_pass_is_a_part_of_the_samples_each_once(count, number, seed):
    order = emphasis(count, seed).order(number)
    share = 1 if number < WHOLE_PASSES else SHARE
    assert len(order) == max(1, round(share * count))
    assert len(set(order.tolist())) == len(order)
    assert all(0 <= which < count for which in order.tolist())


@given(st.integers(0, 2**32), st.integers(0, 5))
def test_the_same_seed_gives_the_same_pass(seed, number):
    assert torch.equal(emphasis(50, seed).order(number), emphasis(50, seed).order(number))


@pytest.mark.parametrize("seed", range(3))
def test_late_passes_take_samples_by_the_rank_of_their_losses(seed):
    """Weights are squares of ranks: of four quarters, each is taken more often than the last."""
    taught = emphasis(4000, seed)
    shuffled = torch.randperm(4000, generator=torch.Generator().manual_seed(seed))
    losses = shuffled / 1000 + 1e-3
    teach(taught, losses)
    hard = losses[taught.order(WHOLE_PASSES)]
    taken = [int(((hard >= low) & (hard < low + 1)).sum()) / 1000 for low in range(4)]
    assert taken == sorted(taken)
    assert taken[0] < 0.1 < 0.6 < taken[3] < 1


def test_easy_samples_keep_a_chance():
    taught = emphasis(1000)
    teach(taught, torch.arange(1000) / 1000 + 1e-3)
    passes = [taught.order(WHOLE_PASSES + i) for i in range(200)]
    assert len(torch.cat(passes).unique()) > 900


def test_a_sample_that_became_easy_is_taken_less():
    taught = emphasis(1000)
    teach(taught, [5.0] * 500 + [1.0] * 500)
    for _ in range(6):
        teach(taught, [0.01] * 500 + [1.0] * 500)
    assert (taught.order(WHOLE_PASSES) >= 500).float().mean() > 0.6


def test_what_is_learned_is_the_loss_of_the_true_class():
    taught = emphasis(2)
    logits = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
    taught.learn(torch.tensor([0, 1]), logits, torch.tensor([0, 0]))
    assert taught._losses[0] == pytest.approx(math.log(2) / 2)
    assert taught._losses[1] < 1e-3
