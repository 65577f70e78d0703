"""Every source and every implementation of examples against its contract."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from source_contract import ExamplesContract, SourceContract

from pipeline_lib.data.examples import MappedExamples
from pipeline_lib.data.problem import Classes, Image, Problem
from pipeline_lib.data.sources.catalogued import Catalogued
from pipeline_lib.data.sources.idx import read
from pipeline_lib.data.sources.stored import write_parts
from pipeline_lib.data.store import digest, mapped
from pipeline_lib.home import Home
from pipeline_lib.training.resident import _Moved


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def colours():
    """Forty and ten RGB pictures of CIFAR's size, with labels."""
    random = np.random.default_rng(1)
    return tuple(
        (
            random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8),
            random.integers(0, 10, count),
        )
        for count in (40, 10)
    )


class TestGreyIdxFiles(SourceContract):
    @pytest.fixture
    def home(self, home):
        return home

    @pytest.fixture
    def source(self, tiny, home):
        return Catalogued.of(tiny, home)

    @pytest.fixture
    def images(self, tiny, layout):
        return read(tiny, layout)[0][0]

    @pytest.fixture
    def labels(self):
        return np.arange(30) % 3


class TestColourPictures(SourceContract):
    @pytest.fixture
    def home(self, home):
        return home

    @pytest.fixture
    def source(self, colours, home):
        train, test = colours
        directory = home.data / "arrays" / "colours"
        write_parts(directory, train, test)
        names, sizes = Classes(tuple("abcdefghij")), (len(train[1]), len(test[1]))
        shape = Image(*train[0].shape[1:])
        problem = Problem("colours", "noise", shape, names, *sizes, digest(train, test))
        return Catalogued(problem, directory)

    @pytest.fixture
    def images(self, colours):
        return colours[0][0]

    @pytest.fixture
    def labels(self, colours):
        return colours[0][1]


class TestMoved(ExamplesContract):
    """What an accelerator gets, on one where there is one."""

    @pytest.fixture
    def examples(self, images, labels):
        for array in (images, labels):
            array.flags.writeable = False
        found = torch.accelerator.current_accelerator(check_available=True)
        return _Moved(MappedExamples(images, labels), found.type if found else "cpu")

    @pytest.fixture
    def images(self, colours):
        return colours[0][0]

    @pytest.fixture
    def labels(self, colours):
        return colours[0][1]

    def test_all_inputs_are_every_row_in_order(self, examples, images):
        """Nobody asks for them: they would leave the device."""

    def test_no_example_can_be_written(self, examples):
        with pytest.raises(ValueError, match="read-only"):
            examples.targets[0] = 1


def test_an_array_is_mapped_once_a_process_and_again_when_its_file_changes(tmp_path):
    path = tmp_path / "some.npy"
    np.save(path, np.arange(10))
    first = mapped(path)
    assert mapped(path) is first
    np.save(tmp_path / "other.npy", np.arange(5))
    (tmp_path / "other.npy").replace(path)
    assert mapped(path).tolist() == [0, 1, 2, 3, 4]


def test_torch_takes_batches_without_a_warning(tiny, home):
    examples = Catalogued.of(tiny, home).examples()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        examples.batch(np.array([0, 1]))


LIMITED = """
import sys
from pathlib import Path
import numpy as np
import torch
from pipeline_lib.data.examples import MappedExamples
from pipeline_lib.data.store import mapped
from pipeline_lib.training.memory import limit_memory
limit_memory(256)
images = mapped(Path(sys.argv[1]))
examples = MappedExamples(images, np.zeros(len(images), np.int64))
inputs, _ = examples.batch(np.array([0, len(images) - 1]))
print(tuple(inputs.shape), int(inputs.sum()))
try:
    held = np.ones(2**29, np.uint8)
except MemoryError:
    print("and no more than that")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such limit elsewhere")
def test_a_data_set_may_be_larger_than_what_a_trial_may_allocate(tmp_path: Path):
    """2.8 GiB of pictures, which take no place on disk, under a limit of 256 MiB."""
    path, shape = tmp_path / "images.npy", (20_000, 3, 224, 224)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)))
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["(2, 3, 224, 224) 0", "and no more than that"]
