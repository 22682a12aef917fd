"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("tokenizer", "wordpiece", "langadapt_tokenizers.trained:WordPiece", "WordPiece from scratch"),
        ComponentRef(
            "tokenizer", "bidirectional-wordpiece", "langadapt_tokenizers.bidirectional:BidirectionalWordPiece", "WordPiece from both ends"
        ),
        ComponentRef("tokenizer", "subcharacter", "langadapt_tokenizers.subcharacter:Subcharacter", "WordPiece over parts of characters"),
        ComponentRef("tokenizer", "bpe", "langadapt_tokenizers.trained:Bpe", "byte-pair encoding from scratch, over bytes or characters"),
        ComponentRef("tokenizer", "unigram", "langadapt_tokenizers.trained:Unigram", "Unigram language model from scratch"),
        ComponentRef(
            "tokenizer", "prune", "langadapt_tokenizers.prune:Prune", "the base's tokenizer without the pieces a language never uses"
        ),
        ComponentRef(
            "tokenizer",
            "advised",
            "langadapt_tokenizers.advised:Advised",
            "keep, prune, extend or replace, whichever the text speaks for",
            default=True,
        ),
        ComponentRef("tokenizer", "extend", "langadapt_tokenizers.extend:Extend", "the base's tokenizer with a domain's frequent words"),
    ]
