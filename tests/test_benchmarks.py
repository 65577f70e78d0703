"""The benchmarks still run: every part in a tiny mode. What they measure is not looked at."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from benchmarks import chapter, loop, overhead, peer, scaling, search, space, time_to, workers
from benchmarks.__main__ import parts
from benchmarks.chapter_loop import chapter_images
from benchmarks.machine import machine_facts
from benchmarks.plot import plot
from benchmarks.replay import random_configurations, replay
from benchmarks.results import Bench, measure
from benchmarks.summary import _headline, markdown, write_summary
from pipeline_lib.errors import AutomlError
from pipeline_lib.home import Home

TINY = {
    "chapter": chapter.Size(trials=2, samples=64, test_images=50),
    "loop": loop.Size(seeds=1, samples=64, validation_share=0.1),
    "workers": workers.Size(configurations=2, samples=64, repeats=1),
    "search": search.Size(seeds=1, seconds=2.0, base_samples=100),
    "space": space.Size(configurations=2, seconds=0.3),
    "peer": peer.Size(seconds=0.1, iterations=1, images=100, autogluon=False),
}


@pytest.fixture
def bench(mnist, test_home, tiny_data):
    """The chapter's loop reads all of MNIST from the home, and uses as little of it."""
    return Bench(test_home, tiny_data)


def test_every_part_has_a_short_mode_and_a_table():
    for module in parts().values():
        assert type(module.FULL) is type(module.SHORT) is module.Size
        assert module.FULL != module.SHORT
        assert callable(module.measure) and callable(module.table)


def test_the_machine_is_described():
    facts = machine_facts()
    assert facts["cores"] >= 1
    assert facts["sgemm_gflops_one_thread"] > 0
    assert facts["sgemm_gflops_all_cores"] > 0
    assert facts["cpu"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [(["avx2"], "100 times the search (25 times all)"), (["avx2", "amx_bf16"], "no ratio")],
)
def test_the_chapter_is_held_against_the_run_that_reaches_its_accuracy(flags, says):
    """On the same kind of machine only."""
    run = {"search": 10.0, "wall": 40.0}
    chapter = {
        "result": {"study_seconds": 1000.0},
        "machine": {"cpu": "a CPU", "cpu_flags": ["avx2"]},
    }
    ours = {
        "result": {"targets": {"0.9877": run, "0.99": None}},
        "machine": {"cpu": "a CPU", "cpu_flags": flags},
    }
    headline = _headline({"chapter": chapter, "time-to": ours})
    assert "98.77%" in headline
    assert says in headline
    assert ("times the search" in headline) == (says != "no ratio")
    assert _headline({"chapter": chapter}) == ""


@pytest.fixture
def autogluon(tmp_path):
    """Run AutoGluon on next to nothing, in a home whose environment a test makes."""
    arrays = {part: (np.zeros((2, 4)), np.arange(2)) for part in ("train", "validation", "test")}
    return lambda: peer._autogluon(arrays, peer.Size(seconds=0.1), Home(tmp_path))


def stands(home, interpreter):
    """Have an environment stand that is nothing but its interpreter."""
    root = home / "benchmarks" / "autogluon"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "python").write_text(f"#!/bin/sh\n{interpreter}\n")
    (root / "bin" / "python").chmod(0o755)
    (root / "standing").write_text(f"{peer.AUTOGLUON}\n{sys.version}\n")


def test_autogluon_runs_in_the_environment_that_stands(autogluon, tmp_path):
    stands(
        tmp_path, """test -s "$3/train_pixels.npy" && echo noise && echo "{\\"seconds\\": $4}" """
    )
    assert autogluon() == {"seconds": 0.1}


def test_autogluon_without_an_environment_says_why(autogluon, tmp_path):
    (tmp_path / "benchmarks").write_text("no directory")
    with pytest.raises(AutomlError, match=r"AutoGluon: no virtual environment \(.*benchmarks"):
        autogluon()


