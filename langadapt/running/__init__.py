"""Walking a plan: stages run into the store, a run folder filled."""
