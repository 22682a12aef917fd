"""Components of a third party: they import langadapt.contracts, langadapt.errors and nothing else of it."""
