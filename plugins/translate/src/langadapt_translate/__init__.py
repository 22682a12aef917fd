"""Translation engines, translated pairs and their filters."""
