"""A run from its configuration to the registered model, and what is done with runs later."""
