"""A user's file: asked through a process, its mistakes named, its models found again."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import optuna
import psutil
import pytest
import torch
from family_contract import problem_of, random_trial

from pipeline_lib.errors import ConfigurationError, FamilyError, ModelError
from pipeline_lib.families.asking import asking
from pipeline_lib.families.family import Family
from pipeline_lib.families.space import Space, open_spaces
from pipeline_lib.home import Home
from pipeline_lib.models.saved import load_model, save_model

HERE = Path(__file__).parent
GREY = problem_of("grey")
BEGIN = "import torch\nfrom torch import nn\n\n"
LINEAR = "nn.Sequential(nn.Flatten(), nn.Linear(784, 10))"


def written(tmp_path: Path, source: str, name: str = "mine.py") -> Family:
    path = tmp_path / name
    path.write_text(BEGIN + textwrap.dedent(source), encoding="utf-8")
    return Family.find(str(path))


def try_out(family: Family, **settings) -> None:
    with open_spaces([family], GREY, 60.0, settings) as (space,):
        space.try_out()


BAD = {
    "import": ("import no_such_package", "mine.py:4", "No module named 'no_such_package'"),
    "syntax": ("def build(trial, problem)\n    pass", "mine.py:4", "SyntaxError"),
    "nothing": ("x = 1", "mine.py", "no function 'build'"),
    "parameters": ("def build(trial):\n    pass", "mine.py:4", "2 positional arguments"),
    "no module": ("def build(trial, problem):\n    return 5", "mine.py:4", "no torch.nn.Module"),
    "shape": (
        "def build(trial, problem):\n    return nn.Flatten()", "mine.py:4", r"\(2, 784\).*\(2, 10\)"
    ),
    "not finite": (
        f"def build(trial, problem):\n    net = {LINEAR}\n"
        "    nn.init.constant_(net[1].bias, float('inf'))\n    return net",
        "mine.py:4", "not finite",
    ),
    "raises": ("\ndef build(trial, problem):\n    return 1 / 0", "mine.py:6", "ZeroDivisionError"),
    "report": (
        "def build(trial, problem):\n    trial.report(0.5, 1)", "mine.py:5", "no 'report'"
    ),
    "choices": (
        "def build(trial, problem):\n    trial.suggest_categorical('act', [nn.ReLU, nn.Tanh])",
        "mine.py:5", "choices of 'act'",
    ),
    "range": (
        "def build(trial, problem):\n    trial.suggest_int('width', 9, 4)", "mine.py:5", "low=9"
    ),
    "configuration": (
        "def space(trial, problem, budget):\n    return {'sizes': [1, 2]}\n"
        f"def build(configuration, problem):\n    return {LINEAR}",
        "mine.py:4", "'sizes'",
    ),
    "no configuration": (
        "def space(trial, problem, budget):\n    pass\n"
        f"def build(configuration, problem):\n    return {LINEAR}",
        "mine.py:4", "space returned no mapping",
    ),
    "hook": (
        f"def build(trial, problem):\n    return {LINEAR}\n"
        "def loss(logits, targets, configuration):\n    return logits.summ()",
        "mine.py:7", "summ",
    ),
    "forward": (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.last = nn.Linear(78, 10)\n"
        "    def forward(self, x):\n        return self.last(x.flatten(1))\n"
        "def build(trial, problem):\n    return Net()",
        "mine.py:9", "cannot be multiplied",
    ),
    "exits": ("import os\nos._exit(3)", "mine.py", "ended"),
    "sys.exit": ("import sys\nsys.exit(3)", "mine.py:5", "SystemExit"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_is_one_line_with_its_place_and_cause(mistake, tmp_path, capfd):
    source, place, cause = BAD[mistake]
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(FamilyError, match=cause) as caught:
        try_out(written(tmp_path, source))
    assert caught.value.where == place
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err
    left = set(psutil.Process().children(recursive=True)) - before
    assert all("forkserver" in " ".join(p.cmdline()) or "tracker" in " ".join(p.cmdline())
               for p in left)  # fmt: skip


@pytest.mark.parametrize("name", ["chapter.py", "mlp.py"])
def test_a_file_that_is_asked_through_its_process_proposes_what_it_would_here(name):
    family = Family.find(str(HERE / name))
    try_out(family)
    with asking(family) as asked:
        assert asked.variants == family.variants
        assert asked.priors(GREY, 60.0) == family.priors(GREY, 60.0)
        for seed in range(3):
            there = Space(asked, GREY, 60.0).propose(random_trial(seed))
            assert there == Space(family, GREY, 60.0).propose(random_trial(seed))


def test_the_process_that_searches_imports_no_torch():
    script = f"""
        import sys
        from pipeline_lib.data.problem import Classes, Image, Problem
        from pipeline_lib.families.family import Family
        from pipeline_lib.families.space import open_spaces
        if __name__ == "__main__":
            classes = Classes(tuple("abcdefghij"))
            problem = Problem("x", "x", Image(1, 28, 28), classes, 100, 10, "y")
            families = list(map(Family.find, ("convnet", "book", {str(HERE / "chapter.py")!r})))
            with open_spaces(families, problem, 60.0, {{}}) as spaces:
                for space in spaces:
                    space.try_out()
            print(sorted({{"torch", "optuna"}} & sys.modules.keys()))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[1], check=True)
    assert done.stdout == "['optuna']\n"


