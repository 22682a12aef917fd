"""A release, or any checkpoint, loaded for inference."""
