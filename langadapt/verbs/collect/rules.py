"""What ``do: collect`` leaves."""

from __future__ import annotations

from langadapt.contracts.data import Role
from langadapt.verbs.rules import Draft, Rules


class CollectRules(Rules):
    def columns(self, draft: Draft) -> dict[str, Role]:
        return {"text": Role.TEXT}
