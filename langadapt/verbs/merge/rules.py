"""What is checked of ``do: merge``."""

from __future__ import annotations

from langadapt.verbs.rules import WHOLE, Draft, Rules, needs_whole_weights


class MergeRules(Rules):
    def check(self, draft: Draft) -> None:
        needs_whole_weights(draft, "encoders", WHOLE)
