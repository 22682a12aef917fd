"""What is checked of ``do: train``: steps, columns, teachers, samplers, adapters and scorers; and how much of the weights is kept."""

from __future__ import annotations

from typing import Any

from langadapt.contracts.plan import PlannedStage
from langadapt.contracts.training import Objective, Sampler
from langadapt.errors import PlanError
from langadapt.manifests.stage import Stage
from langadapt.modeling.precision import resolve_precision
from langadapt.verbs.rules import WHOLE, Draft, Rules, needs_whole_weights
from langadapt.verbs.train.options import Train

GENERATED_SHARE = 0.5
"""Share of the trained weights where the data are generated: a grammar teaches a little, and forgetting costs more."""


class TrainRules(Rules):
    def settle_options(self, draft: Draft) -> Stage:
        stage = _stage(draft)
        if (stage.epochs is None) == (stage.steps is None):
            raise PlanError(
                f"stage '{draft.name}' needs either 'epochs' or 'steps'{', and has both' if stage.steps else ''}",
                where=draft.where(),
                hint=f"Unset one: --set stages.{draft.name}.epochs=null" if stage.steps else None,
            )
        if stage.keep == "best" and stage.validation is None and stage.holdout == 0:
            raise PlanError(
                f"stage '{draft.name}' keeps the best checkpoint but measures none",
                where=draft.where("keep"),
                hint="Give 'validation' or 'holdout'.",
            )
        return stage.model_copy(update={"precision": resolve_precision(stage.precision)})

    def settle(self, draft: Draft) -> Stage:
        """How much of the trained weights is kept.

        Raises:
            PlanError: a share is asked for of an adapter, which stands beside weights that do not change.
        """
        stage, adaptation, objective = _stage(draft), draft.slots["adaptation"], draft.slots["objective"]
        if adaptation.light and stage.interpolate not in (None, 1.0):
            raise PlanError(
                f"stage '{draft.name}' interpolates weights, and '{adaptation.name}' leaves those of the base as they are",
                where=draft.where("interpolate"),
                hint="Leave 'interpolate' out.",
            )
        if stage.interpolate is not None or adaptation.light or objective.leaves == "Scorer":
            share = stage.interpolate or 1.0
        else:
            generated = any(resource.made == "generated" for resource in draft.read("data")[0].resources())
            share = GENERATED_SHARE if generated else 1.0
        return stage.model_copy(update={"interpolate": share})

    def check(self, draft: Draft) -> None:
        objective: Objective = draft.slots["objective"]
        data = draft.read("data")[0]
        wanted = _columns(draft, objective, data)
        _check_sampler(draft, objective, data)
        _check_teacher(draft, objective)
        _check_roles(draft, objective, data, wanted)
        _check_scorer(draft, objective)
        _check_adapters(draft)


def _stage(draft: Draft) -> Train:
    assert isinstance(draft.stage, Train)
    return draft.stage


def _columns(draft: Draft, objective: Objective, data: PlannedStage) -> Any:
    """The set of columns of the objective's that the data have."""
    found = next((one for one in objective.columns if set(one) <= set(data.columns)), None)
    if found is None:
        sets = " or ".join("(" + ", ".join(one) + ")" for one in objective.columns)
        raise PlanError(
            f"objective '{objective.name}' trains on {sets}, but '{data.name}' has ({', '.join(sorted(data.columns))})",
            where=draft.where("objective"),
        )
    return found


def _check_roles(draft: Draft, objective: Objective, data: PlannedStage, wanted: Any) -> None:
    """Refuse columns of the right name that hold another sort of thing."""
    wrong = next((name for name, role in wanted.items() if data.columns[name] is not role), None)
    if wrong is not None:
        raise PlanError(
            f"objective '{objective.name}' reads '{wrong}' as {wanted[wrong].value}, "
            f"but '{data.name}' holds {data.columns[wrong].value} there",
            where=draft.where("objective"),
        )


def _check_sampler(draft: Draft, objective: Objective, data: PlannedStage) -> None:
    """Refuse a sampler whose columns the data lack, or of whose columns the objective cuts the texts into several rows."""
    sampler: Sampler | None = draft.slots.get("sampler")
    for name in sampler.reads() if sampler is not None else ():
        assert sampler is not None
        if name not in data.columns:
            raise PlanError(
                f"the sampler '{sampler.name}' looks at '{name}', and '{data.name}' has ({', '.join(sorted(data.columns))})",
                where=draft.where("sampler"),
                hint="Add it in an annotate stage before this one.",
            )
        if objective.long_texts == "split":
            raise PlanError(
                f"the sampler '{sampler.name}' looks at '{name}' of whole texts, and '{objective.name}' cuts long ones into several",
                where=draft.where("sampler"),
            )


def _check_teacher(draft: Draft, objective: Objective) -> None:
    named = "teacher" in draft.inputs
    if objective.needs_teacher and not named:
        asks = f"objective '{objective.name}' asks a teacher at every step, and stage '{draft.name}' names none"
        raise PlanError(asks, where=draft.where("objective"))
    if named and not objective.needs_teacher:
        asks = f"stage '{draft.name}' names a teacher, and objective '{objective.name}' asks none"
        raise PlanError(asks, where=draft.where("teacher"))


def _check_scorer(draft: Draft, objective: Objective) -> None:
    """Refuse a scorer that an encoder's objective would train, and options that a scorer does not take."""
    start = draft.read("encoder")[0]
    if objective.leaves != "Scorer":
        if start.output == "Scorer":
            raise PlanError(f"'{start.name}' is a scorer, and '{objective.name}' trains encoders", where=draft.where("encoder"))
        return
    adaptation = draft.slots["adaptation"]
    wrong = [role for role in ("pooler", "validation") if draft.slots.get(role) is not None]
    wrong += [name for name in ("holdout", "gradient_checkpointing", "interpolate") if draft.written.get(name)]
    wrong += ["keep"] if draft.written.get("keep") == "best" else []
    wrong += ["adaptation"] if adaptation.light or adaptation.new_rows else []
    if wrong:
        raise PlanError(f"'{objective.name}' leaves a scorer, which takes no {' and no '.join(wrong)}", where=draft.where(wrong[0]))


def _check_adapters(draft: Draft) -> None:
    """Refuse a teacher whose adapter has no merged form, and training that does not go on with the adapter it begins with."""
    needs_whole_weights(draft, "teacher", WHOLE)
    start, own = draft.read("encoder")[0], draft.slots["adaptation"]
    if start.light() and own != start.slots["adaptation"]:
        raise PlanError(
            f"'{start.name}' carries an adapter of '{start.slots['adaptation'].name}', "
            f"and this stage trains '{own.name}' or other options of it",
            where=draft.where("adaptation"),
            hint="Continue with the same adaptation and options, or start from the base.",
        )
