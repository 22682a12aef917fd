"""Normalisation of Indic scripts."""
