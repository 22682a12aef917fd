"""Embedded default: a small real encoder and Marathi sentence pairs, to try langadapt without a network."""
