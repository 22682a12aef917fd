"""Every component of this plugin before the laws of its kind."""

from langadapt.testing import conformance, sample

GLOSSARY = [
    "The Access Point Name (APN) tells the network which gateway to choose.",
    "Network slice: a logical network that serves one purpose.",
    "A Base Station Controller (BSC) steers several base stations.",
]

test_conformance = conformance(
    "langadapt_data.plugin",
    examples={
        "corpus/resource": {"data": sample("text")},
        "corpus/text-files": {"data": sample("text")},
        "pairs/glossary": {"data": sample("text", GLOSSARY)},
        "pairs/nli": {"data": sample("nli")},
        "pairs/sts": {"data": sample("sts")},
        "pairs/retrieval": {"data": sample("retrieval")},
        "selector/script": {"scripts": ["Deva"]},
        "annotator/clusters": {"k": 4},
    },
)
