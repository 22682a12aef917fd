"""Checkpoints as modules: safe loading, batching by tokens, heads and vocabulary surgery."""
