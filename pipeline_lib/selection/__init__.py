"""Which model wins: leaderboard, ensembles, folds, comparison. All on validation images."""
