"""The house's order, read from the source: who imports whom, what is never used, how long."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("flows", "tasks", "pipeline_lib")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
HEAVY = {"torch", "mlflow", "prefect", "optuna", "pandas", "sklearn", "torchvision", "scipy"}

LONGEST_MODULE, LONGEST_FUNCTION, MOST_PARAMETERS = 300, 40, 6


def name_of(path):
    return str(path.relative_to(ROOT))


def parsed(path):
    return ast.parse(path.read_text(), name_of(path))


def imports(nodes):
    """Full names that import statements among the nodes bring in."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_packages(path):
    return {name.split(".")[0] for name in imports(ast.walk(parsed(path)))}


def run_at_import(body):
    """Statements that run when a module is imported; those for type checkers do not."""
    for statement in body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from run_at_import(statement.orelse)
            continue
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            yield from run_at_import(statement.body + getattr(statement, "orelse", []))


every_source = pytest.mark.parametrize("path", SOURCES, ids=name_of)


def test_there_are_sources():
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(PACKAGES)
    assert len(SOURCES) > 20


@every_source
def test_imports_go_one_way(path):
    forbidden = {"flows": {"tests"}, "tasks": {"tests", "flows"}}
    package = path.relative_to(ROOT).parts[0]
    rule = forbidden.get(package, {"tests", "flows", "tasks", "prefect"})
    assert not imported_packages(path) & rule


IN_ROOMS = [path for path in SOURCES if "pipeline_lib" in path.parts][1:]
"""All but what `pipeline_lib` itself offers, which is the whole."""
ROOMS = (
    "data", "models", "training", "families", "search", "tracking", "registry", "selection",
    "evaluation", "serving", "report", "run",
)  # fmt: skip
"""Packages of `pipeline_lib` from top to bottom; its modules stand above all of them."""


def room_of(parts):
    """The place of a module in the order, from its path below `pipeline_lib`; 0 for a module."""
    return ROOMS.index(parts[0]) + 1 if parts and parts[0] in ROOMS else 0


@pytest.mark.parametrize("path", IN_ROOMS, ids=name_of)
def test_a_room_imports_only_rooms_above_it(path):
    """Imports for type checkers and inside functions count as well."""
    own = room_of(path.relative_to(ROOT / "pipeline_lib").parts)
    named = {n for n in imports(ast.walk(parsed(path))) if n.startswith("pipeline_lib.")}
    assert sorted(n for n in named if room_of(n.split(".")[1:]) > own) == []


@every_source
def test_no_import_is_relative(path):
    relative = [n for n in ast.walk(parsed(path)) if isinstance(n, ast.ImportFrom) and n.level]
    assert not relative


def reached_at_import(path, seen):
    """Top-level packages that importing this module brings in through the project's own modules."""
    if path in seen:
        return set()
    seen.add(path)
    found = set()
    for name in imports(run_at_import(parsed(path).body)):
        first = name.split(".")[0]
        found.add(first)
        if first in PACKAGES:
            for own in own_modules(name):
                found |= reached_at_import(own, seen)
    return found


def own_modules(name):
    """Files that importing this name runs, of packages on the way as well."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:end])
        for candidate in (place / "__init__.py", place.with_suffix(".py")):
            if candidate.is_file():
                yield candidate


@pytest.mark.parametrize(
    "path",
    ["flows/cli.py", "pipeline_lib/config.py", "pipeline_lib/home.py", "pipeline_lib/errors.py",
     "pipeline_lib/data/sources/catalogue.py"],
)  # fmt: skip
def test_what_the_command_line_reaches_early_is_light(path):
    assert not reached_at_import(ROOT / path, set()) & HEAVY


@every_source
def test_nothing_that_runs_code_from_a_file_is_used(path):
    """No pickle from trial to served model. The wheel's is read by a restricted unpickler."""
    if name_of(path) == "pipeline_lib/data/sources/mnist_wheel.py":
        pytest.skip("the one restricted unpickler")
    tree = parsed(path)
    unsafe = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    assert not imported_packages(path) & unsafe
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if call in ("eval", "exec", "torch.load", "torch.save")]
    allowing = [
        keyword
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
    ]
    assert not allowing


def test_the_wheels_pickle_is_read_by_the_restricted_unpickler_only():
    source = (ROOT / "pipeline_lib/data/sources/mnist_wheel.py").read_text()
    uses = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle"
    ]
    assert uses == ["pickle.Unpickler"]


@every_source
def test_no_catch_all_hides_a_cause(path):
    caught = [
        ast.unparse(node.type) if node.type else "everything"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler)
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]
    assert not {"everything", "Exception", "BaseException"} & set(caught)


@every_source
def test_modules_and_functions_are_short(path):
    source = path.read_text()
    offenders = []
    if (lines := len(source.splitlines())) > LONGEST_MODULE:
        offenders.append(f"{name_of(path)}: {lines} lines")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if (length := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION:
                offenders.append(f"{node.name}: {length} lines")
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            given = [a for a in arguments if a.arg not in ("self", "cls")]
            if len(given) > MOST_PARAMETERS and not is_a_door(node):
                offenders.append(f"{node.name}: {len(given)} parameters")
    assert not offenders


def is_a_door(function):
    """Flows and commands have a parameter for each field of the configuration."""
    marks = " ".join(ast.unparse(decorator) for decorator in function.decorator_list)
    return "flow" in marks or "command" in marks


@every_source
def test_what_has_one_place_is_not_written_again(path):
    """Locks and files that are written aside; memory limits."""
    homes = {"fcntl": "pipeline_lib/files.py", "resource": "pipeline_lib/training/memory.py"}
    again = {name for name, home in homes.items() if home != name_of(path)}
    assert not imported_packages(path) & again


@every_source
def test_every_python_that_is_started_gets_a_named_environment(path):
    """`isolation.isolated()`, or what was made of it; `dot` and `git` are no Pythons."""
    if name_of(path) in ("pipeline_lib/report/dot.py", "pipeline_lib/tracking/environment.py"):
        pytest.skip("starts another program")
    calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    starts = [c for c in calls if ast.unparse(c.func) in ("subprocess.run", "subprocess.Popen")]
    assert not [c.lineno for c in starts if "env" not in {keyword.arg for keyword in c.keywords}]


def opened_as_text(path):
    """Calls that open a file as text and leave the encoding to the locale."""
    for node in ast.walk(parsed(path)):
        if not isinstance(node, ast.Call) or "encoding" in {k.arg for k in node.keywords}:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        modes = {each.value for each in node.args if isinstance(each, ast.Constant)}
        if name in ("read_text", "write_text") or (name == "fdopen" and modes & {"r", "w", "a"}):
            yield ast.unparse(node)


@every_source
def test_a_locale_does_not_decide_how_files_are_read(path):
    """ruff's PLW1514 holds what it can infer the type of; this holds the rest."""
    assert not list(opened_as_text(path))


def test_no_package_of_the_project_shadows_mlflow():
    assert not (ROOT / "mlflow" / "__init__.py").exists()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_modules_that_documents_name_are_there(path):
    """Code that is shown may say which file it is to be written to."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    named = re.findall(r"\b(?:pipeline_lib|flows|tasks|tests|benchmarks)/[\w/]+\.py", prose)
    assert [name for name in named if not (ROOT / name).is_file()] == []
