"""Search: engines, and what the Optuna engine is made of."""
