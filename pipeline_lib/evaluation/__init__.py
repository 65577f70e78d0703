"""The one reader of the test set, its ledger, and how a model fares on perturbed images."""
