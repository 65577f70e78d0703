"""Every kind of source for a user's own pictures, against the contract of sources."""

from __future__ import annotations

import numpy as np
import pytest
from pictured import CLASSES, EACH, TABLE, folder, module, noise, of, table
from PIL import Image
from source_contract import SourceContract

from pipeline_lib.config import RunConfig
from pipeline_lib.data.sources.given import keep
from pipeline_lib.home import Home


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


class Kept:
    """A subclass gives `source`; `whole`, by content, is what it must hold in all its parts."""

    @pytest.fixture
    def home(self, home):
        return home

    @pytest.fixture
    def whole(self):
        """Label by content of every picture, (C, H, W) as it is to be stored."""
        return {
            noise(1000 * number + at, (8, 8))[None].tobytes(): number
            for number in range(len(CLASSES))
            for at in range(EACH)
        }

    def test_every_picture_is_in_one_part(self, source, whole):
        search, test = source.examples(), source.test_set.unseal()
        found = [image.tobytes() for part in (search, test) for image in part.images]
        assert sorted(found) == sorted(whole)
        assert [whole[image.tobytes()] for image in test.images] == test.targets.tolist()
        assert 0 < len(test) < len(search)


class OwnPictures(Kept, SourceContract):
    """The whole contract, once a kind."""

    @pytest.fixture
    def images(self, source):
        return np.asarray(source.examples().images)

    @pytest.fixture
    def labels(self, source, images, whole):
        return np.array([whole[image.tobytes()] for image in images])


class TestFolder(OwnPictures):
    @pytest.fixture
    def source(self, home, tmp_path):
        return of(folder(tmp_path / "pictures"), home)


class TestCsv(OwnPictures):
    @pytest.fixture
    def source(self, home, tmp_path):
        return of(table(tmp_path / "pictures"), home, **TABLE)


class TestParquet(Kept):
    @pytest.fixture
    def source(self, home, tmp_path):
        return of(table(tmp_path / "pictures", ".parquet"), home, **TABLE)


class TestNpz(OwnPictures):
    @pytest.fixture
    def source(self, home, tmp_path, whole):
        images = np.stack([np.frombuffer(each, np.uint8).reshape(8, 8) for each in whole])
        np.savez(tmp_path / "some.npz", X=images, y=np.array(list(whole.values())))
        return of(tmp_path / "some.npz", home)


class TestNpzOfFloatsAndNames(Kept):
    @pytest.fixture
    def source(self, home, tmp_path, whole):
        images = np.stack([np.frombuffer(each, np.uint8).reshape(1, 8, 8) for each in whole])
        names = np.array([CLASSES[label] for label in whole.values()])
        np.savez(tmp_path / "some.npz", images=images / 255.0, labels=names)
        return of(tmp_path / "some.npz", home)


class TestGivenArrays(OwnPictures):
    @pytest.fixture
    def source(self, home, whole):
        images = np.stack([np.frombuffer(each, np.uint8).reshape(8, 8) for each in whole])
        return of(keep(home, (images, list(whole.values()))), home)


class TestGivenPictures(Kept):
    @pytest.fixture
    def source(self, home, whole):
        pictures = [Image.frombytes("L", (8, 8), each) for each in whole]
        return of(keep(home, (pictures, [CLASSES[label] for label in whole.values()])), home)


class TestPython(OwnPictures):
    @pytest.fixture
    def whole(self):
        return {noise(number, (8, 8)).tobytes(): number % 3 for number in range(60)}

    @pytest.fixture
    def source(self, home, tmp_path):
        return of(f"{module(tmp_path / 'code')}:grey", home)


class TestTensorsOfFloats(Kept):
    @pytest.fixture
    def whole(self):
        return {noise(number, (8, 8)).tobytes(): number % 3 for number in range(60)}

    @pytest.fixture
    def source(self, home, tmp_path):
        return of(f"{module(tmp_path / 'code')}:tensors", home)


class TestColourPartsOfPython(Kept):
    @pytest.fixture
    def whole(self):
        pictures = [noise(number, (8, 10, 3)).transpose(2, 0, 1) for number in range(120)]
        return {picture.tobytes(): number % 3 for number, picture in enumerate(pictures)}

    @pytest.fixture
    def source(self, home, tmp_path):
        return of(f"{module(tmp_path / 'code')}:parts", home)

    def test_every_picture_is_in_one_part(self, source):
        assert (source.problem.train_size, source.problem.test_size) == (60, 60)
        assert source.problem.target.names == CLASSES


class TestTorchvision(OwnPictures):
    """Country211 is a folder a part, a folder a class, without a digest that it asks for."""

    @pytest.fixture
    def whole(self):
        numbers = range(len(CLASSES))
        return {
            noise(1000 * number + at, (8, 8, 3)).transpose(2, 0, 1).tobytes(): number
            for number in numbers
            for at in range(60)
        }

    @pytest.fixture
    def source(self, home, tmp_path):
        root = tmp_path / "root" / "country211"
        for at, part in enumerate(("train", "valid", "test")):
            folder(root / part, shape=(8, 8, 3), start=at * EACH)
        return of("Country211", home, data_root=str(tmp_path / "root"))

    def test_every_picture_is_in_one_part(self, source):
        assert (source.problem.train_size, source.problem.test_size) == (120, 60)
        assert source.rows().chosen.sum() == 60
        assert source.problem.name == "country211"


class TestMixedSizes(OwnPictures):
    """Content is not kept where pictures are scaled: the labels are told by the grey level."""

    @pytest.fixture
    def source(self, home, tmp_path):
        for number, name in enumerate(CLASSES):
            (tmp_path / "flat" / name).mkdir(parents=True)
            for at in range(EACH):
                colour = (60 * number + at, 5, 250)
                size = (30 + at, 40 + number)
                Image.new("RGB", size, colour).save(tmp_path / "flat" / name / f"{at}.jpg")
        return of(tmp_path / "flat", home, image_size="12x16")

    @pytest.fixture
    def labels(self, images):
        return images[:, 0].mean(axis=(1, 2)).astype(int) // 60

    def test_every_picture_is_in_one_part(self, source):
        assert source.problem.inputs.shape == (3, 12, 16)
        assert source.problem.train_size + source.problem.test_size == 60


def test_what_is_prepared_is_found_again(home, tmp_path, monkeypatch):
    root = folder(tmp_path / "pictures")
    first = of(root, home)
    monkeypatch.setattr("pipeline_lib.data.sources.conversion._decode", None)  # not asked again
    assert of(root, home) == first
    moved = root.rename(tmp_path / "elsewhere")
    assert of(moved, home, problem="pictures") == first


def test_sources_are_light_to_look_up():
    """The parent of a run imports no torch for a folder."""
    import subprocess
    import sys

    code = "import sys; from pipeline_lib.data.sources import folder, arrays, table, python; "
    code += "print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_configuration_names_the_problem():
    assert RunConfig(dataset="./some pictures/").problem_name == "some-pictures"
    assert RunConfig(dataset="/a/b.csv").problem_name == "b"
    assert RunConfig(dataset="/a/v1.2").problem_name == "v1.2"
    assert RunConfig(dataset="mine.py:load").problem_name == "mine"
    assert RunConfig(dataset="mnist", problem="digits").problem_name == "digits"
