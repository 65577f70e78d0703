import base64
import io
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from pipeline_lib.data.examples import MappedExamples
from pipeline_lib.data.sealed import SealedTestSet
from pipeline_lib.evaluation.final_test import _mistakes, evaluate_once, read_figures, summarise
from pipeline_lib.evaluation.ledger import Entry, readings
from pipeline_lib.home import Home
from pipeline_lib.models.convnet import design
from pipeline_lib.models.saved import build_model, load_model, model_digest, save_model
from pipeline_lib.selection.calibration import expected_calibration_error, reliability
from pipeline_lib.training.loop import EVALUATION_BATCH, predict

DIGITS = tuple("0123456789")
Z = 1.959963984540054  # the normal quantile of 97.5 %

ARCHITECTURE = design(
    {"multiply_adds": 2e5, "stem": "stride", "stem_kernel": 5, "conv3": 0.0, "padding": "valid",
     "fc": 0, "dropout": 0.0}, (1, 28, 28), 10,
)  # fmt: skip


def of(correct, total):
    """The summary of so many right answers out of so many, in two classes."""
    labels = np.zeros(total, dtype=np.int64)
    predicted = (np.arange(total) >= correct).astype(np.int64)
    return summarise(labels, predicted, ("a", "b"))


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3 (score, no correction).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons_as_published(correct, total, low, high):
    assert of(correct, total).interval == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 20_000), st.floats(0, 1))
def test_the_interval_solves_wilsons_equation(total, share):
    """Its bounds are the p whose distance to the observed share is z standard errors at p."""
    correct = round(share * total)
    result = of(correct, total)
    low, high = result.interval
    assert 0 <= low <= result.accuracy <= high <= 1
    for bound in (low, high):
        error = Z * math.sqrt(max(bound * (1 - bound), 0.0) / total)
        assert abs(bound - result.accuracy) == pytest.approx(error, abs=1e-7)


@st.composite
def answers(draw):
    classes = draw(st.integers(2, 6))
    label = st.integers(0, classes - 1)
    pairs = draw(st.lists(st.tuples(label, label), min_size=1, max_size=60))
    labels, predicted = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    return classes, labels, predicted


@given(answers())
def test_figures_agree_with_scikit_learn(case):
    count, labels, predicted = case
    names = tuple(f"class {number}" for number in range(count))
    result = summarise(labels, predicted, names)
    every = list(range(count))
    assert np.array_equal(result.confusion, confusion_matrix(labels, predicted, labels=every))
    assert result.accuracy == pytest.approx(accuracy_score(labels, predicted))
    expected = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    for index, row in enumerate(result.classes):
        assert row.name == names[index]
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(
            tuple(column[index] for column in expected)
        )
    assert result.size == len(labels) == sum(map(sum, result.confusion))


def test_a_result_is_json():
    assert json.loads(json.dumps(of(3, 4).as_json()))["accuracy"] == 0.75


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def kept(tmp_path):
    torch.manual_seed(0)
    save_model(build_model(ARCHITECTURE), ARCHITECTURE, tmp_path / "model")
    return tmp_path / "model"


def arrays_of(data):
    sealed = data.directory / "sealed"
    return np.load(sealed / "test_images.npy"), np.load(sealed / "test_labels.npy")


def logits_of(model, images):
    return predict(load_model(model), torch.from_numpy(images).split(EVALUATION_BATCH))


def entry_of(kept, test_set, home):
    return Entry(home, test_set, "run/optuna-0001", model_digest(kept))


def test_a_model_is_measured_on_all_real_test_images_and_entered(small_mnist, kept, home):
    test_set = small_mnist.test_set
    result = evaluate_once(entry_of(kept, test_set, home), load_model(kept), DIGITS)
    images, labels = arrays_of(small_mnist)
    predicted = logits_of(kept, images).argmax(1).numpy()
    plain = summarise(labels, predicted, DIGITS, reading=1)
    assert replace(result, calibration=None, robustness={}, mistakes=()) == plain
    assert result.size == 400
    (entry,) = readings(home, small_mnist.problem.digest)
    assert entry["model"] == "run/optuna-0001"
    assert entry["dataset"] == "mnist"


def test_the_same_reading_says_how_sure_how_robust_and_where_wrong(small_mnist, kept, home):
    entry = entry_of(kept, small_mnist.test_set, home)
    result = evaluate_once(entry, load_model(kept), DIGITS, temperature=2.0)
    assert len(readings(home, small_mnist.problem.digest)) == 1
    images, labels = arrays_of(small_mnist)
    logits = logits_of(kept, images)

    found = result.calibration
    assert found.temperature == 2.0
    assert found.bins == reliability(logits.numpy(), labels)
    assert found.bins_scaled == reliability(logits.numpy(), labels, 2.0)
    assert found.error == expected_calibration_error(found.bins)
    assert found.error_scaled == expected_calibration_error(found.bins_scaled) != found.error
    assert f"{found.error:.2%}, {found.error_scaled:.2%} at the temperature 2.00" in (
        found.sentence()
    )

    assert len(result.robustness) == 3
    assert all(0 <= accuracy <= 1 for accuracy in result.robustness.values())

    probabilities = (logits / 2.0).softmax(1)  # as confident as the registered model will be
    sure = [mistake.confidence for mistake in result.mistakes]
    assert len(sure) == 25
    assert sure == sorted(sure, reverse=True)
    wrong = probabilities.argmax(1).numpy() != labels
    assert sure[0] == pytest.approx(float(probabilities.max(1).values[wrong].max()), abs=1e-6)
    for mistake in result.mistakes:
        assert mistake.label == str(labels[mistake.image]) != mistake.predicted
        assert mistake.predicted == str(int(probabilities[mistake.image].argmax()))
    json.dumps(result.as_json())


