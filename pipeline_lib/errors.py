"""Every error that automl raises on purpose.

AutomlError
├── UserError                 the user can mend it: one line on the terminal, exit code 2
│   ├── ConfigurationError    a field of the configuration
│   ├── DataError             a data set, or a file of it
│   ├── FamilyError           a family's file: which line of it, and why
│   ├── HomeError             the state directory
│   ├── ImageError            a picture that cannot be read
│   │   └── RefusedImage      one that must not be: a bomb, a link out of its folder, no picture
│   ├── ModelError            a model that is not there, or cannot be read
│   └── ServerError           a server that cannot start: a port, a program
├── EngineUnavailable         an engine cannot run here; the run goes on with the others
├── Stopped                   a signal ended the run before it had a result; exit code 130
└── TrialFailure              one training ended itself (divergence, a limit); the study goes on
"""

from __future__ import annotations

import errno

_ABSENT = object()


class AutomlError(Exception):
    """Something went wrong *where*; says what, the value it got, and what to do.

    Reads as ``where: problem, got value; remedy``.
    """

    def __init__(
        self, where: str, problem: str, *, value: object = _ABSENT, remedy: str = ""
    ) -> None:
        self.where = where
        self.problem = problem
        self.value = None if value is _ABSENT else value
        self.remedy = remedy
        got = "" if value is _ABSENT else f", got {value!r}"
        super().__init__(f"{where}: {problem}{got}{f'; {remedy}' if remedy else ''}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.__dict__, self.args)


def _rebuild(cls: type[AutomlError], fields: dict[str, object], args: tuple[object, ...]) -> object:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class UserError(AutomlError):
    """The user can mend it."""


class ConfigurationError(UserError):
    """A field of the configuration has a value that cannot be."""


class DataError(UserError):
    """A data set is unknown, cannot be had, or a file of it is not what it should be."""


class FamilyError(UserError):
    """A family's file is not what it should be, or its code raised; `where` has its line."""


class HomeError(UserError):
    """The state directory cannot be used."""

    @classmethod
    def of(cls, error: OSError) -> HomeError | None:
        """The same of a disk that is full, or of files that are not ours; None for other errors."""
        if error.errno in (errno.EACCES, errno.EPERM):
            remedy = "give the files back with chown, or choose another home with --home DIR"
            return cls("permission", f"{error.strerror}", value=error.filename, remedy=remedy)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return None
        remedy = "what was recorded stays: make room, and continue with the same --name"
        return cls("disk", f"{error.strerror}", value=error.filename, remedy=remedy)


class ImageError(UserError):
    """A picture cannot be read, or is not of the kind that the model takes."""


class RefusedImage(ImageError):
    """A picture that no share of the others excuses."""


class ModelError(UserError):
    """A model is not there, or its files are not those of a model."""


class ServerError(UserError):
    """A server cannot be started."""


class EngineUnavailable(AutomlError):
    """An engine cannot run on this machine."""


class Stopped(AutomlError):
    """A signal ended a run before it had a result; what was recorded of it stays."""


class TrialFailure(AutomlError):
    """A training ended itself."""
