"""Training objectives and fitted transforms."""
