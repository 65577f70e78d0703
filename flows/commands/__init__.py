"""The commands of `automl`, one function each; what they load, they load when they are called."""
