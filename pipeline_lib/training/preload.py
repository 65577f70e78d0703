"""What the forkserver imports before it forks the first worker; to load is all this module does."""

from __future__ import annotations

from pipeline_lib.training.memory import load_for_good

# The first optimiser imports torch._dynamo, two seconds that every trial would pay again.
load_for_good("pipeline_lib.training.loop", "torch._dynamo")
