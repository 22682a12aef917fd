"""What the neural translators share: a pinned checkpoint, its family's language codes, and its licence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from langadapt.contracts import Context, HubSource, PathSource, Resource, Sources
from langadapt.contracts.reading import Pinned, fetch, read_json, stable_hash
from langadapt.errors import DataError
from langadapt_translate.languages import alpha3, flores

LICENCES = {
    "facebook/nllb": "CC BY-NC 4.0",
    "facebook/m2m100": "MIT",
    "helsinki-nlp/opus-mt": "CC BY 4.0",
    "ai4bharat/indictrans2": "MIT",
    "google/madlad400": "Apache-2.0",
}
"""Beginnings of Hub ids and the licence their publishers state for the weights."""


def _as_resource(value: Any) -> Any:
    """A folder that exists, else a Hub id."""
    if not isinstance(value, str):
        return value
    path = Path(value).expanduser()
    if path.exists() or value.startswith((".", "/", "~")):
        return Resource(name="translator", format="encoder", sources=Sources(path=PathSource(paths=[value])), origin=path.absolute().name)
    licence = next((licence for start, licence in LICENCES.items() if value.lower().startswith(start)), "not stated")
    return Resource(name="translator", format="encoder", sources=Sources(hub=HubSource(id=value)), origin=value, licence=licence)


Checkpoint = Annotated[Resource, BeforeValidator(_as_resource)]
"""A model option: a folder, a Hub id, or a resource written out."""


def folder_of(model: Resource, ctx: Context) -> Path:
    """The checkpoint's folder on this machine.

    Raises:
        DataError: there is no ``config.json``, or its weights are pickled: only safetensors are loaded.
    """
    folder = fetch(model, ctx)[0]
    if not (folder / "config.json").is_file():
        raise DataError("there is no config.json", where=str(folder), hint="A transformers checkpoint folder is needed.")
    if not any(folder.glob("*.safetensors")):
        raise DataError(
            "there are no safetensors weights, and pickled ones are not loaded",
            where=str(folder),
            hint="Convert them once, on a machine you trust: model.save_pretrained(FOLDER, safe_serialization=True).",
        )
    return folder


def fingerprint(model: Resource) -> str:
    """Identity of a pinned checkpoint; empty before a plan pins it."""
    return stable_hash(model.pinned.identity) if isinstance(model.pinned, Pinned) else ""


def family(folder: Path) -> str:
    """``marian``, ``m2m``, ``nllb``, ``mbart`` or ``madlad``.

    Raises:
        DataError: another architecture.
    """
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if kind == "m2m_100":
        about = folder / "tokenizer_config.json"
        named = read_json(about).get("tokenizer_class", "") if about.is_file() else ""
        return "nllb" if "Nllb" in named else "m2m"
    known = {"marian": "marian", "mbart": "mbart", "t5": "madlad"}
    if kind not in known:
        raise DataError(
            f"'{kind}' is no translation model that is known here",
            where=str(folder / "config.json"),
            hint="Known: Marian (OPUS-MT), NLLB, M2M100, mBART-50 and MADLAD-400 (T5). IndicTrans2 runs through ctranslate2.",
        )
    return known[kind]


def vocabulary_of(tokenizer: Any) -> dict[str, int]:
    """Pieces and language tokens; M2M100's tokenizer keeps the latter apart."""
    return {**tokenizer.get_vocab(), **getattr(tokenizer, "lang_token_to_id", {})}


def code_in(vocabulary: dict[str, int], code: str, kind: str, folder: Path) -> str:
    """The token that names a language to a family of models; for Marian, empty where it needs none.

    Raises:
        DataError: the model's vocabulary has no token for the language.
    """
    three = alpha3(code)
    tokens = {
        "marian": [f">>{three}<<", f">>{code}<<"],
        "nllb": [flores(code)],
        "m2m": [f"__{code}__", f"__{three}__"],
        "madlad": [f"<2{code}>", f"<2{three}>"],
        "mbart": [token for token in vocabulary if token.startswith(f"{code}_") and len(token) == 5],
    }[kind]
    found = next((token for token in tokens if token in vocabulary), None)
    if found is not None:
        return found
    if kind == "marian" and not any(token.startswith(">>") for token in vocabulary):
        return ""  # one pair of languages: nothing to choose
    raise DataError(
        f"the model knows no language '{code}' (looked for {', '.join(tokens) or f'{code}_XX'})",
        where=str(folder),
        hint="Choose a model that was trained on it: langadapt translators --from SOURCE --to TARGET.",
    )
