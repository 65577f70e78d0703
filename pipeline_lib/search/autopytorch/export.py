"""From a fitted Auto-PyTorch pipeline to architecture.json and weights.safetensors.

Runs where Auto-PyTorch runs. What is written needs nothing of it: see `network.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline_lib.files import write_whole, written_aside
from pipeline_lib.models.exported import KIND

Step = tuple[dict[str, Any], dict[str, Tensor]]
"""A preprocessing step as JSON, and its buffers."""

UNSUPPORTED = frozenset({"KernelPCA", "PolynomialFeatures", "RandomTreesEmbedding"})
"""Feature preprocessors that have no module in `preprocessing.py`: refused before training."""

_UNTOUCHED = ("SimpleImputer", "_Imputer")  # pictures have no missing values
_PLAIN = ("ReLU", "Tanh", "Sigmoid", "Flatten")


class CannotExportError(Exception):
    """A part of the pipeline has no plain counterpart."""


def export(pipeline: Any, shape: Sequence[int], directory: Path) -> dict[str, Any]:
    """Write a fitted pipeline for images (C, H, W) to a directory; returns its architecture.

    Raises:
        CannotExportError: A part of it has no plain counterpart.
    """
    network = pipeline.named_steps["network"].get_network().eval()
    transformer = pipeline.named_steps["tabular_transformer"].preprocessor
    steps = _steps(transformer, int(np.prod(shape)))
    architecture = {
        "kind": KIND,
        "shape": list(shape),
        "classes": int(pipeline.dataset_properties["output_shape"]),
        "preprocessing": [spec for spec, _ in steps],
        "network": describe(network),
    }
    state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for number, (_, buffers) in enumerate(steps):
        state |= {f"preprocessing.{number}.{name}": tensor for name, tensor in buffers.items()}
    with written_aside(directory / "weights.safetensors") as aside:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, aside)
    described = json.dumps(architecture, indent=1, sort_keys=True)
    write_whole(directory / "architecture.json", f"{described}\n")
    return architecture


def describe(module: nn.Module) -> dict[str, Any]:
    """A network's layers as JSON that `network.py` builds from.

    Raises:
        CannotExportError: It holds a layer of another kind.
    """
    name = type(module).__name__
    if isinstance(module, nn.Sequential):
        return {"layer": "Sequential", "layers": [describe(child) for child in module]}
    if isinstance(module, nn.Linear):
        return {"layer": name, "in": module.in_features, "out": module.out_features}
    if isinstance(module, nn.BatchNorm1d):
        return {"layer": name, "features": module.num_features, "eps": module.eps}
    if isinstance(module, nn.Dropout):
        return {"layer": name, "p": module.p}
    if name == "_NoEmbedding":
        return {"layer": "Identity"}
    if name == "ResBlock":
        return _describe_block(module)
    if name in _PLAIN:
        return {"layer": name}
    raise CannotExportError(f"the layer {name} has no plain counterpart")


def _describe_block(block: Any) -> dict[str, Any]:
    """A residual block, with the factor that shake-drop applies outside training."""
    scale = 1.0
    if block.config["use_shake_drop"]:
        depth = (block.block_index + 1) / block.num_blocks
        kept = 1 - depth * block.config["max_shake_drop_probability"]
        scale = kept + 0.5 - kept * 0.5
    twin = block.shake_shake_layers if block.config["use_shake_shake"] else None
    return {
        "layer": "ResBlock",
        "start_norm": describe(block.start_norm) if block.start_norm is not None else None,
        "shortcut": describe(block.shortcut) if block.shortcut is not None else None,
        "layers": describe(block.layers),
        "shake_shake": describe(twin) if twin is not None else None,
        "scale": scale,
    }


def _steps(transformer: Any, features: int) -> list[Step]:
    """The fitted column transformer, which has all columns in one pipeline, step by step."""
    parts = [part for part in transformer.transformers_ if part[0] != "remainder"]
    if len(parts) != 1 or list(parts[0][2]) != list(range(features)):
        raise CannotExportError("the columns are not all treated alike")
    fitted = [estimator for _, estimator in parts[0][1].steps]
    return [step for estimator in fitted for step in _step(estimator)]


def _step(estimator: Any) -> list[Step]:
    name = type(estimator).__name__
    if name in _UNTOUCHED:
        return []
    if hasattr(estimator, "get_support"):
        indices = torch.from_numpy(np.flatnonzero(estimator.get_support()).astype(np.int64))
        return [_made("select", {"indices": indices})]
    if name not in _EXPORTS:
        raise CannotExportError(f"the preprocessing {name} has no plain counterpart")
    return _EXPORTS[name](estimator)


def _made(step: str, buffers: Mapping[str, Any], **settings: Any) -> Step:
    tensors = {
        name: value if name == "indices" else torch.as_tensor(np.asarray(value)).float()
        for name, value in buffers.items()
    }
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    return {"step": step, "buffers": shapes, **settings}, tensors


def _standardize(shift: Any, scale: Any) -> Step:
    return _made("standardize", {"shift": shift, "scale": scale})


def _min_max(scaler: Any) -> list[Step]:
    # x * scale_ + min_, with the signs of (x - shift) / scale
    return [_standardize(-scaler.min_ / scaler.scale_, 1 / scaler.scale_)]


def _robust(scaler: Any) -> list[Step]:
    return [_standardize(scaler.center_, scaler.scale_)]


def _standard(scaler: Any) -> list[Step]:
    return [_standardize(scaler.mean_, scaler.scale_)]


def _power(scaler: Any) -> list[Step]:
    power = _made("yeo_johnson", {"exponent": scaler.lambdas_})
    return [power, *_standard(scaler._scaler)]


def _rows(normalizer: Any) -> list[Step]:
    return [_made("normalize_rows", {}, norm=normalizer.norm)]


def _svd(reducer: Any) -> list[Step]:
    components = reducer.components_
    return [_made("project", {"shift": np.zeros(components.shape[1]), "matrix": components.T})]


def _pca(reducer: Any) -> list[Step]:
    matrix = reducer.components_.T
    if reducer.whiten:
        matrix = matrix / np.sqrt(reducer.explained_variance_)
    return [_made("project", {"shift": reducer.mean_, "matrix": matrix})]


def _ica(reducer: Any) -> list[Step]:
    components = reducer.components_
    shift = reducer.mean_ if reducer.whiten else np.zeros(components.shape[1])
    return [_made("project", {"shift": shift, "matrix": components.T})]


def _agglomeration(reducer: Any) -> list[Step]:
    if reducer.pooling_func is not np.mean:
        raise CannotExportError("feature agglomeration is exported for means only")
    matrix = np.eye(reducer.n_clusters_)[reducer.labels_]
    return [_made("project", {"shift": np.zeros(len(matrix)), "matrix": matrix / matrix.sum(0)})]


def _fourier(sampler: Any) -> list[Step]:
    buffers = {"matrix": sampler.random_weights_, "offset": sampler.random_offset_}
    return [_made("random_fourier", buffers)]


def _nystroem(sampler: Any) -> list[Step]:
    if sampler.kernel == "chi2":
        raise CannotExportError("the chi2 kernel has no plain counterpart")
    rows = sampler.components_
    settings = {
        "kernel": sampler.kernel,
        "gamma": float(sampler.gamma) if sampler.gamma is not None else 1 / rows.shape[1],
        "offset": float(sampler.coef0) if sampler.coef0 is not None else 1.0,
        "degree": float(sampler.degree) if sampler.degree is not None else 3.0,
    }
    buffers = {"rows": rows, "matrix": sampler.normalization_.T}
    return [_made("kernel_map", buffers, **settings)]


_EXPORTS = {
    "MinMaxScaler": _min_max,
    "RobustScaler": _robust,
    "StandardScaler": _standard,
    "PowerTransformer": _power,
    "Normalizer": _rows,
    "TruncatedSVD": _svd,
    "PCA": _pca,
    "FastICA": _ica,
    "FeatureAgglomeration": _agglomeration,
    "RBFSampler": _fourier,
    "Nystroem": _nystroem,
}
