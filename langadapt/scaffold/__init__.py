"""What ``langadapt new`` writes: whole packages that install, pass their tests and are used in a build as they are."""
