"""Which model wins: leaderboard, ensembles, folds, the contest. All on validation images."""
