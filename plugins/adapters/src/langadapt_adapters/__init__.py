"""Bottleneck adapters, prefix tuning and their compositions."""
