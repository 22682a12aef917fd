"""Pairs that a language lacks, translated from another language's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langadapt.contracts.data import PairReader, TranslatedPairReader
from langadapt.errors import RegistryError
from langadapt.planning.facts import LanguageFacts
from langadapt.planning.raw import RawStage
from langadapt.planning.resource_names import IN_ANOTHER

if TYPE_CHECKING:
    from langadapt.contracts.plan import Request
    from langadapt.registry.registry import Registry


def translate_pairs(stage: RawStage, facts: LanguageFacts, request: Request, registry: Registry) -> bool:
    """Turn a stage that reads pairs which the language lacks into one that translates another language's; True if it now does.

    ``{use: nli, data: $lang.nli}`` becomes the reader that ``nli`` names for it (``translated-nli``), on ``nli-en``, where there is no
    ``nli``, or where the user gave ``nli-en`` and no ``nli``; with that reader's own checks before the stage's selectors.
    """
    source = stage.data.get("source")
    if stage.data.get("do") != "pair" or not isinstance(source, dict) or str(source.get("use")) not in registry.names("pairs"):
        return False
    wanted = str(source.get("data", "")).removeprefix("$lang.")
    given = request.resources
    others = [name for name in (*given, *facts.values) if (found := IN_ANOTHER.fullmatch(name)) and found[1] == wanted]
    if not others or wanted in given or (wanted in facts.values and others[0] not in given):
        return False
    where = stage.where("source")
    reader = registry.get("pairs", source["use"], where)
    assert issubclass(reader, PairReader)
    if not reader.in_translation:
        return False
    translated = registry.get("pairs", reader.in_translation, where)
    if not issubclass(translated, TranslatedPairReader):
        raise RegistryError(f"the pairs '{reader.name}' name '{translated.name}' for translated data, and it translates none", where=where)
    code = others[0].rpartition("-")[2]
    stage.data["source"] = {
        "use": reader.in_translation,
        "data": f"$lang.{others[0]}",
        "source_language": code,
        "target_language": facts.code,
    }
    stage.data["translator"] = request.translator or stage.data.get("translator") or facts.values.get("translator")
    stage.data["selectors"] = [*translated.checks(code, facts.code), *(stage.data.get("selectors") or [])]
    return True
