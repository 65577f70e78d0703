"""What the forkserver imports before it forks the first worker; to load is all this module does."""

from __future__ import annotations

from pipeline_lib.training.memory import preload_and_freeze

# The first optimiser imports torch._dynamo, two seconds that every trial would pay again.
preload_and_freeze("pipeline_lib.training.loop", "torch._dynamo")
