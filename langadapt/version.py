"""The version of langadapt and of the plugins released with it."""

__version__ = "0.2.0"
