"""From manifests and flags to a plan: composed, typed, checked, pinned, keyed; nothing is run or written."""
