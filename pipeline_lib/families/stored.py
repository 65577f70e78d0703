"""Networks of a user's family, built again from what is stored of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from pipeline_lib.data.problem import Problem
from pipeline_lib.errors import FamilyError
from pipeline_lib.families.asking import explained
from pipeline_lib.families.family import Family, copy_of


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """A fresh network: raw images (B, C, H, W), 0…255, to logits (B, classes).

    The code comes from the home, where it was copied to when a user named it; never from a model's
    own directory.

    Raises:
        FamilyError: The home has no such copy.
    """
    name, sha256 = str(architecture["family"]), str(architecture["sha256"])
    file = copy_of(sha256)
    if not re.fullmatch(r"[0-9a-f]{64}", sha256) or not file.is_file():
        problem = f"the family of this model, with SHA-256 {sha256[:12]}…, is not in this home"
        remedy = f"copy the original {name} to {file}, or set AUTOML_HOME to the home that has it"
        raise FamilyError(name, problem, remedy=remedy)
    family = Family(name, file, sha256)
    with explained(family):
        return family.build(
            architecture["configuration"], Problem.from_json(architecture["problem"])
        )
