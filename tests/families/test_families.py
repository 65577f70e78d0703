"""Each family keeps the contract; what the built-in ones promise beyond it."""

from __future__ import annotations

from pathlib import Path

from family_contract import FamilyContract

HERE = Path(__file__).parent


class TestConvNet(FamilyContract):
    named = "convnet"


class TestBook(FamilyContract):
    named = "book"


class TestTheChaptersOwnClassFromAFile(FamilyContract):
    named = str(HERE / "chapter.py")
    problems = ("grey",)


class TestAFileWithEveryHook(FamilyContract):
    named = str(HERE / "mlp.py")
    problems = ("tiny", "grey", "colour")
