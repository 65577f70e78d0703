"""One training: a network, its optimiser, its schedule, and a loop that reads aloud."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline_lib.cores import available_cores
from pipeline_lib.data.store import Split
from pipeline_lib.errors import TrialFailure
from pipeline_lib.models.convnet import Normalise
from pipeline_lib.models.saved import build_model
from pipeline_lib.training.device import Device
from pipeline_lib.training.emphasis import Emphasis
from pipeline_lib.training.memory import keep_pages
from pipeline_lib.training.schedule import one_cycle
from pipeline_lib.training.transforms import augment
from pipeline_lib.trial import Configuration, Epoch, Rung, number

EVALUATION_BATCH = 250  # whose activations still fit a cache
_STATISTICS_IMAGES = 2000  # enough for the mean and deviation of pixels
_CURVE_POINTS = 20  # at most, about: evaluating after each of sixty epochs would take a fifteenth

CPU = Device()


@dataclass(frozen=True)
class TrainingData:
    """The two parts of a split as tensors. Images (N, C, H, W) uint8, labels (N,) int64."""

    images: Tensor  # all of them, on the CPU shared between processes; `train` picks
    labels: Tensor
    train: Tensor  # (N_train,) indices
    val_images: Tensor
    val_labels: Tensor

    @classmethod
    def of(cls, split: Split, kind: str = "cpu") -> TrainingData:
        """View the split's arrays as tensors; on the CPU only the validation part is copied."""
        arrays = (split.images, split.labels, split.train, split.validation)
        images, labels, train, validation = (torch.from_numpy(a).to(kind) for a in arrays)
        return cls(images, labels, train, images[validation], labels[validation])


def use_one_thread() -> None:
    """Make this process a good neighbour: one thread, and an allocator that keeps its pages."""
    torch.set_num_threads(1)
    keep_pages()


class Training:
    """Trains one configuration, rung by rung.

    A rung is a complete training with its own one-cycle schedule (Smith & Topin 2018), since a
    checkpoint of a longer schedule says little about where that schedule ends. The chapter's
    networks have a constant learning rate: their rungs go on where the last one ended.
    """

    def __init__(
        self,
        configuration: Configuration,
        architecture: dict[str, Any],
        data: TrainingData,
        seed: int,
        check: Callable[[], None] = lambda: None,
        device: Device = CPU,
    ) -> None:
        """`check` is called before every batch and may raise; `data` are on the `device`."""
        self.configuration = dict(configuration)
        self.device = device
        self.data = data
        self.seed = seed
        self._architecture = architecture
        self._check = check
        self._continues = architecture["kind"] == "book"
        self._seen = 0
        self._start()

    def _start(self) -> None:
        torch.manual_seed(self.seed)
        self.generator = torch.Generator(self.device.kind).manual_seed(self.seed)
        self.emphasis = Emphasis(len(self.data.train), self.generator)
        self.model = build_model(self._architecture).to(memory_format=torch.channels_last)
        self.model.to(self.device.kind)
        for module in self.model.modules():
            if isinstance(module, Normalise):
                every = max(1, len(self.data.train) // _STATISTICS_IMAGES)
                module.set_from(self.data.images[self.data.train[::every]])
        self.optimizer = make_optimizer(self.model, self.configuration)
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]

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
        mark = interval = max(len(self.data.train), samples // _CURVE_POINTS)
        for which in self._batches(samples):  # (B,)
            self._check()
            spent = (time.perf_counter() - began) / seconds if seconds else 0.0
            if spent >= 1 and seen:
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
        return Rung(self._seen, curve[-1].val_accuracy, took, tuple(curve))

    def _point(self, curve: list[Epoch], seen: int, loss_sum: Tensor) -> Epoch:
        """Evaluate, and start the sum of losses anew."""
        mean_loss = float(loss_sum) / (seen - (curve[-1].samples if curve else 0))
        loss_sum.zero_()
        return Epoch(seen, mean_loss, self.evaluate())

    def _step(self, which: Tensor) -> Tensor:
        """Train on the samples (B,) of the training part; their mean loss."""
        images, labels = self._pick(which)
        kind = str(self.configuration.get("augmentation", "none"))
        smoothing = float(self.configuration.get("label_smoothing") or 0.0)
        pixels = augment(images, kind, self.generator).contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=True)
        with self.device.autocast():
            logits = self.model(pixels)  # (B, classes)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        if not torch.isfinite(loss):
            raise TrialFailure("training", f"diverged: the loss became {loss.item()}")
        loss.backward()
        self.optimizer.step()
        self.emphasis.learn(which, logits.detach().float(), labels)
        return loss.detach()

    def _pick(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) uint8 and labels (B,) at these places (B,) in the training part."""
        picked = self.data.train[which]
        return self.data.images.index_select(0, picked), self.data.labels[picked]

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
        if self._continues:
            return
        factor = one_cycle(progress)
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor

    @torch.inference_mode()
    def evaluate(self) -> float:
        """Accuracy on the validation part, in [0, 1]."""
        logits = predict(self.model, self.data.val_images)
        hits = int((logits.argmax(1) == self.data.val_labels).sum())
        return hits / len(self.data.val_labels)


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, classes) of raw images (N, C, H, W), in evaluation mode."""
    was_training = model.training
    model.eval()
    logits = [_answer(model, batch) for batch in images.split(EVALUATION_BATCH)]
    model.train(was_training)
    return torch.cat(logits)


def predict_on_all_cores(model: nn.Module, images: Tensor) -> Tensor:
    """What `predict` returns, for a process that has the machine to itself."""
    return torch.cat(list(answers(model, images.split(EVALUATION_BATCH))))


def answers(model: nn.Module, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Logits (B, classes) of batches (B, C, H, W) in their order; each core takes the next batch.

    torch's own threads wait for each other, spinning, at the end of every operation: beside other
    processes that takes ten times the CPU-seconds of the work. Here each thread computes alone.

    Args:
        model: Raw images to logits, in evaluation mode.
        batches: Taken a few at a time.
    """
    cores, before = available_cores(), torch.get_num_threads()
    asked: deque[Future[Tensor]] = deque()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(cores) as threads:
            for batch in batches:
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


def make_optimizer(model: nn.Module, configuration: Configuration) -> torch.optim.Optimizer:
    """The configuration's optimiser; weight decay on matrices and kernels only.

    The chapter's four (Adam, Adadelta, RMSprop, SGD) keep PyTorch's defaults but the learning rate.
    """
    kind = str(configuration["optimizer"])
    lr = number(configuration["lr"])
    if kind in ("Adam", "Adadelta", "RMSprop", "SGD"):
        chapter: torch.optim.Optimizer = getattr(torch.optim, kind)(model.parameters(), lr=lr)
        return chapter
    parameters = list(model.parameters())
    decay = number(configuration["weight_decay"])
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True)
    return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, fused=True)
