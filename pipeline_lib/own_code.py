"""A Python file of the user's: looked into without running it, loaded by path, its errors named."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.abc import SourceLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline_lib.errors import ConfigurationError, UserError
from pipeline_lib.home import user_path


@dataclass(frozen=True)
class OwnFile:
    """A Python file of the user's as it was when it was named, and what errors call it."""

    path: Path
    digest: str  # SHA-256
    title: str

    def source(self) -> bytes:
        """What it holds.

        Raises:
            ConfigurationError: It cannot be read, or was changed since.
        """
        try:
            source = self.path.read_bytes()
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
            raise ConfigurationError(self.title, problem, value=str(self.path)) from error
        if hashlib.sha256(source).hexdigest() != self.digest:
            problem = f"has changed: its SHA-256 is no longer {self.digest[:12]}…"
            remedy = "put it back, or start a run of another --name"
            raise ConfigurationError(self.title, problem, value=str(self.path), remedy=remedy)
        return source

    def module(self) -> ModuleType:
        """The module, after the file was run once in this process; what it raises is its own."""
        return _module(self)

    def line(self, error: BaseException) -> int | None:
        """The last line of the file that led to an error; None if none did."""
        if isinstance(error, SyntaxError) and error.filename == self.title:
            return error.lineno or 1
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == self.title]
        return next((line for line in reversed(lines) if line), None)


class _Verified(SourceLoader):
    """Runs a file whose digest was checked, under the name that errors give it."""

    def __init__(self, file: OwnFile) -> None:
        self._file = file

    def get_filename(self, _name: str) -> str:
        return self._file.title

    def get_data(self, _path: str | bytes) -> bytes:
        return self._file.source()


@cache
def _module(file: OwnFile) -> ModuleType:
    name = f"automl_own_{file.digest}"
    spec = importlib.util.spec_from_loader(name, loader := _Verified(file))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses of the file look for it
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@dataclass(frozen=True)
class Own:
    """A name in a Python file, as `file.py:name` on the command line."""

    field: str  # of the configuration that it was given to; errors name it
    path: Path  # absolute
    name: str

    @classmethod
    def parse(cls, field: str, address: str) -> Own | None:
        """The name that an address is of; None where it is not of the form `file.py:name`."""
        file, colon, name = address.rpartition(":")
        if not (colon and file.endswith(".py") and name.isidentifier()):
            return None
        return cls(field, user_path(field, file), name)

    @property
    def address(self) -> str:
        """The address with the whole path, which leads to the same file from every directory."""
        return f"{self.path}:{self.name}"

    @property
    def title(self) -> str:
        """`file.py:name` without the folder."""
        return f"{self.path.name}:{self.name}"

    @property
    def digest(self) -> str:
        """SHA-256 of the file.

        Raises:
            ConfigurationError: It cannot be read.
        """
        return hashlib.sha256(self._bytes()).hexdigest()

    def constants(self) -> dict[str, Any]:
        """Values of the statements `name.attribute = constant`, read without running the file.

        Raises:
            ConfigurationError: The file cannot be read, is no Python, or does not have the name.
        """
        with self.explained():
            tree = ast.parse(self._source(), str(self.path))
        if self.name not in set(_bound(tree)):
            problem = f"{self.path} defines no {self.name} at its top level"
            raise ConfigurationError(self.field, problem, remedy="name a function of that file")
        found: dict[str, Any] = {}
        for node in tree.body:
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
                continue
            for target in node.targets:
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == self.name:
                    found[target.attr] = node.value.value
        return found

    def load(self) -> Any:
        """What has the name, after the file was run once in this process.

        Raises:
            ConfigurationError: The file cannot be read or raises; says in which line.
        """
        with self.explained():
            return getattr(self._file.module(), self.name)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn whatever the file raises into one line with the file and its line.

        Raises:
            ConfigurationError: Something was raised.
        """
        try:
            yield
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            kind, said = type(error).__name__, str(error).splitlines()[:1]
            line = self._file.line(error) or self.line
            problem = f"{self.path}, line {line}: {': '.join([kind, *said])}"
            raise ConfigurationError(self.field, problem) from error

    @property
    def _file(self) -> OwnFile:
        return OwnFile(self.path, self.digest, str(self.path))

    @property
    def line(self) -> int:
        """Where the name is defined, from 1."""
        for node in ast.parse(self._source()).body:
            if self.name in _names(node):
                return node.lineno
        return 1

    def _source(self) -> str:
        try:
            return self._bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            problem = f"file cannot be read ({error})"
            raise ConfigurationError(self.field, problem, value=str(self.path)) from error

    def _bytes(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            problem = f"file cannot be read ({error.strerror})"
            raise ConfigurationError(self.field, problem, value=str(self.path)) from error


def _bound(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        yield from _names(node)


def _names(node: ast.stmt) -> list[str]:
    """Names that a statement at the top level binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [each.id for each in node.targets if isinstance(each, ast.Name)]
    return []
