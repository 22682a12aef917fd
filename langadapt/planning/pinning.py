"""Resources pinned to their content: what a key states is what will be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from langadapt.contracts.component import Component
from langadapt.contracts.data import Source
from langadapt.data.fetch import Pinned, pin_files, resolve_revision
from langadapt.errors import PlanError
from langadapt.files import stable_hash
from langadapt.manifests.resource import Resource
from langadapt.planning.raw import RawStage
from langadapt.registry.registry import Registry


def pin_all(value: Any, item: RawStage, pinner: Pinner) -> Any:
    """A copy of a model, component or list in which every resource is pinned."""
    if isinstance(value, Resource):
        return pinner.pin(value, item)
    if isinstance(value, list):
        return [pin_all(one, item, pinner) for one in value]
    if isinstance(value, BaseModel):
        changed = {}
        for name in type(value).model_fields:
            old = getattr(value, name)
            if isinstance(old, Resource | list | Component) and (new := pin_all(old, item, pinner)) != old:
                changed[name] = new
        return value.model_copy(update=changed) if changed else value
    return value


class Pinner:
    """Chooses each resource's source and pins its content, once a resource."""

    def __init__(self, wanted: str | None, registry: Registry) -> None:
        self.wanted = wanted
        self.registry = registry
        self._done: dict[str, Resource] = {}

    def pin(self, resource: Resource, item: RawStage) -> Resource:
        """The resource with `pinned` set.

        Raises:
            LangadaptError: the wanted source does not exist, a path is missing, or the Hub cannot be reached.
        """
        if resource.pinned is not None:
            return resource
        memo = stable_hash(resource.model_dump(mode="json"))
        if memo not in self._done:
            pinned = self._pinned(resource, item.where())
            stated = resource.from_hub() if pinned.place == "hub" else resource
            self._done[memo] = stated.model_copy(update={"pinned": pinned})
        return self._done[memo]

    def _pinned(self, resource: Resource, where: str) -> Pinned:
        place = self._place(resource, where)
        if place == "path":
            assert resource.sources.path is not None
            paths = tuple(Path(p).expanduser().absolute() for p in resource.sources.path.paths)
            return pin_paths(resource, paths, where)
        if place == "hub":
            hub = resource.sources.hub
            assert hub is not None
            commit = resolve_revision(resource, hub.id, hub.revision)
            identity: dict[str, Any] = {"hub": hub.id, "revision": commit}
            if hub.files:
                identity["files"] = hub.files
            return Pinned("hub", identity, f"{hub.id}@{commit[:12]}", hub_id=hub.id, revision=commit, files=tuple(hub.files))
        assert resource.sources.starter is not None
        component = self.registry.make(Source, resource.sources.starter, where)
        identity = {"component": component.identity(), "fingerprint": component.fingerprint()}
        return Pinned("starter", identity, f"starter: {component.name}", component=component)

    def _place(self, resource: Resource, where: str) -> str:
        names = resource.sources.names()
        if "path" in names:  # an explicit --resource or --base wins over --sources
            return "path"
        if self.wanted is None:
            return names[0]
        if self.wanted not in names:
            raise PlanError(
                f"resource '{resource.name}' has no {self.wanted} source (it has: {', '.join(names)})",
                where=where,
                hint=f"Give your own with --resource {resource.name}=PATH, or choose --sources {names[0]}.",
            )
        return self.wanted


def pin_paths(resource: Resource, paths: tuple[Path, ...], where: str) -> Pinned:
    """Pin local files by their bytes.

    Raises:
        PlanError: a path does not exist.
        DataError: a file cannot be read, is a pipe or a device, or changes while it is read.
    """
    for path in paths:
        if not path.exists():
            raise PlanError(
                f"resource '{resource.name}': there is no file or folder {path}",
                where=where,
                hint="Check the path; relative paths start at the current folder.",
            )
    identity, stamps = pin_files(paths)
    return Pinned("path", identity, ", ".join(str(path) for path in paths), paths=paths, stamps=stamps)
