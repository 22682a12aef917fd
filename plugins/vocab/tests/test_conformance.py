"""Every component of this plugin before the laws of its kind."""

from langadapt.testing import conformance, sample

test_conformance = conformance(
    "langadapt_vocab.plugin",
    examples={
        "vocab-init/distil": {"steps": 20},
        "vocab-init/alignment": {"parallel": sample("parallel")},
        "vocab-init/wechsel": {"dictionary": sample("dictionary"), "old_vectors": sample("vectors"), "new_vectors": sample("vectors")},
    },
)
