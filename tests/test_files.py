import os
import subprocess
import sys

import pytest

from pipeline_lib.files import acquire, locked, write_whole, written_aside


def test_a_file_appears_whole_in_directories_that_are_made(tmp_path):
    path = write_whole(tmp_path / "a" / "b.txt", "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert [each.name for each in path.parent.iterdir()] == ["b.txt"]


def test_a_failure_leaves_what_was_there_and_nothing_beside(tmp_path):
    path = write_whole(tmp_path / "kept", b"old")
    with pytest.raises(ZeroDivisionError), written_aside(path) as aside:
        aside.write_text("new", encoding="utf-8")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_excludes_others_and_shared_ones_go_together(tmp_path):
    first = acquire(tmp_path / "lock", shared=True)
    second = acquire(tmp_path / "lock", shared=True)
    assert None not in (first, second)
    assert acquire(tmp_path / "lock") is None
    os.close(first)
    os.close(second)
    with locked(tmp_path / "lock"):
        assert acquire(tmp_path / "lock") is None


def test_who_has_to_wait_says_so_once(tmp_path):
    script = (
        "import sys, pathlib; from pipeline_lib.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    holder.stdout.readline()
    said = []

    def told():
        said.append("waiting")
        holder.kill()

    with locked(tmp_path / "lock", told):
        assert said == ["waiting"]
    holder.communicate()
