"""A pruner of one's own: only trials above a line that rises from rung to rung go on."""

from optuna.pruners import BasePruner


class Line(BasePruner):
    def __init__(self, rungs):
        self.line = {samples: 0.3 * number for number, samples in enumerate(rungs, 1)}

    def prune(self, study, trial):
        return trial.intermediate_values[trial.last_step] < self.line[trial.last_step]


def make(ladder):
    return Line(ladder.rungs)
