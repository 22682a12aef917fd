"""What a verb checks of its stage before anything runs, and what it adds to the stage's key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langadapt.contracts.data import Role
from langadapt.contracts.plan import PlannedStage
from langadapt.errors import PlanError
from langadapt.manifests.stage import Stage


@dataclass(frozen=True)
class Draft:
    """A stage on its way into a plan."""

    name: str
    written: Mapping[str, Any]
    """The stage as its recipe has it, overrides applied."""
    stage: Stage
    slots: Mapping[str, Any]
    """Field → component, list of components or None; empty while options are settled."""
    inputs: Mapping[str, list[str]]
    """Field → names of earlier stages, of types that the verb takes."""
    planned: Mapping[str, PlannedStage]
    """Every earlier stage by name."""
    where: Callable[..., str]
    """``file:line`` of a key, given by its path below the stage."""

    def read(self, role: str) -> list[PlannedStage]:
        """The earlier stages that stand in a field."""
        return [self.planned[name] for name in self.inputs.get(role, [])]

    def listed(self, slot: str) -> list[Any]:
        """The components in a slot that holds several; none where it is empty."""
        return list(self.slots.get(slot) or [])


class Rules:
    """What most verbs do: nothing to settle, whole weights wanted of an encoder that is read, no columns left."""

    def settle_options(self, draft: Draft) -> Stage:
        """The stage, once what its options leave open is decided; no component is known yet.

        Raises:
            PlanError: options that contradict one another.
        """
        return draft.stage

    def settle(self, draft: Draft) -> Stage:
        """The stage, once what components and inputs decide is decided.

        Raises:
            PlanError: an option that does not go with a component.
        """
        return draft.stage

    def check(self, draft: Draft) -> None:
        """Refuse what could not run.

        Raises:
            PlanError: with the line at which the recipe says it.
        """
        needs_whole_weights(draft, "encoder")

    def columns(self, draft: Draft) -> dict[str, Role]:
        """For a stage of data: the columns it leaves, and what they are.

        Raises:
            PlanError: a component reads or adds a column that cannot be.
        """
        return {}

    def reads(self, draft: Draft) -> dict[str, list[str]]:
        """Earlier stages that it reads beside those that the recipe names: role → names."""
        return {}

    def identity(self, draft: Draft) -> dict[str, Any]:
        """What the stage's result depends on beside its options, components, inputs and seed, as plain JSON."""
        return {}


RELEASE_ALONE = "Release the adapter alone with exporters: [adapter], or train LoRA, which can be merged."
WHOLE = "Name an encoder of whole weights, or train LoRA, which can be merged."


def needs_whole_weights(draft: Draft, role: str, hint: str = RELEASE_ALONE) -> None:
    """Refuse, in a field that wants whole weights, an adapter that has no merged form.

    Raises:
        PlanError: there is one.
    """
    for one in draft.read(role):
        if not one.light() or one.slots["adaptation"].mergeable:
            continue
        raise PlanError(
            f"stage '{draft.name}' needs the whole weights of '{one.name}', and '{one.slots['adaptation'].name}' "
            "cannot be merged into its base",
            where=draft.where(role),
            hint=hint,
        )
