"""What the author of a plugin tests it with: one line, and every component is held to the laws of its kind.

::

    from langadapt.testing import conformance

    test_conformance = conformance("my_plugin")

The laws run on a tiny encoder with random weights whose vocabulary writes three scripts, made in a second; nothing is fetched.  Needs
pytest.
"""

from langadapt.testing.conform import conformance
from langadapt.testing.samples import sample
from langadapt.testing.toys import SENTENCES, Toy

__all__ = ["SENTENCES", "Toy", "conformance", "sample"]