@pytest.mark.parametrize(
    ("interpreter", "why"),
    [
        (f'exec "{sys.executable}" "$@"', "No module named 'autogluon'"),
        ("echo a harmless error >&2; kill -9 $$", "exit code -9"),
        ("exit 3", "exit code 3"),
    ],
)
def test_autogluon_that_fails_says_why(interpreter, why, autogluon, tmp_path):
    stands(tmp_path, interpreter)
    with pytest.raises(AutomlError, match=rf"AutoGluon: the run failed \(.*{why}\)"):
        autogluon()


def test_a_peer_that_could_not_run_has_a_row_and_no_marker(tmp_path):
    ran = {"seconds": 3.0, "val_accuracy": 0.9, "test_accuracy": 0.91, "model": "trees"}
    for absent in ({"could_not_run": "AutoGluon: no network"}, ran):
        result = {"peers": {"boosting": ran, "AutoGluon": absent}}
        rows = peer.table(result)[1]
        assert rows[0] == ["boosting", "3", "90.00%", "91.00%", "trees"]
        assert rows[1][-1] == absent.get("could_not_run", "trees")
        assert plot({"peer": {"result": result}}, tmp_path)
        shown = "AutoGluon on pixels" in (tmp_path / "accuracy.svg").read_text()
        assert shown == ("seconds" in absent)


@pytest.mark.slow
@pytest.mark.parametrize("part", TINY)
def test_a_part_leaves_its_result_and_the_machine(part, bench, tmp_path):
    module = parts()[part]
    document = measure(part, module.measure, bench, TINY[part], tmp_path)
    assert json.loads((tmp_path / f"{part}.json").read_text()) == document
    assert document["machine"]["sgemm_gflops_one_thread"] > 0
    assert markdown(module.table(document["result"])) in write_summary(parts(), tmp_path)
    has_accuracies = part in ("chapter", "search", "peer")
    assert (tmp_path / "accuracy.svg").exists() == has_accuracies


@pytest.mark.slow
def test_the_chapters_seconds_are_those_of_whole_epochs(bench):
    result = chapter.measure(bench, TINY["chapter"])
    assert result["extrapolated"]
    assert result["study_seconds"] > 10 * result["measured_seconds"]
    assert [len(trial["epochs"]) for trial in result["trials"]] == [2, 2]


@pytest.mark.slow
def test_both_loops_see_the_same_images(bench, tiny_data):
    """What torchvision reads from the files is what the project has in its arrays."""
    examples = tiny_data.examples
    images = chapter_images(bench.home.data, train=True)
    for index in tiny_data.train[:3]:
        pixels, label = images[index]
        raw = (pixels * 0.3069 + 0.1302) * 255
        assert raw.round().int().tolist() == examples.images[index].tolist()
        assert label == examples.targets[index]


@pytest.mark.slow
def test_a_replay_trains_every_rung_asked_for(tiny_data):
    from dataclasses import replace

    samples = [(64, 128), (64,), (96,)]
    drawn = random_configurations(3, seed=0)
    climbs = [replace(climb, samples=s) for climb, s in zip(drawn, samples, strict=True)]
    for count in (1, 2):
        rungs = replay(tiny_data, climbs, count).rungs
        assert sorted(rung.samples for rung in rungs) == [64, 64, 96, 128]


@pytest.mark.long
def test_whole_runs_are_measured(bench, tmp_path):
    """The parts that start the command line, on all of MNIST."""
    sizes = {
        "time-to": time_to.Size(budgets=(6.0,), seeds=1, served=6.0),
        "overhead": overhead.Size(trials=3, parts=1, base_samples=100),
        "scaling": scaling.Size((200,), (32,), 200, (3,), base_samples=100),
    }
    for part, size in sizes.items():
        document = measure(part, parts()[part].measure, bench, size, tmp_path)
        assert document["machine"]["cores"] >= 1
    text = write_summary(parts(), tmp_path)
    assert all(f"Part {number}" in text for number in (3, 5, 9))
