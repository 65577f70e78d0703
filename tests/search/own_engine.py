"""An engine of one's own: one network with ever smaller learning rates, one after the other."""

import time
from dataclasses import replace

from pipeline_lib.families.family import Family
from pipeline_lib.search.engine import Engine, trial_seed
from pipeline_lib.search.lines import Journal
from pipeline_lib.training.workers import TrialJob, TrialWorker, warm_up
from pipeline_lib.trial import Trial, TrialState

FAMILY = Family("book")
NETWORK = {
    "num_conv_layers": 1, "conv_depth_0": 16, "conv_dropout": 0.1, "num_fc_layers": 1,
    "fc_output_feat_0": 32, "fc_dropout_0": 0.1, "optimizer": "SGD", "batch_size": 32,
}  # fmt: skip


class Halving(Engine):
    name, title, spaces = "halving", "Halved rates", ("default",)
    retrains = repeats = True

    @classmethod
    def of(cls, config, home):
        return cls()

    def search(self, request, listen, stop):
        journal = Journal(self.name, request.study, request.directory)
        journal.open(request)
        while (number := len(self.trials(request.study, request.directory))) < request.trials:
            configuration = {**NETWORK, "lr": 0.2 * 0.5**number}
            notes, place = {"device": str(warm_up())}, journal.model_directory(number)
            trial = Trial(request.study, self.name, number, TrialState.RUNNING, configuration)
            began = {"started": time.time(), "notes": notes, "metric": request.metric}
            began["family"] = FAMILY.name
            listen(trial := replace(trial, **began))
            seed = trial_seed(request.seed, number)
            worker = TrialWorker(TrialJob(FAMILY, configuration, request.split, seed, place))
            worker.request(640)
            rung, size = worker.receive(), worker.size
            worker.close()
            costs = {"parameters": size.parameters, "multiply_adds": size.multiply_adds}
            trial = replace(trial, state=TrialState.COMPLETE, rungs=(rung,), model=place, **costs)
            journal.write(trial)
            listen(trial)