def test_the_most_confident_mistakes_are_kept_as_pictures(small_mnist, kept, home):
    entry = entry_of(kept, small_mnist.test_set, home)
    result = evaluate_once(entry, load_model(kept), DIGITS)
    images, labels = arrays_of(small_mnist)
    logits = logits_of(kept, images)
    sure, predicted = logits.softmax(1).max(1)
    wrong = np.flatnonzero(predicted.numpy() != labels)
    assert len(result.mistakes) == 25 < len(wrong)
    assert result.mistakes[0].confidence == pytest.approx(float(sure[wrong].max()))
    confidences = [mistake.confidence for mistake in result.mistakes]
    assert confidences == sorted(confidences, reverse=True)
    for mistake in result.mistakes:
        assert mistake.label == DIGITS[labels[mistake.image]]
        assert mistake.predicted == DIGITS[predicted[mistake.image]] != mistake.label
        with Image.open(io.BytesIO(base64.b64decode(mistake.picture))) as picture:
            assert np.array_equal(np.asarray(picture), images[mistake.image][0])


def test_a_mistake_in_colour_is_kept_in_colour():
    pixels = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)  # (N, C, H, W)
    examples = MappedExamples(pixels, np.array([0, 0]))
    (mistake,) = _mistakes(np.eye(2, dtype=np.float32), examples, ("a", "b"))
    with Image.open(io.BytesIO(base64.b64decode(mistake.picture))) as picture:
        assert np.array_equal(np.asarray(picture), pixels[1].transpose(1, 2, 0))


def test_a_model_that_was_measured_keeps_its_figures_wherever_its_files_are(
    small_mnist, kept, home, tmp_path
):
    test_set = small_mnist.test_set
    entry = entry_of(kept, test_set, home)
    assert read_figures(entry.figures) is None
    first = evaluate_once(entry, load_model(kept), DIGITS)
    shutil.copytree(kept, tmp_path / "again")
    again = entry_of(tmp_path / "again", test_set, home)
    assert (
        read_figures(again.figures)
        == evaluate_once(again, load_model(tmp_path / "again"), DIGITS)
        == first
    )
    assert len(readings(home, small_mnist.problem.digest)) == 1

    torch.manual_seed(1)
    save_model(build_model(ARCHITECTURE), ARCHITECTURE, tmp_path / "other")
    other = entry_of(tmp_path / "other", test_set, home)
    assert evaluate_once(other, load_model(tmp_path / "other"), DIGITS).reading == 2


def test_figures_that_were_lost_cost_another_line_of_the_ledger(small_mnist, kept, home):
    entry = entry_of(kept, small_mnist.test_set, home)
    evaluate_once(entry, load_model(kept), DIGITS)
    entry.figures.write_text('{"accuracy":')
    assert evaluate_once(entry, load_model(kept), DIGITS).reading == 2


def test_readings_are_counted_for_each_data_set_apart(small_mnist, kept, home):
    test_set = small_mnist.test_set
    other = SealedTestSet("other", "d" * 64, test_set.size, test_set._directory)
    models = [(test_set, "a"), (other, "a"), (test_set, "b"), (test_set, "c")]
    entries = [Entry(home, each, "m", digest) for each, digest in models]
    network = load_model(kept)
    assert [evaluate_once(each, network, DIGITS).reading for each in entries] == [1, 1, 2, 3]
    assert len(readings(home, small_mnist.problem.digest)) == 3
    assert len(readings(home, other.digest)) == 1
    assert readings(home, "unknown") == []


def test_a_ledger_that_is_not_there_has_no_readings(home):
    assert readings(home, "any") == []
    assert not home.root.exists()


def test_a_reading_counts_although_the_images_cannot_be_read(kept, home, tmp_path):
    gone = SealedTestSet("mnist", "d" * 64, 400, tmp_path / "gone")
    with pytest.raises(Exception, match="gone"):
        evaluate_once(entry_of(kept, gone, home), load_model(kept), DIGITS)
    assert len(readings(home, gone.digest)) == 1


_ENTER = """
import sys
from pathlib import Path
from pipeline_lib.data.sealed import SealedTestSet
from pipeline_lib.home import Home
from pipeline_lib.evaluation.ledger import Entry
home, who, times = Home(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
test_set = SealedTestSet("mnist", "d" * 64, 1, Path("nowhere"))
print(*[Entry(home, test_set, f"{who}-{number}", "").write() for number in range(times)])
"""


def test_two_processes_that_read_at_once_get_numbers_of_their_own(home):
    times = 60
    root = Path(__file__).parents[1]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _ENTER, str(home.root), who, str(times)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env=dict(os.environ),
        )
        for who in ("one", "other")
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    numbers = [int(word) for writer in writers for word in writer.communicate()[0].split()]
    assert all(writer.returncode == 0 for writer in writers)
    assert sorted(numbers) == list(range(1, 2 * times + 1))
    entered = [entry["model"] for entry in readings(home, "d" * 64)]
    expected = {f"{who}-{number}" for who in ("one", "other") for number in range(times)}
    assert set(entered) == expected
    assert len(entered) == len(expected)
