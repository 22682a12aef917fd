"""Release formats."""
