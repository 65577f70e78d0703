"""The proof: how fast and how good, as ratios within one run on the same cores."""
