"""Pictures and pages of what was built."""
