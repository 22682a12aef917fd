"""What is checked of ``do: evaluate``, and what its scores depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langadapt.contracts.plan import PlannedStage
from langadapt.errors import PlanError
from langadapt.verbs.rules import Draft, Rules

TRAINED_ON = "trained_on"
"""The role of the data that the encoders were trained on: tests are searched for in it."""


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

    def reads(self, draft: Draft) -> dict[str, list[str]]:
        names = [name for one in draft.inputs["encoders"] for name in trained_on(one, draft.planned)]
        return {TRAINED_ON: list(dict.fromkeys(names))} if names else {}

    def identity(self, draft: Draft) -> dict[str, Any]:
        """Scores are labelled with the names of the encoders: here names are content."""
        data = draft.inputs.get(TRAINED_ON, [])
        seen = {one: [data.index(name) for name in trained_on(one, draft.planned)] for one in draft.inputs["encoders"]}
        return {"labels": list(draft.inputs["encoders"]), TRAINED_ON: seen}


def trained_on(encoder: str, planned: Mapping[str, PlannedStage]) -> list[str]:
    """Data that this encoder, or any encoder it was made from, was trained on, in the order of the plan."""
    seen, todo, found = {encoder}, [encoder], set()
    while todo:
        stage = planned[todo.pop()]
        if stage.stage.do == "train":
            found |= set(stage.inputs.get("data", []))
        for name in stage.input_names():
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return [name for name in planned if name in found]
