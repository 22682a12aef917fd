"""Every component of this plugin before the laws of its kind."""

from langadapt.testing import conformance

APART = dict.fromkeys(("adaptation/stack", "adaptation/fuse", "adaptation/average"), "stands on trained adapters: tests/test_adapters.py")

test_conformance = conformance("langadapt_adapters.plugin", apart=APART)
