"""One training: a network, its optimiser, its schedule, and a loop that reads aloud."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline_lib.cores import available_cores
from pipeline_lib.data.examples import Examples
from pipeline_lib.data.splits import Indices, Split
from pipeline_lib.errors import TrialFailure
from pipeline_lib.metrics import ACCURACY, find
from pipeline_lib.models.convnet import Normalise
from pipeline_lib.training.device import Device
from pipeline_lib.training.emphasis import Emphasis
from pipeline_lib.training.memory import keep_pages
from pipeline_lib.training.recipe import Recipe
from pipeline_lib.training.resident import resident
from pipeline_lib.trial import Configuration, Epoch, Rung, number

EVALUATION_BATCH = 250  # whose activations still fit a cache
_STATISTICS_IMAGES = 2000  # enough for the mean and deviation of pixels
_STATISTICS_VALUES = 2**23  # pixels and channels: large images would take gigabytes as floats
_TIMED_BATCHES = 5  # the first of which are slower
_CURVE_POINTS = 20  # at most, about: evaluating after each of sixty epochs would take a fifteenth

CPU = Device()


def use_one_thread() -> None:
    """Make this process a good neighbour: one thread, and an allocator that keeps its pages."""
    torch.set_num_threads(1)
    keep_pages()


class Training:
    """Trains one configuration, rung by rung.

    A rung is a complete training with its own schedule, since a checkpoint of a longer schedule
    says little about where that schedule ends. Where a family has no schedule, a rung continues
    the last one.
    """

    def __init__(
        self,
        family: Recipe,
        configuration: Configuration,
        split: Split,
        seed: int,
        check: Callable[[], None] = lambda: None,
        device: Device = CPU,
    ) -> None:
        """`check` is called before every batch and may raise."""
        self.configuration = dict(configuration)
        self.device = device
        self.split = split
        self.examples = resident(split.examples, device.kind)
        self._train = torch.from_numpy(split.train).to(device.kind)  # (N_train,) rows
        self._val_targets = torch.from_numpy(split.validation_targets).to(device.kind)
        self.seed = seed
        self.metric = find(split.problem.metric)
        self._scores: dict[str, float] = {}  # of the last evaluation
        self.family = family
        self._check = check
        self._continues = family.schedule is None
        self._seen = 0
        self._start()

    def _start(self) -> None:
        torch.manual_seed(self.seed)
        self.generator = torch.Generator(self.device.kind).manual_seed(self.seed)
        self.emphasis = Emphasis(len(self._train), self.generator)
        model = self.family.build(self.configuration, self.split.problem)
        self.model = model.to(memory_format=torch.channels_last)
        self.model.to(self.device.kind)
        for module in self.model.modules():
            if isinstance(module, Normalise):
                module.set_from(self._typical())
        self.optimizer = self.family.optimizer(self.model, self.configuration)
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]

    def _typical(self) -> Tensor:
        """Training images (B, C, H, W) at even distances, of which statistics are taken."""
        values = math.prod(self.split.problem.inputs.shape)
        most = min(_STATISTICS_IMAGES, max(1, _STATISTICS_VALUES // values))
        images, _ = self.examples.batch(self._train[:: max(1, len(self._train) // most)])
        return images

    def fit(self, samples: int, seconds: float | None = None) -> Rung:
        """Train on so many samples (> 0) and evaluate on the validation part.

        With `seconds` the clock counts too: on a machine that is slower than was planned the
        schedule hurries, so that it still ends annealed and in time, after fewer samples.

        Raises:
            TrialFailure: The loss is no longer a finite number.
        """
        began = time.perf_counter()
        if self._continues:
            samples, already = samples - self._seen, self._seen
        else:
            already = 0
            self._start()
        curve: list[Epoch] = []
        seen, loss_sum = 0, torch.zeros((), device=self.device.kind)
        mark = interval = max(len(self._train), samples // _CURVE_POINTS)
        for which in self._batches(samples):  # (B,)
            self._check()
            spent = (time.perf_counter() - began) / seconds if seconds and seen else 0.0
            if spent >= 1:
                break
            self._schedule(min(max(seen / samples, spent), 1.0))
            loss_sum += self._step(which) * len(which)
            seen += len(which)
            if seen >= mark:
                curve.append(self._point(curve, seen, loss_sum))
                mark += interval
        if not curve or curve[-1].samples != seen:
            curve.append(self._point(curve, seen, loss_sum))
        self._seen = already + seen
        took = time.perf_counter() - began
        return Rung.of(self.metric, self._seen, self._scores, took, tuple(curve))

    def pace(self) -> float:
        """Seconds that a sample takes to train on: the best of a few batches, then forgotten."""
        size = int(number(self.configuration["batch_size"]))
        best = math.inf
        for which in self._batches(_TIMED_BATCHES * size):  # (B,)
            began = time.perf_counter()
            float(self._step(which))  # waits for an accelerator
            best = min(best, (time.perf_counter() - began) / len(which))
        self._start()
        return best

    def _point(self, curve: list[Epoch], seen: int, loss_sum: Tensor) -> Epoch:
        """Evaluate, and start the sum of losses anew."""
        mean_loss = float(loss_sum) / (seen - (curve[-1].samples if curve else 0))
        loss_sum.zero_()
        self._scores = self.evaluate()
        return Epoch(seen, mean_loss, self._scores[self.metric.name])

    def _step(self, which: Tensor) -> Tensor:
        """Train on the samples (B,) of the training part; their mean loss."""
        images, labels = self._pick(which)
        pixels = self.family.transform(images, self.configuration, self.generator)
        targets = labels  # (B,)
        if self.family.mix is not None:
            targets = F.one_hot(labels, len(self.split.problem.target)).float()  # (B, classes)
            pixels, targets = self.family.mix(pixels, targets, self.configuration, self.generator)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=True)
        with self.device.autocast():
            logits = self.model(pixels)  # (B, classes)
        loss = self.family.loss(logits.float(), targets, self.configuration)
        if not torch.isfinite(loss):
            raise TrialFailure("training", f"diverged: the loss became {loss.item()}")
        loss.backward()
        self.optimizer.step()
        self.emphasis.learn(which, logits.detach().float(), labels)
        return loss.detach()

    def _pick(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) uint8 and labels (B,) at these places (B,) in the training part."""
        return self.examples.batch(self._train[which])

    def _batches(self, samples: int) -> Iterator[Tensor]:
        """Places (B,) in the training part, pass by pass, until so many samples were given."""
        size = int(number(self.configuration["batch_size"]))
        left, done = samples, 0  # samples, passes
        while left:
            order = self.emphasis.order(0 if self._continues else done)[:left]
            yield from order.split(size)
            left -= len(order)
            done += 1

    def _schedule(self, progress: float) -> None:
        if self.family.schedule is None:
            return
        factor = self.family.schedule(progress)
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """Scores on the validation part by name: the metric's, and accuracy always.

        Raises:
            TrialFailure: What the network answers are no finite numbers.
        """
        logits = predict(self.model, batches(self.examples, self.split.validation))
        if self.metric != ACCURACY:
            return self.metric.scores(logits.cpu().numpy(), self.split.validation_targets)
        hits = int((logits.argmax(1) == self._val_targets).sum())
        return {ACCURACY.name: hits / len(self._val_targets)}


