"""Corpora, sentence pairs and selectors."""
