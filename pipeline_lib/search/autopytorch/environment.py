"""The environment that Auto-PyTorch runs in: old pins laid over this interpreter's packages.

Auto-PyTorch 0.2.1 needs numpy 1, pandas 2 and an old scikit-learn; torch comes from here. So a
virtual environment holds the pins, and a `.pth` file lets it see this interpreter's packages
behind its own. What is installed, and that it is what was locked: `wheels.py`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shlex
import shutil
import site
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder  # setuptools warns where others ask for pip
from pathlib import Path

import pipeline_lib
from pipeline_lib.errors import EngineUnavailable
from pipeline_lib.files import locked, write_whole
from pipeline_lib.home import Home
from pipeline_lib.isolation import captured
from pipeline_lib.search.autopytorch import wheels
from pipeline_lib.search.autopytorch.wheels import Pin

Progress = Callable[[str], None]

WHERE = "autopytorch"
_PYTHONS = ((3, 11),)
_TRY = (
    "from pipeline_lib.search.autopytorch import evaluation;"  # readies Auto-PyTorch: first
    "import pipeline_lib.search.autopytorch.search"
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
        found = json.loads((directory(home) / _FINGERPRINT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == fingerprint()) and python(home).exists()


def fingerprint() -> dict[str, str]:
    """What the environment depends on; another value of any of these rebuilds it."""
    return {
        "pins": hashlib.sha256(wheels.LOCK.read_bytes()).hexdigest(),
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
    if PathFinder.find_spec("pip") is None:
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
    cache = home.engines / "wheels"
    cache.mkdir(exist_ok=True)
    staging = home.engines / "autopytorch.building"
    shutil.rmtree(staging, ignore_errors=True)  # left by a build that was killed
    _compile(wheels.lacking(wheels.SOURCES, cache), cache, staging, progress)
    _download(wheels.lacking(wheels.published(), cache), cache, progress)
    progress("Auto-PyTorch: creating its environment")
    shutil.rmtree(staging, ignore_errors=True)
    venv.create(staging, with_pip=False, symlinks=True)
    packages = _packages_of(staging)
    _install(packages, cache, progress)
    lines = "".join(f"{path}\n" for path in _our_packages())
    (packages / "behind_our_own.pth").write_text(lines, encoding="utf-8")
    progress("Auto-PyTorch: trying it")
    # Compiles what the worker imports, and only that, so that its first start is as fast as others.
    command = [str(staging / "bin" / "python"), "-c", _TRY]
    _call(command, "the new environment does not import", PYTHONDONTWRITEBYTECODE="")
    (staging / _FINGERPRINT).write_text(json.dumps(fingerprint()), encoding="utf-8")
    _swap(staging, directory(home))
    progress("Auto-PyTorch: ready")


def _compile(pins: Sequence[Pin], cache: Path, staging: Path, progress: Progress) -> None:
    if not pins:
        return
    lacking = missing()
    if lacking:
        remedy = "install it, then run: automl engines install autopytorch"
        raise EngineUnavailable(WHERE, f"cannot be built here without {lacking}", remedy=remedy)
    tools = staging / "tools"
    progress("Auto-PyTorch: fetching the tools to build with (setuptools, wheel, swig)")
    listed = [pin.line for pin in wheels.pins(wheels.TOOLS)]
    _pip("install", listed, "--only-binary", ":all:", "--target", str(tools))
    path = f"{tools / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    for pin in pins:
        note = " (C++, about a minute)" if pin.name == "pyrfr" else ""
        progress(f"Auto-PyTorch: building {pin}{note}")
        aside = staging / "built"
        options = ("--no-build-isolation", "--no-binary", ":all:", "-w", str(aside))
        _pip("wheel", [pin.line], *options, PYTHONPATH=str(tools), PATH=path)
        wheels.keep([pin], aside, cache)


def _download(pins: Sequence[Pin], cache: Path, progress: Progress) -> None:
    if not pins:
        return
    progress(f"Auto-PyTorch: downloading {len(pins)} packages (about 90 MB)")
    aside = cache / "incoming"
    shutil.rmtree(aside, ignore_errors=True)  # left by a build that was killed
    _pip("download", [pin.line for pin in pins], "--only-binary", ":all:", "-d", str(aside))
    wheels.keep((), aside, cache)


def _install(packages: Path, cache: Path, progress: Progress) -> None:
    """Install every package from its kept wheel."""
    found = [(pin, wheels.kept(pin, cache)) for pin in wheels.pins(wheels.installed())]
    lines = [wheels.install_line(pin, path) for pin, path in found if path]
    if len(lines) < len(found):
        absent = ", ".join(str(pin) for pin, path in found if path is None)
        raise EngineUnavailable(WHERE, f"what pip fetched does not fit this Python ({absent})")
    progress(f"Auto-PyTorch: installing {len(lines)} packages")
    _pip("install", lines, "--no-index", "--no-compile", "--target", str(packages))


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


def _pip(command: str, lines: Sequence[str], *options: str, **environment: str) -> None:
    """Run pip on files that are named with their hashes, and on nothing else."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", command]
    with tempfile.TemporaryDirectory() as aside:
        listed = write_whole(Path(aside, "requirements.txt"), "".join(lines))
        hashed = ("--no-deps", "--require-hashes", "-r", str(listed))
        _call([*pip, *options, *hashed], f"pip {command} failed", **environment)


def _call(command: list[str], problem: str, **environment: str) -> None:
    run = captured(command, environment)
    if run.returncode:
        lines = [line for line in run.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines
        cause = errors[-1].strip() if errors else f"exit code {run.returncode}"
        raise EngineUnavailable(WHERE, f"{problem} ({cause})")
