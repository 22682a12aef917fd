"""What this plugin brings, as strings: nothing is imported until a recipe names it."""

from __future__ import annotations

from collections.abc import Iterable

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("generator", "openai-compatible", "langadapt_translate.chat_generator:ChatGenerator", "texts by a chat endpoint"),
        ComponentRef("generator", "file", "langadapt_translate.file_generator:FileGenerator", "answers that lie in a file"),
        ComponentRef("pairs", "generated", "langadapt_translate.generated:GeneratedPairs", "a question for each text, by a language model"),
        ComponentRef("translator", "apertium", "langadapt_translate.apertium:Apertium", "rule-based engine from the system's packages"),
        ComponentRef(
            "translator", "transformers-seq2seq", "langadapt_translate.seq2seq:Seq2Seq", "OPUS-MT, NLLB, M2M100, mBART-50, MADLAD-400"
        ),
        ComponentRef("translator", "ctranslate2", "langadapt_translate.ct2:CTranslate2", "the same in int8, on processors and GPUs"),
        ComponentRef("translator", "bergamot", "langadapt_translate.bergamot:Bergamot", "English and Portuguese from inside a package"),
        ComponentRef("translator", "file", "langadapt_translate.ready:Ready", "translations that exist already"),
        ComponentRef("translator", "openai-compatible", "langadapt_translate.chat:Chat", "a chat model behind an HTTP endpoint"),
        ComponentRef("pairs", "translated-nli", "langadapt_translate.pairs:TranslatedNli", "NLI pairs of another language, translated"),
        ComponentRef("pairs", "translated-sts", "langadapt_translate.pairs:TranslatedSts", "STS pairs of another language, translated"),
        ComponentRef("selector", "label-checks", "langadapt_translate.filters:LabelChecks", "drop pairs whose label cannot have survived"),
        ComponentRef("selector", "length-ratio", "langadapt_translate.filters:LengthRatio", "drop translations of another length"),
        ComponentRef("selector", "language-id", "langadapt_translate.filters:LanguageId", "drop text of another script or language"),
        ComponentRef("selector", "copied-source", "langadapt_translate.filters:CopiedSource", "drop translations that are their source"),
        ComponentRef("selector", "unknown-words", "langadapt_translate.filters:UnknownWords", "drop what the engine did not know"),
        ComponentRef("selector", "round-trip", "langadapt_translate.quality:RoundTrip", "drop what does not come back, by chrF"),
        ComponentRef(
            "selector", "cross-lingual", "langadapt_translate.quality:CrossLingual", "drop what is far from its source, by vectors"
        ),
        ComponentRef("selector", "bertscore", "langadapt_translate.quality:BertScore", "drop what is unlike its source, by token states"),
    ]
