"""The environment that Auto-PyTorch runs in: old pins laid over this interpreter's packages.

Auto-PyTorch 0.2.1 needs numpy 1, pandas 2 and an old scikit-learn; torch comes from here. So a
virtual environment holds the pins, and a `.pth` file lets it see this interpreter's packages
behind its own. Where a wheel is published it is used; only `pyrfr` has to be compiled.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import site
import sys
import sysconfig
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

import pipeline_lib
from pipeline_lib.errors import EngineUnavailable
from pipeline_lib.files import locked
from pipeline_lib.home import Home
from pipeline_lib.isolation import captured

Progress = Callable[[str], None]

WHERE = "autopytorch"
WHEELS = (
    "autoPyTorch==0.2.1",
    "ConfigSpace==0.6.1",
    "numpy==1.26.4",
    "pandas==2.2.3",
    "scikit-learn==1.2.2",
    "scipy==1.11.4",
    "dask==2026.8.0",
    "distributed==2026.8.0",
    "emcee==3.1.6",
    "flaky==3.8.1",
    "lightgbm==4.7.0",
    "locket==1.0.0",
    "lockfile==0.12.2",
    "more-itertools==11.2.1",
    "msgpack==1.2.4",
    "partd==1.4.2",
    "tabulate==0.10.0",
    "tblib==3.2.2",
    "tensorboard==2.21.0",
    "tensorboard-data-server==0.7.2",
    "absl-py==2.5.1",
    "grpcio==1.85.3",
    "toolz==1.2.0",
    "tornado==6.6.1",
    "zict==3.0.0",
)
"""Published as wheels. catboost and imgaug are left out: see `compat.py`."""
SOURCES = ("pynisher==0.6.4", "smac==1.4.0", "pyrfr==0.8.3")
"""Published as source only; `pyrfr` is C++ and is compiled, the others are plain Python."""
BUILD_TOOLS = ("setuptools==79.0.1", "wheel==0.45.1", "swig==4.5.1")

_PYTHONS = ((3, 11),)
_TRY = (
    "from pipeline_lib.engines.autopytorch import evaluation;"  # readies Auto-PyTorch: first
    "import pipeline_lib.engines.autopytorch.search"
)
_FINGERPRINT = "fingerprint.json"


def directory(home: Home) -> Path:
    """Where the environment stands."""
    return home.engines / "autopytorch"


def python(home: Home) -> Path:
    """The environment's interpreter."""
    return directory(home) / "bin" / "python"


def is_ready(home: Home) -> bool:
    """Whether the environment stands, with these pins, this Python and this torch."""
    try:
        found = json.loads((directory(home) / _FINGERPRINT).read_text())
    except (OSError, ValueError):
        return False
    return bool(found == fingerprint()) and python(home).exists()


def fingerprint() -> dict[str, str]:
    """What the environment depends on; another value of any of these rebuilds it."""
    pins = "\n".join((*WHEELS, *SOURCES, *BUILD_TOOLS))
    return {
        "pins": hashlib.sha256(pins.encode()).hexdigest(),
        "python": sys.version,
        "torch": importlib.metadata.version("torch"),
        "packages": os.pathsep.join(map(str, _our_packages())),
    }


def missing() -> str | None:
    """What this machine lacks to build the environment from nothing, or None."""
    version = "{}.{}".format(*sys.version_info)
    if sys.version_info[:2] not in _PYTHONS:
        known = " or ".join("{}.{}".format(*pair) for pair in _PYTHONS)
        return f"Python {known} (this is {version}: ConfigSpace 0.6.1 has no wheel for it)"
    if importlib.util.find_spec("pip") is None:
        return "pip in this environment (python -m ensurepip)"
    compiler = shlex.split(sysconfig.get_config_var("CXX") or "g++")[0]
    if shutil.which(compiler) is None:
        return f"the C++ compiler {compiler} (Debian and Ubuntu: apt install g++)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return f"the headers of Python (Debian and Ubuntu: apt install python{version}-dev)"
    return None


def check_ready(home: Home) -> None:
    """Do nothing where the environment stands.

    Raises:
        EngineUnavailable: It does not.
    """
    if not is_ready(home):
        remedy = "run: automl engines install autopytorch"
        raise EngineUnavailable(WHERE, "its environment is not built", remedy=remedy)


def ensure(home: Home, progress: Progress) -> Path:
    """Build the environment unless it stands, and return its interpreter.

    Raises:
        EngineUnavailable: Something needed is missing, or a step failed; says which.
    """
    if is_ready(home):
        return python(home)
    home.ensure_writable()
    home.engines.mkdir(exist_ok=True)
    waiting = "Auto-PyTorch: waiting for another process that is building its environment"
    with locked(home.engines / "autopytorch.lock", lambda: progress(waiting)):
        if not is_ready(home):
            _build(home, progress)
    return python(home)


