"""Where labelled examples come from."""
