"""The chapter's family: its define-by-run ConvNet, space and fidelity, exactly.

"PyTorch and AutoML", Mastering PyTorch, ch. 12. Two epochs at a constant learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the process that searches has no torch
    from optuna.trial import BaseTrial
    from torch import nn

    from pipeline_lib.data.problem import Problem

RAW_PIXELS = True
PASSES = (1, 2)
schedule = None


def space(trial: BaseTrial, problem: Problem, budget: float) -> dict[str, Any]:
    """The chapter's space, exactly; its learning rates stop Adam and RMSprop from learning."""
    chosen: dict[str, Any] = {"num_conv_layers": trial.suggest_int("num_conv_layers", 1, 4)}
    for i in range(chosen["num_conv_layers"]):
        chosen[f"conv_depth_{i}"] = trial.suggest_int(f"conv_depth_{i}", 16, 64)
    chosen["conv_dropout"] = trial.suggest_float("conv_dropout", 0.1, 0.4)
    chosen["num_fc_layers"] = trial.suggest_int("num_fc_layers", 1, 2)
    for i in range(chosen["num_fc_layers"]):
        chosen[f"fc_output_feat_{i}"] = trial.suggest_int(f"fc_output_feat_{i}", 16, 64)
        chosen[f"fc_dropout_{i}"] = trial.suggest_float(f"fc_dropout_{i}", 0.1, 0.4)
    names = ["Adam", "Adadelta", "RMSprop", "SGD"]
    chosen["optimizer"] = trial.suggest_categorical("optimizer", names)
    chosen["lr"] = trial.suggest_float("lr", 0.1, 0.5, log=True)
    chosen["batch_size"] = 32
    return chosen


def architecture(configuration: Mapping[str, Any], problem: Problem) -> dict[str, Any]:
    """The network that a configuration describes, as JSON."""
    from pipeline_lib.models.book import design

    return design(configuration, problem.inputs.shape, len(problem.target))


def build(configuration: Mapping[str, Any], problem: Problem) -> nn.Module:
    """Raw images (B, C, H, W), uint8, to log-probabilities (B, classes)."""
    from pipeline_lib.models.book import BookNet

    return BookNet(architecture(configuration, problem))
