"""Every component of this plugin before the laws of its kind."""

from langadapt.testing import conformance

test_conformance = conformance(
    "langadapt_tokenizers.plugin",
    examples={
        **{f"tokenizer/{name}": {"vocab_size": 220} for name in ("wordpiece", "bidirectional-wordpiece", "subcharacter", "advised")},
        "tokenizer/unigram": {"vocab_size": 150},
        "tokenizer/bpe": {"vocab_size": 300},
    },
)
