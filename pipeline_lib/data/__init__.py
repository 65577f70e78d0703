"""Data sets: which there are, where they come from, how they are split, and the sealed test set."""
