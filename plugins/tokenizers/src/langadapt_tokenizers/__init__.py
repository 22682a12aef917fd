"""Tokenizers trained from, or pruned to, a corpus."""
