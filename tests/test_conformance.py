"""Every component of the core before the laws of its kind."""

from langadapt.testing import conformance

test_conformance = conformance(
    "langadapt.registry.builtin",
    examples={"pooler/layer-mean": {"layers": [1, -1]}, "normalizer/chain": {"steps": ["twitter"]}},
)
