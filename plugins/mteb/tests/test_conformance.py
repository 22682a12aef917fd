"""Every component of this plugin before the laws of its kind."""

import pytest

from langadapt.testing import conformance, sample

pytest.importorskip("mteb.abstasks")  # "mteb" alone could be this folder
pytest.importorskip("langadapt_mteb")

test_conformance = conformance("langadapt_mteb.plugin", examples={"evaluator/mteb": {"data": sample("sts")}})
