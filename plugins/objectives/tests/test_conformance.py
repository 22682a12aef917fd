"""Every component of this plugin before the laws of its kind."""

from langadapt.testing import SENTENCES, conformance

test_conformance = conformance(
    "langadapt_objectives.plugin",
    examples={
        "transform/truncate": {"dimensions": 7},
        "transform/pca": {"dimensions": 7},
        "pooler/ditto": {"layer": 1, "head": 2},
        "objective/colbert": {"pooler": {"use": "colbert", "dimensions": 8}},
        "objective/nsp": {"rows": [{"text": " ".join(SENTENCES[i:] + SENTENCES[:i])} for i in range(6)]},
        "objective/listwise-distil": {
            "rows": [{"anchor": SENTENCES[i], "candidates": list(SENTENCES[:3]), "scores": [0.1, 2.0, -1.0]} for i in range(9)]
        },
    },
)
