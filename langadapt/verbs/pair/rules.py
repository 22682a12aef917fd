"""What ``do: pair`` leaves, and what translates in it."""

from __future__ import annotations

from typing import Any

from langadapt.contracts.data import Role, TranslatedPairReader
from langadapt.errors import PlanError
from langadapt.verbs.rules import Draft, Rules


class PairRules(Rules):
    def columns(self, draft: Draft) -> dict[str, Role]:
        return dict(draft.slots["source"].columns)

    def identity(self, draft: Draft) -> dict[str, Any]:
        """What translates: its name and licence stand in every row.

        Raises:
            PlanError: no translator is named, or it cannot serve the pair here.
        """
        source, translator = draft.slots["source"], draft.slots.get("translator")
        if not isinstance(source, TranslatedPairReader):
            return {}
        target = source.target_language
        pair = f"{source.source_language} → {target}"
        ask = f"'langadapt translators --from {source.source_language} --to {target}' lists what can serve it here."
        if translator is None:
            raise PlanError(
                f"stage '{draft.name}' translates {pair} and names no translator", where=draft.where(), hint=f"Add --translator. {ask}"
            )
        offer = translator.offer(source.source_language, target)
        if not offer.ready:
            raise PlanError(
                f"the translator '{translator.name}' cannot serve {pair}: {offer.needs}", where=draft.where("translator"), hint=ask
            )
        engine = {
            "name": offer.name,
            "licence": offer.licence,
            "binding": offer.binding,
            "fingerprint": offer.fingerprint,
            "data": source.data.licence,
        }
        return {"engine": engine}
