"""Every component of this plugin before the laws of its kind."""

from langadapt.testing import conformance

OVER = ("adaptation/stack", "adaptation/fuse", "adaptation/average", "adaptation/semi-siamese-hybrid")
APART = dict.fromkeys(OVER, "stands on trained adapters: tests/test_adapters.py, tests/test_semi_siamese.py")

test_conformance = conformance("langadapt_adapters.plugin", apart=APART)
