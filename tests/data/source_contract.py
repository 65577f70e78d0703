"""What every source and its examples promise, as tests: derive from the classes."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from pipeline_lib.data.examples import Examples, all_inputs
from pipeline_lib.data.source import Source, reopen
from pipeline_lib.home import Home

_ELSEWHERE = """
import hashlib, pickle, sys
import numpy as np
source = pickle.loads(bytes.fromhex(sys.argv[1]))
examples = source.examples()
images, targets = examples.batch(np.arange(len(examples))[::-1])
print(hashlib.sha256(images.numpy().tobytes() + targets.numpy().tobytes()).hexdigest())
"""


class ExamplesContract:
    """A subclass gives `examples`, and what they are to hold: `images` and `labels`."""

    @pytest.fixture
    def examples(self) -> Examples:
        raise NotImplementedError

    @pytest.fixture
    def images(self) -> np.ndarray:
        raise NotImplementedError

    @pytest.fixture
    def labels(self) -> np.ndarray:
        raise NotImplementedError

    def test_there_are_as_many_as_there_are_targets(self, examples, labels):
        assert len(examples) == len(labels)
        assert examples.targets.dtype == np.int64
        assert np.array_equal(examples.targets, labels)

    @pytest.mark.parametrize("as_tensor", [False, True])
    @pytest.mark.parametrize("rows", ["shuffled", "repeated", "one", "none"])
    def test_rows_come_in_any_order_and_number(self, examples, images, labels, rows, as_tensor):
        count = len(examples)
        chosen = {
            "shuffled": np.random.default_rng(0).permutation(count),
            "repeated": np.array([3, 1, 3, 3, 0]),
            "one": np.array([count - 1]),
            "none": np.array([], np.int64),
        }[rows]
        inputs, targets = examples.batch(torch.from_numpy(chosen) if as_tensor else chosen)
        assert (inputs.dtype, targets.dtype) == (torch.uint8, torch.int64)
        assert inputs.is_contiguous()
        assert np.array_equal(inputs.cpu().numpy(), images[chosen])
        assert np.array_equal(targets.cpu().numpy(), labels[chosen])

    def test_what_is_done_to_a_batch_changes_no_example(self, examples, images, labels):
        inputs, targets = examples.batch(np.array([0, 1]))
        inputs.zero_()
        targets.fill_(7)
        again, truth = examples.batch(np.array([0, 1]))
        assert np.array_equal(again.cpu().numpy(), images[:2])
        assert np.array_equal(truth.cpu().numpy(), labels[:2])

    def test_no_example_can_be_written(self, examples):
        for array in (examples.targets, all_inputs(examples)):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1

    def test_all_inputs_are_every_row_in_order(self, examples, images):
        assert np.array_equal(all_inputs(examples), images)


class SourceContract(ExamplesContract):
    """A subclass gives `source` and the `home` that it is in, `images` and `labels`."""

    @pytest.fixture
    def home(self) -> Home:
        raise NotImplementedError

    @pytest.fixture
    def source(self) -> Source:
        raise NotImplementedError

    @pytest.fixture
    def examples(self, source) -> Examples:
        return source.examples()

    def test_the_problem_is_that_of_the_examples(self, source, images, labels):
        problem, test = source.problem, source.test_set
        assert problem.inputs.shape == images.shape[1:]
        assert problem.train_size == len(labels)
        assert set(labels) <= set(range(len(problem.target)))
        assert (test.dataset, test.digest, test.size) == (
            (problem.name, problem.digest, problem.test_size)
        )

    def test_it_is_small_and_the_same_in_another_process(self, source, images, labels):
        source.examples()  # what was opened here is not sent along
        sent = pickle.dumps(source)
        assert len(sent) < 2000
        assert pickle.loads(sent) == source
        assert hash(pickle.loads(sent)) == hash(source)
        command = [sys.executable, "-c", _ELSEWHERE, sent.hex()]
        there = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        here, truth = source.examples().batch(np.arange(len(labels))[::-1])
        assert np.array_equal(here.numpy(), images[::-1])
        content = here.numpy().tobytes() + truth.numpy().tobytes()
        assert there.strip() == hashlib.sha256(content).hexdigest()

    def test_it_is_reopened_from_json_and_follows_its_home(self, source, home, images):
        kept = json.loads(json.dumps(source.as_json(home)))
        assert str(home.root) not in json.dumps(kept)
        assert reopen(source.problem, kept, home) == source
        moved = Home(home.root.with_name("moved"))
        home.root.rename(moved.root)
        again = reopen(source.problem, kept, moved).examples()
        assert np.array_equal(all_inputs(again), images)

    def test_the_test_set_is_sealed_apart_from_them(self, source):
        test = source.test_set.unseal()
        assert len(test) == source.problem.test_size
        assert tuple(test.batch(np.array([0]))[0].shape[1:]) == source.problem.inputs.shape
