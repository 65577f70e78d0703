"""Answers of registered models."""
