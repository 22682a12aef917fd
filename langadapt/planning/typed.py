"""Raw stages typed by the options of their verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from langadapt.errors import LangadaptError, PlanError, did_you_mean, raise_all
from langadapt.manifests.resource import HubSource, PathSource, Resource, Sources
from langadapt.manifests.stage import Stage
from langadapt.planning.raw import RawStage
from langadapt.registry.registry import option_error
from langadapt.verbs import VERBS


def typed_stage(item: RawStage) -> Stage:
    """A stage as its verb's options.

    Raises:
        LangadaptError: no such verb, an unknown key or a wrong value; several reported together.
    """
    verb = item.data.get("do")
    if not isinstance(verb, str) or verb not in VERBS:
        raise PlanError(f"stage '{item.name}' does '{verb}', which is no verb", where=item.where("do"), hint=did_you_mean(str(verb), VERBS))
    model = VERBS[verb].options
    data = {k: _as_encoder(v) if (verb, k) == ("load", "source") and isinstance(v, str) else v for k, v in item.data.items()}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems: list[LangadaptError] = []
        for problem in error.errors():
            single = ValidationError.from_exception_data(error.title, [_line(problem)])
            location = item.where(*problem["loc"])
            known = [info.alias or name for name, info in model.model_fields.items()]
            problems.append(option_error(single, f"stage '{item.name}'", known, location))
        raise_all(problems)
        raise


def _line(problem: Any) -> Any:
    """A pydantic complaint in the form its own constructor takes back."""
    from pydantic_core import PydanticCustomError

    if problem["type"] in ("extra_forbidden", "missing"):
        kind: Any = problem["type"]
    else:
        kind = PydanticCustomError(problem["type"], problem["msg"].replace("{", "(").replace("}", ")"))
    return {"type": kind, "loc": problem["loc"], "input": problem.get("input")}


def _as_encoder(source: str) -> Resource:
    """A checkpoint named outright in a recipe or by ``--base``: a folder that exists, else a Hub id."""
    path = Path(source).expanduser()
    if path.exists() or source.startswith((".", "/", "~")):
        # Where this machine keeps a base is nobody's business; its folder's name is.
        return Resource(name="encoder", format="encoder", sources=Sources(path=PathSource(paths=[source])), origin=path.absolute().name)
    return Resource(name="encoder", format="encoder", sources=Sources(hub=HubSource(id=source)), origin=source)
