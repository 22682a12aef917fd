"""Languages, domains and recipes as YAML manifests."""