def _build(home: Home, progress: Progress) -> None:
    """Fetch, compile and install aside, then put the whole in its place."""
    wheels = home.engines / "wheels"
    wheels.mkdir(exist_ok=True)
    staging = home.engines / "autopytorch.building"
    shutil.rmtree(staging, ignore_errors=True)  # left by a build that was killed
    _compile(_lacking(SOURCES, wheels), wheels, staging, progress)
    _download(_lacking(WHEELS, wheels), wheels, progress)
    progress("Auto-PyTorch: creating its environment")
    shutil.rmtree(staging, ignore_errors=True)
    venv.create(staging, with_pip=False, symlinks=True)
    packages = _packages_of(staging)
    found = [str(_wheel(pin, wheels)) for pin in (*WHEELS, *SOURCES)]
    progress(f"Auto-PyTorch: installing {len(found)} packages")
    options = ("--no-index", "--no-deps", "--no-compile")
    _pip("install", *options, "--target", str(packages), *found)
    lines = "".join(f"{path}\n" for path in _our_packages())
    (packages / "behind_our_own.pth").write_text(lines, encoding="utf-8")
    progress("Auto-PyTorch: trying it")
    # Compiles what the worker imports, and only that, so that its first start is as fast as others.
    command = [str(staging / "bin" / "python"), "-c", _TRY]
    _call(command, "the new environment does not import", PYTHONDONTWRITEBYTECODE="")
    (staging / _FINGERPRINT).write_text(json.dumps(fingerprint()))
    _swap(staging, directory(home))
    progress("Auto-PyTorch: ready")


def _compile(pins: Sequence[str], wheels: Path, staging: Path, progress: Progress) -> None:
    if not pins:
        return
    lacking = missing()
    if lacking:
        remedy = "install it, then run: automl engines install autopytorch"
        raise EngineUnavailable(WHERE, f"cannot be built here without {lacking}", remedy=remedy)
    tools = staging / "tools"
    progress("Auto-PyTorch: fetching the tools to build with (setuptools, wheel, swig)")
    _pip("install", "--no-deps", "--only-binary", ":all:", "--target", str(tools), *BUILD_TOOLS)
    path = f"{tools / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    for pin in pins:
        note = " (C++, about a minute)" if pin.startswith("pyrfr") else ""
        progress(f"Auto-PyTorch: building {pin}{note}")
        arguments = ("--no-deps", "--no-build-isolation", "--no-binary", ":all:")
        # Aside first: a wheel that is only half written must never be found again.
        aside = staging / "built"
        _pip("wheel", *arguments, "-w", str(aside), pin, PYTHONPATH=str(tools), PATH=path)
        for wheel in aside.glob("*.whl"):
            wheel.replace(wheels / wheel.name)


def _download(pins: Sequence[str], wheels: Path, progress: Progress) -> None:
    if not pins:
        return
    progress(f"Auto-PyTorch: downloading {len(pins)} packages (about 90 MB)")
    aside = wheels / "incoming"
    shutil.rmtree(aside, ignore_errors=True)  # left by a build that was killed
    _pip("download", "--no-deps", "--only-binary", ":all:", "-d", str(aside), *pins)
    for wheel in aside.glob("*.whl"):
        wheel.replace(wheels / wheel.name)


def _lacking(pins: Sequence[str], wheels: Path) -> list[str]:
    return [pin for pin in pins if _wheel(pin, wheels) is None]


def _wheel(pin: str, wheels: Path) -> Path | None:
    """The cached wheel of a pin that fits this interpreter."""
    name, version = pin.split("==")
    stem = f"{name.replace('-', '_')}-{version}-".lower()
    ours = {f"cp{sys.version_info.major}{sys.version_info.minor}", "py3", "py2.py3"}
    for path in sorted(wheels.glob("*.whl")):
        interpreter, abi = path.stem.split("-")[2:4]
        if path.name.lower().startswith(stem) and (interpreter in ours or abi == "abi3"):
            return path
    return None


def _our_packages() -> list[Path]:
    """Where this interpreter's packages lie, and this one."""
    ours = str(Path(pipeline_lib.__file__).parents[1])
    paths = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
    unique = dict.fromkeys((*paths, *site.getsitepackages(), ours))
    return [Path(path) for path in unique if Path(path).is_dir()]


def _packages_of(environment: Path) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / version / "site-packages"


def _swap(new: Path, place: Path) -> None:
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.replace(old)
    new.replace(place)
    shutil.rmtree(old, ignore_errors=True)


def _pip(*arguments: str, **environment: str) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments]
    _call(command, f"pip {arguments[0]} failed", **environment)


def _call(command: list[str], problem: str, **environment: str) -> None:
    run = captured(command, environment)
    if run.returncode:
        lines = [line for line in run.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines
        cause = errors[-1].strip() if errors else f"exit code {run.returncode}"
        raise EngineUnavailable(WHERE, f"{problem} ({cause})")
