"""The domain twitter."""
