"""The ensemble: a few models of a run that answer together, chosen on validation images."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib.config import RunConfig
from pipeline_lib.data.splits import Split
from pipeline_lib.metrics import ACCURACY, Metric
from pipeline_lib.outcome import Ensemble, Member
from pipeline_lib.selection import leaderboard
from pipeline_lib.selection.ensemble_storage import Ensembles
from pipeline_lib.trial import ENSEMBLE, Rung, Trial, TrialState, by_regret

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Answers = npt.NDArray[np.float32]
    Floats = npt.NDArray[np.floating]
    Labels = npt.NDArray[np.int64]

ROUNDS = 20  # draws, repetitions included
MIXTURES = "mixtures"
"""Note of an ensemble: how many mixtures were scored to find it."""

_LIBRARY = 20  # models to draw from
_MOST_REGRET = 3  # times that of the best model: a worse one would join by chance
_ENOUGH_FINALS = 4
_AS_SURE = 4 / 3  # times the smallest log loss of a final: it joins the mean
_SECONDS_A_MODEL, _SECONDS_A_MEMBER = 4, 12
"""Budget for which a model may be asked for its answers, or be a member, which is asked often."""


@dataclass(frozen=True)
class Selection:
    """What the mixture that is kept consists of, in the order in which it joined."""

    drawn: tuple[int, ...]  # places in the library, perhaps with repetitions
    tried: int  # mixtures that were scored

    @property
    def weights(self) -> dict[int, float]:
        """Share of each member, in the order in which they joined; they sum to 1."""
        return {place: times / len(self.drawn) for place, times in Counter(self.drawn).items()}


@dataclass(frozen=True)
class Candidates:
    """Every trial that may win, and the answers that are known already.

    `answers` holds logits (N, classes) on the validation images by `Trial.label`.
    """

    trials: list[Trial]
    answers: Mapping[str, Answers]


def choose(
    stages: Sequence[str],
    probabilities: Floats,
    labels: Labels,
    most: int,
    metric: Metric = ACCURACY,
) -> Selection:
    """The mean of the finals, where there are enough; otherwise what greedy selection draws.

    The mean of several networks that were all trained to the end (deep ensembles: Lakshminarayanan
    et al. 2017) has no weights to fit; fitted to some thousands of images, they follow the few
    dozen errors that are left there (decision 7, which also says how far to trust it).

    Args:
        stages: Of each model, as in `Trial.stage`.
        probabilities: Probabilities (models, N, classes) that each model gives the images' classes.
        labels: The images' classes, (N,).
        most: Different models at most, ≥ 1.
        metric: Says which model is best.
    """
    losses = {i: _log_loss(probabilities[i], labels) for i, s in enumerate(stages) if s == "final"}
    surest = sorted(losses, key=lambda place: losses[place])[:most]
    finals = [place for place in surest if losses[place] <= _AS_SURE * losses[surest[0]]]
    if len(finals) < _ENOUGH_FINALS:
        return select(probabilities, labels, most, metric)
    return Selection(tuple(finals), 1)


def select(
    probabilities: Floats, labels: Labels, most: int, metric: Metric = ACCURACY
) -> Selection:
    """Greedy selection with replacement (Caruana et al. 2004, sec. 2.1 and 2.2).

    The best model comes first. Each further draw takes the model that makes the log loss
    of the mean of all drawn the smallest, and the draw where it is smallest is kept: of a few
    errors among thousands of images, one less is chance. So a mixture may err more often here than
    the best model alone; as a candidate like any other it then loses to it.

    The models should be calibrated, or the loss prefers those that are surer of themselves, such as
    one that was trained without label smoothing (Caruana et al. 2006).

    Args:
        probabilities: Probabilities (models, N, classes) that each model gives the images' classes.
        labels: The images' classes, (N,).
        most: Different models at most, ≥ 1.
        metric: Says which model is best.
    """
    import numpy as np

    total = np.zeros(probabilities.shape[1:], np.float64)
    drawn: list[int] = []
    losses: list[float] = []
    tried = 0
    regrets = [metric.regret(metric.score(each, labels)) for each in probabilities]
    for count in range(1, ROUNDS + 1):
        open_to = sorted(set(drawn)) if len(set(drawn)) == most else range(len(probabilities))
        mixtures = [(_log_loss((total + probabilities[i]) / count, labels), i) for i in open_to]
        best = min(mixtures) if drawn else min((regrets[i], loss, i) for loss, i in mixtures)[1:]
        loss, place = best
        total += probabilities[place]
        drawn.append(place)
        losses.append(loss)
        tried += len(open_to)
    kept = losses.index(min(losses)) + 1
    return Selection(tuple(drawn[:kept]), tried)


def _log_loss(probabilities: Floats, labels: Labels) -> float:
    """Of probabilities (N, classes)."""
    import numpy as np

    of_truth = np.take_along_axis(probabilities, labels[:, None], 1)  # (N, 1)
    loss = -float(np.log(np.maximum(of_truth, 1e-12)).mean())
    return round(loss, 12)  # what the order of a sum leaves


def add_ensemble(
    config: RunConfig, kept: Ensembles, trials: list[Trial], split: Split
) -> Candidates:
    """The trials, the run's ensembles among them; one that was built before is not built again.

    A short budget allows for fewer models and members: asking each costs time at the end.

    Args:
        config: Says how many members there may be.
        kept: The run's ensembles so far.
        trials: What its engines conducted.
        split: What the trials were trained on.
    """
    budget, most = config.budget_seconds, config.ensemble
    most = min(most, max(2, int(budget / _SECONDS_A_MEMBER))) if most > 1 else 1
    size = min(_LIBRARY, max(most, int(budget / _SECONDS_A_MODEL)))
    models = library(trials, size)
    answers = _build(kept, models, split, most) if most > 1 and len(models) > 1 else {}
    return Candidates([*trials, *kept.trials()], answers)


def library(trials: Iterable[Trial], size: int) -> list[Trial]:
    """The best models of each engine and family, in equal numbers and `size` at most, best first.

    None with more than `_MOST_REGRET` times the regret of the best.
    """
    from pipeline_lib.models.saved import WEIGHTS

    kept = [t for t in leaderboard.ranked(trials) if t.model and (t.model / WEIGHTS).is_file()]
    most = _MOST_REGRET * min(map(by_regret, kept), default=0.0)
    kept = [trial for trial in kept if by_regret(trial) <= most]
    kinds: dict[tuple[str, str], list[Trial]] = {}
    for trial in kept:
        kinds.setdefault((trial.engine, trial.family), []).append(trial)
    each = size // max(len(kinds), 1)
    return leaderboard.ranked(trial for alike in kinds.values() for trial in alike[:each])


def _build(kept: Ensembles, models: list[Trial], split: Split, most: int) -> dict[str, Answers]:
    """Select and save an ensemble of these models, where several are better than one.

    Returns logits (N, classes) on validation images by label, the ensemble's among them.
    """
    import numpy as np
    from scipy.special import softmax

    from pipeline_lib.models.ensemble import combine
    from pipeline_lib.selection.calibration import fit_temperature

    began, labels, metric = time.time(), split.validation_targets, models[0].metric
    sources = [trial.model for trial in models if trial.model]
    logits = _predicted(sources, split)
    answers = {trial.label: own.numpy() for trial, own in zip(models, logits, strict=True)}
    temperatures = [fit_temperature(own.numpy(), labels) for own in logits]
    scaled = (o.numpy().astype(np.float64) / t for o, t in zip(logits, temperatures, strict=True))
    probabilities = np.stack([softmax(each, axis=1) for each in scaled])  # (models, N, classes)
    selection = choose([trial.stage for trial in models], probabilities, labels, most, metric)
    if len(weights := selection.weights) == 1:
        return answers
    shares = (list(weights.values()), [temperatures[place] for place in weights])
    mixed = combine([logits[place] for place in weights], *shares).numpy()
    trial = _trial(kept.study, models, selection, metric.scores(mixed, labels))
    known = kept.trials()
    same = [each for each in known if each.configuration == trial.configuration]
    if not same:
        trial = replace(trial, number=len(known), started=began, seconds=time.time() - began)
        joined = _joined(metric, selection.drawn, probabilities, labels)
        members = _members(models, temperatures, selection, joined)
        kept.save(Ensemble(trial, members), [sources[i] for i in weights])
    answers[(same or [trial])[0].label] = mixed
    return answers


def _predicted(sources: Sequence[Path], split: Split) -> list[Tensor]:
    """Logits (N, classes) of each stored network on the validation images."""
    from pipeline_lib.models.saved import load_model
    from pipeline_lib.training.loop import batches, predict_on_all_cores

    return [
        predict_on_all_cores(network, batches(split.examples, split.validation))
        for network in map(load_model, sources)
    ]


def _joined(
    metric: Metric, drawn: Sequence[int], probabilities: Floats, labels: Labels
) -> list[float]:
    """Value of the mixture after each draw."""
    mixtures = (probabilities[list(drawn[:count])].mean(0) for count in range(1, len(drawn) + 1))
    return [metric.score(mixture, labels) for mixture in mixtures]


def _trial(
    study: str, models: list[Trial], selection: Selection, scores: Mapping[str, float]
) -> Trial:
    """An ensemble as a trial: what its members have, it has in sum."""
    members = [(models[place], weight) for place, weight in selection.weights.items()]
    samples, metric = sum(trial.rungs[-1].samples for trial, _ in members), models[0].metric
    return Trial(
        study=study,
        engine=ENSEMBLE,
        number=0,
        state=TrialState.COMPLETE,
        configuration={trial.label: weight for trial, weight in members},
        rungs=(Rung.of(metric, samples, scores, 0.0),),
        parameters=_sum(trial.parameters for trial, _ in members),
        multiply_adds=_sum(trial.multiply_adds for trial, _ in members),
        stage="final",
        notes={MIXTURES: str(selection.tried)},
        metric=metric,
    )


def _members(
    models: list[Trial], temperatures: list[float], selection: Selection, joined: list[float]
) -> tuple[Member, ...]:
    """What each member adds: `joined` are the mixture's values after each draw."""
    firsts = [selection.drawn.index(place) for place in selection.weights]
    ends = [*firsts[1:], len(selection.drawn)]  # before the next joins
    return tuple(
        Member(
            label=models[place].label,
            title=models[place].title,
            weight=weight,
            alone=models[place].rungs[-1].value,
            joined=joined[end - 1],
            temperature=temperatures[place],
        )
        for (place, weight), end in zip(selection.weights.items(), ends, strict=True)
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(filter(None, known))
