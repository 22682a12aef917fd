"""Every component of this plugin before the laws of its kind."""

from typing import Any

from langadapt.testing import SENTENCES, conformance, sample
from langadapt.testing.toys import TEXTS

READY = {"use": "file", "data": sample("parallel")}
TRANSLATED: list[dict[str, Any]] = [
    {
        "premise": TEXTS[i],
        "hypothesis": TEXTS[i + 1],
        "label": "neutral",
        "source_premise": TEXTS[i + 10],
        "source_hypothesis": TEXTS[i + 11],
        "engine": "file",
        "licence": "CC0-1.0",
        "engine_licence": "CC0-1.0",
        "quality": 0.5,
        "unknown": i % 2,
    }
    for i in range(20)
]
MARATHI = [{**row, "premise": SENTENCES[2 + i % 2], "hypothesis": SENTENCES[3 - i % 2]} for i, row in enumerate(TRANSLATED)]
ANSWERS = sample("parallel", ["prompt\tanswer", *(f"{text}\t{SENTENCES[0]}" for text in TEXTS)])
FILTERS = ("label-checks", "length-ratio", "copied-source", "unknown-words", "cross-lingual", "bertscore")
ENDPOINT = {"url": "http://127.0.0.1:9/v1", "model": "none"}

test_conformance = conformance(
    "langadapt_translate.plugin",
    examples={
        **{f"selector/{name}": {"rows": TRANSLATED} for name in FILTERS},
        "selector/language-id": {"target": "mr", "rows": MARATHI},
        "selector/round-trip": {"translator": READY, "target": "mr", "rows": TRANSLATED},
        "translator/file": {"data": sample("parallel")},
        "translator/openai-compatible": ENDPOINT,
        "translator/ctranslate2": {"model": "/nowhere/model"},
        "translator/transformers-seq2seq": {"model": "/nowhere/model"},
        "generator/openai-compatible": ENDPOINT,
        "generator/file": {"data": ANSWERS},
        "pairs/generated": {"data": sample("text"), "prompt": "{text}", "generator": {"use": "file", "data": ANSWERS}},
        "pairs/translated-nli": {"data": sample("nli"), "target_language": "mr", "translator": READY},
        "pairs/translated-sts": {"data": sample("sts"), "target_language": "mr", "translator": READY},
    },
)