def test_a_training_gets_what_a_define_by_run_file_leaves_open(tmp_path):
    family = written(tmp_path, f"def build(trial, problem):\n    return {LINEAR}")
    trial = random_trial(0)
    chosen = Space(family, GREY, 60.0).propose(trial)
    assert chosen.keys() == {"batch_size", "optimizer", "lr", "weight_decay"}
    assert trial.params.keys() == {"batch_size", "lr", "weight_decay"}
    own = written(tmp_path, f"""
        def build(trial, problem):
            trial.suggest_loguniform("lr", 0.1, 0.5)
            trial.suggest_categorical("optimizer", ["SGD"])
            return {LINEAR}
    """, "own.py")  # fmt: skip
    trial = random_trial(0)
    chosen = Space(own, GREY, 60.0).propose(trial)
    assert chosen.keys() == {"batch_size", "optimizer", "lr"}
    assert trial.distributions["lr"].log
    assert 0.1 <= chosen["lr"] <= 0.5


def test_a_files_network_is_normalised_unless_it_takes_raw_pixels(tmp_path):
    plain = written(tmp_path, f"def build(trial, problem):\n    return {LINEAR}")
    raw = written(
        tmp_path,
        """
        RAW_PIXELS = True
        class Raw(nn.Module):
            def __init__(self):
                super().__init__()
                self.last = nn.Linear(784, 10)
            def forward(self, x):
                return self.last(x.flatten(1).float())
        def build(trial, problem):
            return Raw()
        """,
        "raw.py",
    )
    assert "normalise.mean" in plain.build({}, GREY).state_dict()
    assert list(raw.build({}, GREY).state_dict()) == ["last.weight", "last.bias"]


# Settings: fixed values and narrowed ranges


def space_of(**settings) -> Space:
    return Space(Family.find(str(HERE / "mlp.py")), GREY, 60.0, settings)


def test_a_fixed_value_is_not_suggested_and_a_range_is_narrowed():
    space = space_of(width=32, lr=(2e-3, 5e-3), deep=(True,))
    for seed in range(10):
        trial = random_trial(seed)
        chosen = space.propose(trial)
        assert chosen["width"] == 32
        assert 2e-3 <= chosen["lr"] <= 5e-3
        assert chosen["deep"] is True
        assert "width" not in trial.params
    assert space.distributions["lr"].log
    assert space.variants == ""


