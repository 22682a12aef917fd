"""Language and domain manifests: facts and defaults that recipes refer to as ``$lang.x`` and ``$domain.x``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from langadapt.manifests.resource import Resource

LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$"
SCRIPT = r"^[A-Z][a-z]{3}$"
NAME = r"^[a-z][a-z0-9-]*$"
RESOURCE = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
"""Names reach paths and commands: nothing in them leads anywhere."""

ResourceName = Annotated[str, Field(pattern=RESOURCE, max_length=80)]

Slot = str | dict[str, Any]
"""A component by name, or ``{use: NAME, …options}``."""


Missing = dict[ResourceName, Annotated[str, Field(min_length=1, max_length=600)]]
"""Resource that recipes ask for and no source here has → how to come by it, in a sentence or two."""


def _name_resources(value: Any) -> Any:
    """Give every resource the name it stands under."""
    if not isinstance(value, dict):
        return value
    return {k: {"name": k, **v} if isinstance(v, dict) else v for k, v in value.items()}


class LanguageManifest(BaseModel):
    """Facts about one language: code (BCP 47), script (ISO 15924), encoders, data, licences."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = Field(pattern=LANGUAGE, max_length=60)
    name: str
    scripts: list[Annotated[str, Field(pattern=SCRIPT)]] = Field(min_length=1)
    related: list[str] = []
    note: str = ""
    normalizer: Slot | None = None
    translator: Slot | None = None
    """What translates pairs of other languages into this one, where it has none of its own."""
    encoders: list[str] = []
    """Published Hub encoders worth starting from, best first; `resources.encoder` is the default."""
    evaluators: list[Slot] = []
    resources: Annotated[dict[ResourceName, Resource], BeforeValidator(_name_resources)] = {}
    missing: Missing = {}


class DomainLanguage(BaseModel):
    """What a domain has for one language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    normalizer: Slot | None = None
    """In place of the domain's."""
    evaluators: list[Slot] = []
    resources: Annotated[dict[ResourceName, Resource], BeforeValidator(_name_resources)] = {}
    missing: Missing = {}


class DomainManifest(BaseModel):
    """Facts about one domain (Twitter, clinical, telecom): data and defaults, for all languages and for some.

    Its corpus stands in the language's place.  `defaults` are options of shipped recipes that suit the domain, as ``--set`` writes them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str = Field(pattern=NAME, max_length=80)
    name: str
    note: str = ""
    normalizer: Slot | None = None
    evaluators: list[Slot] = []
    resources: Annotated[dict[ResourceName, Resource], BeforeValidator(_name_resources)] = {}
    missing: Missing = {}
    languages: dict[str, DomainLanguage] = {}
    """By BCP 47 code: resources that hold for one language, over those above."""
    defaults: dict[str, dict[str, Any]] = {}
    """Recipe → ``stages.NAME.OPTION`` → value."""
