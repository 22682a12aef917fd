"""What is checked of ``do: evaluate``, and what its scores depend on."""

from __future__ import annotations

from typing import Any

from langadapt.errors import PlanError
from langadapt.verbs.rules import Draft, Rules


class EvaluateRules(Rules):
    def check(self, draft: Draft) -> None:
        for one in draft.read("encoders"):
            for evaluator in draft.listed("evaluators"):
                if one.output not in evaluator.subjects:
                    raise PlanError(
                        f"the evaluator '{evaluator.name}' scores {' or '.join(sorted(evaluator.subjects))}, "
                        f"and '{one.name}' is {'an' if one.output == 'Encoder' else 'a'} {one.output}",
                        where=draft.where("evaluators"),
                    )

    def identity(self, draft: Draft) -> dict[str, Any]:
        return {"labels": list(draft.inputs["encoders"])}  # scores are labelled with the names of the encoders: here names are content
