import ast
import json
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.config import RunConfig
from pipeline_lib.data.source import prepare
from pipeline_lib.data.sources.catalogue import CATALOGUE
from pipeline_lib.data.sources.catalogued import Catalogued, status
from pipeline_lib.data.sources.idx import read
from pipeline_lib.data.splits import Split
from pipeline_lib.errors import ConfigurationError, DataError, HomeError
from pipeline_lib.home import Home

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def prepared(tiny, home):
    return Catalogued.of(tiny, home)


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_a_data_set_is_fetched_and_converted_once(tiny, home):
    first, again = [], []
    prepared = Catalogued.of(tiny, home, progress=first.append)
    assert first == [f"Fetching tiny from {tiny.packaged}", "Converting tiny to arrays"]
    assert Catalogued.of(tiny, home, progress=again.append) == prepared
    assert again == []
    assert prepared.directory == home.data / "arrays" / f"tiny-{prepared.problem.digest[:12]}"
    assert sorted(files_below(prepared.directory)) == [
        "sealed/test_images.npy",
        "sealed/test_labels.npy",
        "search/train_images.npy",
        "search/train_labels.npy",
    ]
    assert not list(home.data.glob(".staging*"))


def test_the_split_and_the_test_set_hold_the_files_arrays(tiny, layout, prepared):
    (train_images, train_labels), (test_images, test_labels) = read(tiny, layout)
    split = Split(prepared, seed=1, share=0.2)
    assert np.array_equal(split.examples.images, train_images)
    assert np.array_equal(split.examples.targets, train_labels)
    assert (len(split.train), len(split.validation)) == (24, 6)
    test = prepared.test_set.unseal()
    assert np.array_equal(test.images, test_images)
    assert np.array_equal(test.targets, test_labels)


def test_what_a_search_reads_lies_apart_from_test_data(prepared):
    split = Split(prepared, seed=1, share=0.2)
    assert len(split.examples) == 30
    if sys.platform == "linux":
        opened = Path("/proc/self/maps").read_text(encoding="utf-8")
        assert str(prepared.directory / "sealed") not in opened
    for path in (prepared.directory / "search").rglob("*"):
        assert "test" not in path.name


def test_a_users_directory_is_read_and_never_written(tiny, layout, home):
    before = files_below(layout)
    without_source = replace(tiny, packaged=None)
    prepared = Catalogued.of(without_source, home, root=layout)
    assert files_below(layout) == before
    assert prepared.examples().images.shape == (30, 1, 8, 8)
    assert not (home.data / "Tiny").exists()


@pytest.mark.parametrize("already_prepared", [False, True])
def test_a_bad_file_in_a_users_directory_is_named_and_left(tiny, layout, home, already_prepared):
    if already_prepared:
        Catalogued.of(tiny, home)
    path = layout / tiny.files[0].path
    path.write_bytes(path.read_bytes()[:-3])
    before = files_below(layout)
    with pytest.raises(DataError, match="is cut short") as caught:
        Catalogued.of(tiny, home, root=layout)
    assert caught.value.where == str(path)
    assert files_below(layout) == before
    assert home.root.exists() == already_prepared  # bad input writes nothing


