"""Evaluators with intervals."""