def test_priors_keep_to_the_settings():
    assert space_of().priors() == [{"width": 32, "deep": False, "lr": 3e-3, "noise": 5.0}]
    assert space_of(width=20).priors() == [{"deep": False, "lr": 3e-3, "noise": 5.0}]
    assert space_of(lr=(5e-3, 1e-2)).priors() == []
    assert space_of(deep=(True,)).priors() == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 65}, "16 to 64"),
        ({"width": 20.5}, "16 to 64"),
        ({"width": True}, "16 to 64"),
        ({"width": (70, 80)}, "16 to 64"),
        ({"width": (20,)}, r"width=\[LOW,HIGH\]"),
        ({"deep": "yes"}, "False, True"),
        ({"deep": (True, "yes")}, "False, True"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_the_search(settings, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        try_out(Family.find(str(HERE / "mlp.py")), **settings)
    assert caught.value.where == "set"


def test_what_is_refused_here_does_not_confuse_the_process():
    with asking(Family.find(str(HERE / "mlp.py"))) as asked:
        with pytest.raises(ConfigurationError):
            Space(asked, GREY, 60.0, {"width": 65}).propose(random_trial(0))
        chosen = Space(asked, GREY, 60.0, {"width": 64}).propose(random_trial(0))
    assert chosen["width"] == 64


def test_a_process_that_ended_is_started_again(tmp_path):
    source = f"""
        def build(trial, problem):
            if trial.suggest_categorical("end", [True]):
                import os
                os._exit(1)
            return {LINEAR}
    """
    with asking(written(tmp_path, source)) as asked:
        for _ in range(2):
            with pytest.raises(FamilyError, match="process ended"):
                Space(asked, GREY, 60.0).propose(random_trial(0))


# Models of a file


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A saved model of the chapter's class, its family, and the directory it is in."""
    monkeypatch.setenv("AUTOML_HOME", str(tmp_path / "home"))
    named = tmp_path / "mine.py"
    named.write_bytes((HERE / "chapter.py").read_bytes())
    family = Family.find(str(named)).kept(Home(tmp_path / "home"))
    chosen = Space(family, GREY, 60.0).propose(random_trial(0))
    save_model(family.build(chosen, GREY), family.architecture(chosen, GREY), tmp_path / "model")
    return tmp_path / "model", family, named


def test_a_model_does_not_need_the_file_that_the_user_named(model):
    directory, _, named = model
    named.write_text("raise SystemExit", encoding="utf-8")
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    assert load_model(directory)(images).shape == (2, 10)
    named.unlink()
    assert load_model(directory)(images).shape == (2, 10)


def test_a_model_without_its_family_says_what_to_do(model):
    directory, family, _ = model
    family.file.unlink()
    with pytest.raises(FamilyError, match=r"mine\.py: .*copy the original.*AUTOML_HOME"):
        load_model(directory)


def test_code_that_lies_beside_a_model_is_never_run(model):
    """Neither a copy of its own, nor one that its architecture leads to."""
    directory, family, _ = model
    family.file.unlink()
    evil = directory / f"{family.sha256}.py"
    evil.write_text("raise SystemExit('it ran')", encoding="utf-8")
    with pytest.raises(FamilyError, match="not in this home"):
        load_model(directory)
    architecture = (directory / "architecture.json").read_text(encoding="utf-8")
    leading = architecture.replace(family.sha256, f"../../model/{family.sha256}")
    (directory / "architecture.json").write_text(leading, encoding="utf-8")
    with pytest.raises((FamilyError, ModelError), match="not in this home"):
        load_model(directory)


def test_a_copy_that_was_changed_is_not_run(model):
    directory, family, _ = model
    with family.file.open("a", encoding="utf-8") as file:
        file.write("\nraise SystemExit('it ran')\n")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from pathlib import Path\n"
         "from pipeline_lib.models import load_model\nload_model(Path(sys.argv[1]))",
         str(directory)],
        capture_output=True, text=True, check=False, cwd=HERE.parents[1],
    )  # fmt: skip
    assert "has changed" in done.stderr
    assert "it ran" not in done.stderr


def test_a_study_draws_what_the_file_suggests(tmp_path):
    """Optuna's own trial holds them, so that its samplers learn from them."""
    family = Family.find(str(HERE / "chapter.py"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    with asking(family) as asked:
        trial = study.ask()
        chosen = Space(asked, GREY, 60.0).propose(trial)
    assert trial.params.keys() == chosen.keys() - {"optimizer"}
    assert trial.distributions["num_conv_layers"] == optuna.distributions.IntDistribution(1, 4)
