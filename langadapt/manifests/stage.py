"""What the stages of a recipe share, and the types that their options are made of.

A stage names earlier stages as inputs and components (:data:`~langadapt.manifests.language.Slot`) as choices.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from langadapt.manifests.language import Slot


def listed(value: Any) -> Any:
    """One thing as a list of one."""
    return value if isinstance(value, list) or value is None else [value]


Slots = Annotated[list[Slot], BeforeValidator(listed), Field(min_length=1)]
Names = Annotated[list[str], BeforeValidator(listed), Field(min_length=1)]
Selectors = Annotated[list[Slot], BeforeValidator(listed)]


class Stage(BaseModel):
    """What all stages share.  `inputs` and `slots` say which fields are stage names and components."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    inputs: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Field → artifact types that may stand there."""
    slots: ClassVar[dict[str, str]] = {}
    """Field → component kind."""
    output: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    together: ClassVar[bool] = False
    """Whether all processes of a build do it at once; others are done by the first."""

    do: str
