"""``do: init-vocab``: move an encoder onto a new tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langadapt.artifacts import dataset
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.vocabulary import Origins
from langadapt.contracts.vocabulary import Embedding
from langadapt.modeling.loading import load_tokenizer
from langadapt.modeling.surgery import agree_on_inputs, apply_mixture, unigram_log_probabilities, vocab_of
from langadapt.verbs.job import Job


def run(job: Job) -> dict[str, Any]:
    loaded = job.encoder("encoder")
    tokenizer = load_tokenizer(job.need("tokenizer"))
    folder = job.one("corpus")
    table = dataset.load(folder) if folder else None

    def texts() -> Iterator[str]:
        assert table is not None
        return table.texts()

    old = vocab_of(loaded.tokenizer, loaded.model)
    new = vocab_of(tokenizer)
    method = job.slot("vocab_init")
    mixture = method.mixture(old, new, texts() if table else None, job.ctx)
    frequencies = unigram_log_probabilities(tokenizer, texts()) if table else None
    apply_mixture(loaded.model, mixture, loaded.tokenizer, tokenizer, frequencies)
    agree_on_inputs(tokenizer, loaded.model, loaded.tokenizer.model_input_names)
    loaded.tokenizer = tokenizer
    if loaded.settings.embedding is not None:  # rows follow from spellings, those of the new tokens too
        loaded.compute_rows(job.registry.make(Embedding, loaded.settings.embedding))
    loaded.origins = Origins.of(mixture, old.tokens, method.name)
    encoders.save(loaded, job.folder)
    counts = loaded.origins.counts()
    shown = ", ".join(f"{count:,} {origin}" for origin, count in counts.items())
    lost = counts.get("mean of all", 0)
    if lost > 0.9 * len(new.tokens):
        job.ctx.log.warning(
            f"{lost / len(new.tokens):.0%} of the tokens start at the mean of all rows: next to nothing of the base is carried over. "
            "Check that the base can spell this text, and what the vocab-init was given."
        )
    parameters = sum(p.numel() for p in loaded.model.parameters())
    job.ctx.log.info(f"{len(old.tokens):,} → {len(new.tokens):,} tokens: {shown}; {parameters / 1e6:.1f} M weights")
    return {"type": "Encoder", "parameters": parameters, "provenance": counts}
