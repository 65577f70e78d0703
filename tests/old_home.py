"""`python tests/old_home.py REVISION DIRECTORY`: the home that `test_old_home.py` opens, made anew.

REVISION is that before issue 20, 7c4bf34: its own code makes the home, by the names that its
modules had. Left are `fixtures/home-before-20.tar.xz`, and in `home-before-20.json` what that
revision said of it. DIRECTORY must not be there, and AUTOML_TEST_HOME (.automl-test) must have
MNIST, and may have Auto-PyTorch's environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
ARCHIVE = TESTS / "fixtures" / "home-before-20.tar.xz"
FACTS = ARCHIVE.with_name("home-before-20.json")
PICTURES = 8  # of the test set, whose probabilities are kept

_SMALL: dict[str, Any] = {"workers": 1, "first_rung": 300, "validation_share": 0.2}
_OPTUNA = {**_SMALL, "engine": "optuna"}
_NARROW = [
    {"node": "feature_preprocessor", "hyperparameter": "TruncatedSVD:target_dim",
     "range": [0.02, 0.04]},
    {"node": "network_backbone", "hyperparameter": "ShapedResNetBackbone:max_units",
     "range": [16, 32], "log": True},
]  # fmt: skip
RUNS: dict[str, dict[str, Any]] = {
    "first": {**_OPTUNA, "budget_seconds": 380, "trials": 4, "seed": 20},
    "book": {**_OPTUNA, "budget_seconds": 60, "trials": 1, "seed": 1, "space": "book"},
    "apt": {**_SMALL, "engine": "autopytorch", "budget_seconds": 60, "trials": 1, "ensemble": 1,
            "space": "tiny_cs", "search_space_updates": _NARROW},
    "unfinished": {**_OPTUNA, "budget_seconds": 60, "trials": 4, "seed": 6, "ensemble": 1},
}  # fmt: skip
"""What each run was asked. `first` leaves the champion and an ensemble; `unfinished` is killed."""


def main() -> None:
    """Make the home with the code of a revision, and pack it."""
    revision, directory = sys.argv[1], Path(sys.argv[2]).absolute()
    sys.path.insert(0, str(TESTS.parent))
    from benchmarks.same_bits import worktree

    with worktree(revision) as tree:
        for part, expected in (("finished", 0), ("unfinished", -signal.SIGKILL), ("facts", 0)):
            if (ended := _with_code_of(tree, part, directory)) != expected:
                sys.exit(f"{part} ended with {ended}")
    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        archive.add(directory, "home", filter=_packed)
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size} bytes")


def _with_code_of(tree: Path, part: str, directory: Path) -> int:
    """Run a part of this script with another tree's modules; returns its exit code."""
    # Its own tests/ as well: its small_mnist.py knows where its modules are.
    path = os.pathsep.join((str(tree), str(tree / "tests")))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, str(Path(__file__).resolve()), part, str(directory)]
    child = subprocess.Popen(command, cwd=tree, env=environment, start_new_session=True)
    ended = child.wait()
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # what a killed one has left running
    return ended


def _packed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """A member of the archive, of no owner; None for what it goes without.

    That is locks, links to elsewhere, and what `automl report` draws anew: 2 MB of plotly a run.
    """
    member.uname = member.gname = ""
    member.uid = member.gid = 0
    left_out = member.issym() or member.name.endswith((".lock", ".html", ".png", ".pdf"))
    return None if left_out else member


def finished(directory: Path) -> None:
    """Every run but the one that is killed, without the weights of the trials that lost."""
    from pipeline_lib.cleaning import Policy, clean

    home = _home(directory)
    for name in RUNS:
        if name != "unfinished" and (name != "apt" or home.engines.is_dir()):
            _find(name, home)
    clean(home, Policy(best=1, last=0), dry_run=False)


def unfinished(directory: Path) -> None:
    """A search that is killed while it trains its second trial."""
    home = _home(directory)
    second = home.study("unfinished") / "optuna" / "trials" / "0001"

    def kill() -> None:
        while not second.exists():
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    _find("unfinished", home)
    sys.exit("it was not killed in time")


def facts(directory: Path) -> None:
    """What this revision says of the home."""
    home = _home(directory)
    FACTS.write_text(json.dumps(_facts(home), indent=1) + "\n", encoding="utf-8")
    home.engines.unlink(missing_ok=True)


def _home(directory: Path) -> Any:
    """The home, which has small MNIST under the name of MNIST, and another's Auto-PyTorch."""
    from small_mnist import prepare_small, small_dataset

    from pipeline_lib.data import catalogue
    from pipeline_lib.data.prepared import prepare
    from pipeline_lib.home import Home

    default = TESTS.parent / ".automl-test"
    shared = Home(Path(os.environ.get("AUTOML_TEST_HOME") or default).absolute())
    mnist = prepare("mnist", shared)
    home = Home(directory)
    home.root.mkdir(parents=True, exist_ok=True)
    if not home.engines.exists() and shared.engines.is_dir():
        home.engines.symlink_to(shared.engines)
    catalogue.CATALOGUE = {**catalogue.CATALOGUE, "mnist": small_dataset()}
    prepare_small(mnist, home)
    return home


def _find(name: str, home: Any) -> None:
    from pipeline_lib import RunConfig, find_model

    find_model(RunConfig(name=name, **RUNS[name]), home)


def _facts(home: Any) -> dict[str, Any]:
    """What stands in the home, as JSON."""
    import numpy as np
    import torch

    from pipeline_lib.data.prepared import prepare
    from pipeline_lib.models import load_model
    from pipeline_lib.registry.versions import load_champion
    from pipeline_lib.runs import trials_of

    images, _ = prepare("mnist", home).sealed_test_set.unseal()
    images = torch.from_numpy(np.array(images[:PICTURES]))  # (B, C, H, W)
    models = {}
    for version in (1, 2, 3):
        model = load_champion(home, f"models:/automl-mnist/{version}")
        answers = model.served.probabilities(model.module, images)
        models[str(version)] = {"digest": model.digest, "probabilities": answers.tolist()}
    return {
        "champion": load_champion(home, "models:/automl-mnist@champion").digest,
        "models": models,
        "ensemble": load_model(home.study("first") / "ensemble" / "0000")(images).tolist(),
        "trials": {
            name: [
                {"label": t.label, "state": str(t.state), "rungs": [r.samples for r in t.rungs],
                 "val_accuracy": t.val_accuracy}
                for t in trials_of(home, name)[1]
            ]
            for name in RUNS if home.study(name).exists()
        },
    }  # fmt: skip


if __name__ == "__main__":
    parts = {"finished": finished, "unfinished": unfinished, "facts": facts}
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    if sys.argv[1] in parts:
        parts[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