def batches(examples: Examples, rows: Indices) -> Iterator[Tensor]:
    """Raw inputs (B, C, H, W) of these rows, as many at a time as an evaluation takes."""
    for at in range(0, len(rows), EVALUATION_BATCH):
        inputs, _ = examples.batch(rows[at : at + EVALUATION_BATCH])
        yield inputs


def predict(model: nn.Module, images: Iterable[Tensor]) -> Tensor:
    """Logits (N, classes) of batches of raw images (B, C, H, W), in evaluation mode."""
    was_training = model.training
    model.eval()
    logits = [_answer(model, batch) for batch in images]
    model.train(was_training)
    return torch.cat(logits)


def predict_on_all_cores(model: nn.Module, images: Iterable[Tensor]) -> Tensor:
    """What `predict` returns, for a process that has the machine to itself."""
    return torch.cat(list(answers(model, images)))


def answers(model: nn.Module, images: Iterable[Tensor]) -> Iterator[Tensor]:
    """Logits (B, classes) of batches (B, C, H, W) in their order; each core takes the next batch.

    torch's own threads wait for each other, spinning, at the end of every operation: beside other
    processes that takes ten times the CPU-seconds of the work. Here each thread computes alone.

    Args:
        model: Raw images to logits, in evaluation mode.
        images: Taken a few batches at a time.
    """
    cores, before = available_cores(), torch.get_num_threads()
    asked: deque[Future[Tensor]] = deque()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(cores) as threads:
            for batch in images:
                asked.append(threads.submit(_answer, model, batch))
                if len(asked) > 2 * cores:
                    yield asked.popleft().result()
            while asked:
                yield asked.popleft().result()
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _answer(model: nn.Module, batch: Tensor) -> Tensor:
    logits: Tensor = model(batch.float().contiguous(memory_format=torch.channels_last))
    return logits
