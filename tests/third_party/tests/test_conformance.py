"""Every component of this plugin before the laws of its kind."""

from langadapt.testing import conformance, sample

test_conformance = conformance("langadapt_example.plugin", examples={"evaluator/length-bias": {"data": sample("sts")}})
