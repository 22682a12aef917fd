"""A small component of every kind, which works: what a new plugin begins with."""
