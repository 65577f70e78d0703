"""What is exported predicts what Auto-PyTorch predicts; each step does what scikit-learn does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.base import clone
from sklearn.cluster import FeatureAgglomeration
from sklearn.decomposition import PCA, FastICA, TruncatedSVD
from sklearn.feature_selection import SelectPercentile, VarianceThreshold
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.preprocessing import (
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from pipeline_lib.data.sources.catalogued import Catalogued
from pipeline_lib.data.splits import Split
from pipeline_lib.home import Home
from pipeline_lib.models.exported import build, multiply_adds
from pipeline_lib.models.exported_steps import build_step
from pipeline_lib.search.autopytorch import environment
from pipeline_lib.search.autopytorch.export import CannotExportError, _step

BACKBONE = "network_backbone:__choice__"
SHAPED = "network_backbone:ShapedResNetBackbone"
CHOICES: dict[str, dict[str, Any]] = {
    "shaped_mlp": {"scaler:__choice__": "MinMaxScaler"},
    "shaped_resnet": {
        BACKBONE: "ShapedResNetBackbone",
        f"{SHAPED}:use_shake_shake": True,
        f"{SHAPED}:use_shake_drop": True,
        f"{SHAPED}:max_shake_drop_probability": 0.7,
        "scaler:__choice__": "StandardScaler",
        "feature_preprocessor:__choice__": "TruncatedSVD",
    },
    "resnet": {
        BACKBONE: "ResNetBackbone",
        "network_backbone:ResNetBackbone:activation": "tanh",
        "network_backbone:ResNetBackbone:use_shake_shake": False,
        "network_backbone:ResNetBackbone:use_shake_drop": False,
        "scaler:__choice__": "RobustScaler",
        "feature_preprocessor:__choice__": "PCA",
    },
    "mlp": {
        BACKBONE: "MLPBackbone",
        "network_backbone:MLPBackbone:activation": "sigmoid",
        "scaler:__choice__": "Normalizer",
        "feature_preprocessor:__choice__": "SelectPercentileClassification",
        "network_head:fully_connected:num_layers": 3,
    },
    "kernel": {
        "scaler:__choice__": "PowerTransformer",
        "feature_preprocessor:__choice__": "Nystroem",
        "feature_preprocessor:Nystroem:kernel": "rbf",
    },
}

COUNTS = {"shaped_mlp": 10_000} | dict.fromkeys(CHOICES.keys() - {"shaped_mlp"}, 300)
"""Auto-PyTorch itself predicts row by row, at 3 ms and more a row."""

STEPS = {
    "minmax": MinMaxScaler(),
    "standard": StandardScaler(),
    "robust": RobustScaler(),
    "l1": Normalizer(norm="l1"),
    "l2": Normalizer(norm="l2"),
    "max": Normalizer(norm="max"),
    "power": PowerTransformer(),
    "svd": TruncatedSVD(20, random_state=0),
    "pca": PCA(20, random_state=0),
    "pca_white": PCA(20, whiten=True, random_state=0),
    "ica": FastICA(10, whiten="unit-variance", random_state=0, max_iter=1000, tol=0.01),
    "agglomeration": FeatureAgglomeration(10),
    "variance": VarianceThreshold(),
    "percentile": SelectPercentile(percentile=40),
    "fourier": RBFSampler(gamma=0.01, n_components=30, random_state=0),
    "nystroem_rbf": Nystroem("rbf", gamma=0.02, n_components=30, random_state=0),
    "nystroem_poly": Nystroem(
        "poly", gamma=0.02, coef0=0.5, degree=2, n_components=30, random_state=0
    ),
    "nystroem_sigmoid": Nystroem("sigmoid", gamma=0.005, coef0=0.1, n_components=9, random_state=0),
    "nystroem_cosine": Nystroem("cosine", n_components=30, random_state=0),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_does_what_scikit_learn_does(name: str) -> None:
    rng = np.random.default_rng(1)
    matrix = (rng.random((300, 40)) ** 3 * 5 - 0.3).astype(np.float32)
    if name == "variance":
        matrix[:, 7] = 0.0
    matrix[3] = 0.0
    labels = rng.integers(0, 4, 300)
    estimator = clone(STEPS[name]).fit(matrix, labels)
    expected = estimator.transform(matrix)
    x = torch.from_numpy(matrix)
    for spec, buffers in _step(estimator):
        module = build_step(json.loads(json.dumps(spec)))
        module.load_state_dict(buffers)
        x = module(x)
    assert np.allclose(x.numpy(), expected, rtol=1e-3, atol=2e-4)


def test_what_has_no_counterpart_is_named() -> None:
    fitted = QuantileTransformer(n_quantiles=10).fit(np.arange(100.0).reshape(50, 2))
    with pytest.raises(CannotExportError, match="QuantileTransformer"):
        _step(fitted)


@pytest.fixture(scope="module")
def exports(
    engine_home: Home,
    small_data: Split,
    mnist: Catalogued,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Pipelines of every backbone, fitted, predicted by Auto-PyTorch itself, and exported."""
    directory = tmp_path_factory.mktemp("exports")
    np.save(directory / "train.npy", small_data.train)
    np.save(directory / "validation.npy", small_data.validation)
    np.save(directory / "rows.npy", mnist.examples().images[-10_000:])
    job = {
        "directory": str(directory),
        "problem": small_data.problem.as_json(),
        "source": small_data.source.as_json(engine_home),
        "rows": str(directory / "rows.npy"),
        "choices": CHOICES,
        "counts": COUNTS,
    }
    script = Path(__file__).with_name("fit_and_predict.py")
    command = [str(environment.python(engine_home)), str(script)]
    run = subprocess.run(
        command, input=json.dumps(job), text=True, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_it_predicts_what_autopytorch_predicts(exports: Path, name: str, kind: torch.dtype) -> None:
    architecture = json.loads((exports / name / "architecture.json").read_text())
    assert architecture["kind"] == "autopytorch"
    network = build(architecture)
    network.load_state_dict(load_file(exports / name / "weights.safetensors"))
    theirs = np.load(exports / f"{name}.npy")
    pictures = torch.from_numpy(np.load(exports / "rows.npy"))[: len(theirs)].to(kind)
    with torch.inference_mode():
        ours = network.eval()(pictures).softmax(1).numpy()
        last = network.to(memory_format=torch.channels_last)(
            pictures.to(memory_format=torch.channels_last)
        )
    assert len(theirs) == COUNTS[name]
    assert np.array_equal(ours.argmax(1), theirs.argmax(1))
    assert np.abs(ours - theirs).max() < 1e-4
    assert np.abs(last.softmax(1).numpy() - ours).max() < 1e-6
    weights = sum(t.numel() for t in network.parameters() if t.dim() == 2)
    assert multiply_adds(architecture) >= weights
