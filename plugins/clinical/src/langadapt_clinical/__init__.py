"""The domain clinical."""
