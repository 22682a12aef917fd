"""Initialisation of new embedding rows."""
