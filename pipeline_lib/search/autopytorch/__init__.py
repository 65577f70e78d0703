"""Auto-PyTorch 0.2.1 as an engine, in an environment of its own."""
