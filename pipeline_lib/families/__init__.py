"""Kinds of network: what may be chosen of each, and how it is built."""
