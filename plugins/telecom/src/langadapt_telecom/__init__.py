"""The domain telecom."""
