"""What a name stands for: tables of addresses, loaded when they are used.

An address is `module` or `module:object`. So a configuration can check a name, and the command line
list all of them, without importing an engine. To add one: write its file, add its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

SOURCES: Mapping[str, str] = {
    "catalogue": "pipeline_lib.data.sources.catalogued:Catalogued",
    "folder": "pipeline_lib.data.sources.folder:Folder",
    "table": "pipeline_lib.data.sources.table:Table",
    "arrays": "pipeline_lib.data.sources.arrays:NpzFile",
    "python": "pipeline_lib.data.sources.python:PythonFunction",
    "torchvision": "pipeline_lib.data.sources.torchvision:TorchvisionSet",
    "given": "pipeline_lib.data.sources.given:Given",
}
ENGINES: Mapping[str, str] = {
    "optuna": "pipeline_lib.search.optuna:OptunaEngine",
    "autopytorch": "pipeline_lib.search.autopytorch.engine:AutoPytorchEngine",
}
FAMILIES: Mapping[str, str] = {
    "convnet": "pipeline_lib.families.convnet",
    "resnet": "pipeline_lib.families.resnet",
    "book": "pipeline_lib.families.book",
}
SAMPLERS: Mapping[str, str] = {
    "tpe": "pipeline_lib.search.samplers.tpe:make",
    "cmaes": "pipeline_lib.search.samplers.cmaes:make",
    "random": "pipeline_lib.search.samplers.random:make",
}
PRUNERS: Mapping[str, str] = {
    "rungs": "pipeline_lib.search.pruners.rungs:make",
    "median": "pipeline_lib.search.pruners.median:make",
    "none": "pipeline_lib.search.pruners.none:make",
}
DATASETS = "pipeline_lib.data.sources.catalogue"
"""The table of data sets, which has more than an address to say of each."""
TORCHVISION = "pipeline_lib.data.sources.torchvision_sets"
"""The table of torchvision's data sets."""

KINDS: Mapping[str, str] = {
    "convnet": "pipeline_lib.models.convnet:ConvNet",
    "resnet": "pipeline_lib.models.resnet:ResNet",
    "book": "pipeline_lib.models.book:BookNet",
    "autopytorch": "pipeline_lib.models.exported:build",
    "ensemble": "pipeline_lib.models.saved:build_ensemble",
    "family": "pipeline_lib.families.stored:build",
}
"""What builds a stored network, by the `kind` in its architecture."""


def load(address: str) -> Any:
    """The module or object at an address."""
    module, _, name = address.partition(":")
    found = import_module(module)
    return getattr(found, name) if name else found
