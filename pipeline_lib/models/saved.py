"""Networks: built from an architecture, kept as JSON and safetensors, never pickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline_lib import names
from pipeline_lib.errors import ModelError
from pipeline_lib.files import write_whole, written_aside
from pipeline_lib.models import ensemble

ARCHITECTURE = "architecture.json"
WEIGHTS = "weights.safetensors"

# What the reading of damaged files and the building of senseless architectures raise.
_UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError
)  # fmt: skip


def build_model(architecture: Mapping[str, Any]) -> nn.Module:
    """A fresh network: raw images (B, C, H, W), 0…255, to logits (B, classes).

    Raises:
        ModelError: The architecture is of no known kind.
        FamilyError: It is of a user's family that this home does not have.
    """
    kind = architecture.get("kind")
    if not isinstance(kind, str) or kind not in names.KINDS:
        remedy = "it was written by another version of automl"
        raise ModelError("architecture", "is of an unknown kind", value=kind, remedy=remedy)
    model: nn.Module = names.load(names.KINDS[kind])(dict(architecture))
    return model


def build_ensemble(architecture: Mapping[str, Any]) -> nn.Module:
    """An ensemble and its members."""
    members = architecture["members"]
    networks = [build_model(member["architecture"]) for member in members]
    weights = [member["weight"] for member in members]
    temperatures = [member.get("temperature", 1.0) for member in members]  # older: none
    return ensemble.Ensemble(networks, weights, temperatures)


def save_model(model: nn.Module, architecture: Mapping[str, Any], directory: Path) -> None:
    """Write weights and architecture; each file appears whole or not at all."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with written_aside(directory / WEIGHTS) as aside:
        save_file(state, aside)
    described = json.dumps(architecture, indent=1, sort_keys=True)
    write_whole(directory / ARCHITECTURE, f"{described}\n")


def model_digest(directory: Path) -> str:
    """SHA-256 over a model's files: the same for the same network, wherever it is kept.

    Raises:
        ModelError: A file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for name in (ARCHITECTURE, WEIGHTS):
            digest.update((directory / name).read_bytes())
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise ModelError("model", problem, value=str(directory)) from error
    return digest.hexdigest()


def load_model(directory: Path) -> nn.Module:
    """The network kept in a directory, in evaluation mode.

    Raises:
        ModelError: A file is missing or does not belong to the other.
        FamilyError: The model is of a user's family that this home does not have.
    """
    try:
        architecture = json.loads((directory / ARCHITECTURE).read_text(encoding="utf-8"))
        model = build_model(architecture)
        model.load_state_dict(load_file(directory / WEIGHTS))
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise ModelError("model", f"cannot be read ({reason})", value=str(directory)) from error
    return model.eval().to(memory_format=torch.channels_last)
