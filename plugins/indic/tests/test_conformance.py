"""Every component of this plugin before the laws of its kind."""

from langadapt.testing import conformance

test_conformance = conformance("langadapt_indic.plugin")
