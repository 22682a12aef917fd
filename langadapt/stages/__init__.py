"""The nine verbs of a recipe, one module each: ``run(job)`` writes an artifact's files into ``job.folder``."""
