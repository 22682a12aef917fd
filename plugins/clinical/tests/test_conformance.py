"""Every component of this plugin before the laws of its kind."""

from langadapt.testing import conformance, sample

test_conformance = conformance(
    "langadapt_clinical.plugin", examples={"corpus/notes": {"data": sample("text")}, "selector/leak-check": {"action": "drop"}}
)
