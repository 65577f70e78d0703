"""How any network is made to take a problem's raw inputs."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from pipeline_lib.data.problem import Image
from pipeline_lib.models.convnet import Normalise


def normalised(network: nn.Module, inputs: Image) -> nn.Module:
    """The network behind a layer that normalises raw pixels (B, C, H, W), 0…255."""
    return nn.Sequential(OrderedDict(normalise=Normalise(inputs.channels), network=network))


def with_shapes(network: nn.Module, inputs: Image) -> nn.Module:
    """The network; lazy layers, where it has any, take their shapes from an example."""
    if any(map(is_lazy, network.parameters())):
        with torch.no_grad():
            network.eval()(torch.zeros(1, *inputs.shape, dtype=torch.uint8))  # (1, C, H, W)
        network.train()
    return network
