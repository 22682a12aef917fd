"""Every component of this plugin before the laws of its kind."""

from itertools import pairwise

from langadapt.testing import SENTENCES, conformance, sample

ROLES = ("target1", "target2", "attribute1", "attribute2")
TARGETS = ["text\tlabel", *(f"{text}\t{ROLES[i % 4]}" for i, text in enumerate(SENTENCES * 2))]

LATIN = [word for text in SENTENCES[:4] for word in text.rstrip(".").split() if word.isascii()] + [f"word{i}" for i in range(16)]
QUESTIONS = ["a\tb\tc\td", *("\t".join(LATIN[i : i + 4]) for i in range(12))]
ANSWERS = ["word\tanswers", *(f"{word}\t{'|'.join('aeiou')}" for word in LATIN)]
FEATURES = ["word\tfeature\tvalue", *(f"word{i}\tf{j}\t{(3 * i + 5 * j) % 7}" for i in range(30) for j in range(4))]

PAIRS = ["sentence1\tsentence2\tlabel", *(f"{one}\t{other}\tkind" for one, other in pairwise(SENTENCES))]

test_conformance = conformance(
    "langadapt_evaluators.plugin",
    examples={
        **{
            f"evaluator/{name}": {"data": sample("retrieval")}
            for name in ("bm25", "rerank", "retrieval", "similarity-overlap", "thresholds")
        },
        **{f"evaluator/{name}": {"data": sample("text")} for name in ("fertility", "hubness", "isotropy", "pseudo-perplexity")},
        "evaluator/clustering": {"data": sample("classification"), "algorithms": ["k-means", "agglomerative", "hdbscan"]},
        "evaluator/pair-classification": {"data": sample("nli")},
        "evaluator/seat": {"data": sample("classification", TARGETS)},
        "evaluator/log-probability-bias": {"data": sample("classification", PAIRS)},
        "evaluator/probing": {"data": sample("text"), "tasks": ["length", "bigram-shift"], "texts": 80},
        "evaluator/bitext": {"data": sample("parallel")},
        "evaluator/classification": {"data": sample("classification")},
        **{f"evaluator/{name}": {"data": sample("sts")} for name in ("bertscore", "sts")},
        "evaluator/evalrank": {"data": sample("sts"), "least": 0.1},
        "evaluator/tagging": {"data": sample("tags"), "test": sample("tags")},
        "evaluator/analogy": {"data": sample("classification", QUESTIONS)},
        "evaluator/rare-words": {"data": sample("classification", ANSWERS), "patterns": {"": ["{word} {answer}"]}},
        "evaluator/semantic-features": {"data": sample("classification", FEATURES)},
        "evaluator/paraphrase-robustness": {"evaluator": {"use": "sts", "data": sample("sts")}, "slips": ["typos"], "runs": 2},
        "evaluator/layer-sweep": {"evaluator": {"use": "sts", "data": sample("sts")}},
    },
    apart={"evaluator/energy": "measures time, which no two runs agree on: tests/test_robustness_and_energy.py"},
)