def test_a_users_other_data_is_not_taken_for_ours(tiny_without_md5, layout, home):
    ours = Catalogued.of(tiny_without_md5, home)
    path = layout / tiny_without_md5.files[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    theirs = Catalogued.of(tiny_without_md5, home, root=layout)
    assert theirs.problem.digest != ours.problem.digest
    assert Catalogued.of(tiny_without_md5, home) == ours


@pytest.mark.parametrize("part", ["search/train_images.npy", "sealed/test_labels.npy"])
def test_damaged_arrays_are_made_anew(tiny, prepared, home, part):
    whole = (prepared.directory / part).read_bytes()
    (prepared.directory / part).write_bytes(whole[:-8])
    assert Catalogued.of(tiny, home) == prepared
    assert (prepared.directory / part).read_bytes() == whole


@pytest.mark.parametrize("record", ["", '{"digest": "0000"}'])
def test_a_damaged_record_is_made_anew(tiny, prepared, home, record):
    path = home.data / "arrays" / "tiny.json"
    path.write_text(record)
    assert Catalogued.of(tiny, home) == prepared
    assert json.loads(path.read_text()) == {"digest": prepared.problem.digest}


def test_arrays_that_vanish_are_a_clear_error(prepared):
    (prepared.directory / "search" / "train_images.npy").unlink()
    with pytest.raises(DataError, match=r"train_images\.npy: cannot be read.*run again"):
        prepared.examples()


def test_what_a_killed_process_left_does_not_hinder_the_next(tiny, home):
    left = home.data / ".staging-tiny" / "arrays" / "search"
    left.mkdir(parents=True)
    (left / "train_images.npy").write_bytes(b"half")
    prepared = Catalogued.of(tiny, home)
    assert prepared.examples().images.shape == (30, 1, 8, 8)


def test_processes_that_prepare_at_once_agree(tiny, home):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        results = [pool.submit(Catalogued.of, tiny, home) for _ in range(4)]
        prepared = {result.result() for result in results}
    assert len(prepared) == 1
    assert not list(home.data.glob(".staging*"))
    assert Catalogued.of(tiny, home) in prepared


def test_an_unwritable_home_is_an_error(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError):
        Catalogued.of(tiny, Home(tmp_path / "file"))


def test_an_unknown_name_writes_nothing(home):
    with pytest.raises(ConfigurationError, match="did you mean 'mnist'"):
        prepare(RunConfig(dataset="minst"), home)
    assert not home.root.exists()


def test_status_tells_what_is_on_disk_and_writes_nothing(home):
    assert [(entry.dataset.name, entry.on_disk, entry.size) for entry in status(home)] == (
        [(name, False, 0) for name in CATALOGUE]
    )
    assert not home.root.exists()


def test_only_evaluation_unseals_the_test_set():
    callers = set()
    for path in [
        p for top in ("flows", "tasks", "pipeline_lib") for p in (PROJECT / top).rglob("*.py")
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "unseal":
                callers.add(str(path.relative_to(PROJECT)))
            if isinstance(node, ast.Constant) and node.value in ("sealed", "unseal"):
                callers.add(str(path.relative_to(PROJECT)))
    assert callers <= {"pipeline_lib/evaluation/final_test.py", "pipeline_lib/data/sealed.py"}


WARM_START = """
import sys
from pathlib import Path
from pipeline_lib.config import RunConfig
from pipeline_lib.data.source import prepare
from pipeline_lib.home import Home
prepare(RunConfig(dataset="mnist"), Home(Path(sys.argv[1])), print)
print(*({'torch', 'torchvision'} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def real_mnist(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("real"))
    return home, prepare(RunConfig(dataset="mnist"), home)


@pytest.mark.slow
def test_real_mnist_is_what_torchvision_reads(real_mnist):
    from torchvision import datasets

    home, prepared = real_mnist
    parts = ((True, prepared.examples()), (False, prepared.test_set.unseal()))
    for train, examples in parts:
        reference = datasets.MNIST(home.data, train=train)
        assert np.array_equal(examples.images[:, 0], reference.data.numpy())
        assert np.array_equal(examples.targets, reference.targets.numpy())


@pytest.mark.slow
def test_a_warm_start_needs_no_torch_and_says_nothing(real_mnist):
    home, _ = real_mnist
    command = [sys.executable, "-c", WARM_START, str(home.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


@pytest.mark.slow
def test_a_corrupt_mnist_file_of_the_user_is_refused_though_the_home_is_ready(real_mnist, tmp_path):
    home, _ = real_mnist
    for file in CATALOGUE["mnist"].files:
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((home.data / file.path).read_bytes())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="does not have the MD5 27ae3e4e"):
        prepare(RunConfig(dataset="mnist", data_root=str(tmp_path)), home)
