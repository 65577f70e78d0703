import subprocess
import sys

import pytest

from pipeline_lib.data.sources.catalogue import CATALOGUE, find
from pipeline_lib.errors import DataError


def test_an_unknown_name_names_the_nearest_and_lists_all():
    with pytest.raises(DataError) as caught:
        find("fasion_mnist")
    assert str(caught.value) == (
        "dataset: is unknown, got 'fasion_mnist'; did you mean fashion-mnist? "
        "there are mnist, fashion-mnist, kmnist, emnist-balanced, cifar10"
    )


def test_a_name_like_no_other_gets_no_guess():
    with pytest.raises(DataError) as caught:
        find("zzz")
    assert "did you mean" not in str(caught.value)
    assert "there are mnist" in str(caught.value)


def test_the_catalogue_is_read_without_numpy_or_torch():
    code = (
        "import sys, pipeline_lib.data.sources.catalogue\n"
        "print(*({'numpy', 'torch', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_the_catalogue_agrees_with_torchvision():
    from torchvision import datasets

    for dataset in CATALOGUE.values():
        assert hasattr(datasets, dataset.torchvision_class)
    for name in ("fashion-mnist", "kmnist"):
        entry = CATALOGUE[name]
        assert list(entry.classes) == getattr(datasets, entry.torchvision_class).classes
    assert (
        list(CATALOGUE["emnist-balanced"].classes)
        == (datasets.EMNIST.classes_split_dict["balanced"])
    )
    cifar = datasets.CIFAR10
    pinned = [*cifar.train_list, *cifar.test_list, [cifar.meta["filename"], cifar.meta["md5"]]]
    assert [[file.path, file.md5] for file in CATALOGUE["cifar10"].files] == (
        [[f"{cifar.base_folder}/{file}", md5] for file, md5 in pinned]
    )
