"""Part 2: the chapter's network on the same samples, in its loop and in ours, one core each."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.chapter_loop import fit_once
from benchmarks.replay import Climb, replay, spread
from benchmarks.results import Bench, Result, Table
from pipeline_lib.data.splits import Split

CHAPTER_BATCH = 32
OUR_BATCHES = (32, 128)

# The chapter's best (conv 27, 28, 46; fc 57, 54). Of its optimisers, Adadelta takes one learning
# rate for both batch sizes.
_NETWORK: dict[str, Any] = {
    "num_conv_layers": 3, "conv_depth_0": 27, "conv_depth_1": 28, "conv_depth_2": 46,
    "conv_dropout": 0.25, "num_fc_layers": 2, "fc_output_feat_0": 57, "fc_output_feat_1": 54,
    "fc_dropout_0": 0.25, "fc_dropout_1": 0.25, "optimizer": "Adadelta", "lr": 0.5,
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """Seeds to repeat with, samples to train on (None: the training part once), validation part."""

    seeds: int
    samples: int | None
    validation_share: float


FULL = Size(seeds=3, samples=None, validation_share=0.1)
SHORT = Size(seeds=1, samples=2560, validation_share=0.01)


def measure(bench: Bench, size: Size) -> Result:
    """Alternate: the chapter's loop, ours at each batch size, again for the next seed."""
    split = replace(bench.split, share=size.validation_share)
    samples = size.samples or len(split.train)
    runs: list[dict[str, Any]] = []
    for seed in range(size.seeds):
        runs.append({"loop": "chapter", "batch": CHAPTER_BATCH, "seed": seed})
        runs[-1] |= _chapter(bench, split, samples, seed)
        for batch in OUR_BATCHES:
            climb = Climb({**_NETWORK, "batch_size": batch}, (samples,), seed, "book")
            rung = replay(split, [climb], workers=1).rungs[0]
            runs.append({"loop": "ours", "batch": batch, "seed": seed})
            runs[-1] |= {"seconds": rung.seconds, "accuracy": rung.value}
    return {"samples": samples, "network": _NETWORK, "runs": runs, "arms": _arms(runs)}


def _chapter(bench: Bench, split: Split, samples: int, seed: int) -> dict[str, float]:
    """In a process of its own, so that neither loop inherits the other's allocator or threads."""
    parts = [split.train.tolist(), split.validation.tolist()]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        chapter = {**_NETWORK, "batch_size": CHAPTER_BATCH}
        return pool.submit(fit_once, chapter, bench.home.data, parts, samples, seed).result()


def _arms(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    baseline = {r["seed"]: r["seconds"] for r in runs if r["loop"] == "chapter"}
    arms = []
    for loop, batch in dict.fromkeys((r["loop"], r["batch"]) for r in runs):
        mine = [r for r in runs if (r["loop"], r["batch"]) == (loop, batch)]
        arms.append(
            {
                "loop": loop,
                "batch": batch,
                "seconds": spread([r["seconds"] for r in mine]),
                "times_as_fast": spread([baseline[r["seed"]] / r["seconds"] for r in mine]),
                "accuracy": spread([r["accuracy"] for r in mine]),
            }
        )
    return arms


def table(result: Result) -> Table:
    """A row for each loop and batch size."""
    head = ["loop", "batch", "seconds", "× the chapter's speed", "validation accuracy (min … max)"]
    return head, [
        [
            arm["loop"],
            arm["batch"],
            f"{arm['seconds']['median']:.1f}",
            f"{arm['times_as_fast']['median']:.2f}",
            "{median:.2%} ({min:.2%} … {max:.2%})".format(**arm["accuracy"]),
        ]
        for arm in result["arms"]
    ]
