"""Every shipped recipe for every shipped language and domain: it can be planned, or the manifest says how to come by what it lacks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import huggingface_hub.utils as hub_utils
import pytest

from langadapt import Request
from langadapt.errors import LangadaptError
from langadapt.manifests import yaml
from langadapt.planning.compile import compile_plan
from langadapt.registry.catalog import Catalog
from langadapt.registry.registry import Registry
from langadapt.registry.setup import setup


class Hub(BaseHTTPRequestHandler):
    """Answers what a plan asks of the Hub: which commit a revision is at.  Every repository exists."""

    def do_GET(self) -> None:
        _, api, kind, owner, name, *rest = self.path.split("?")[0].split("/")
        found: dict[str, Any] = {"id": f"{owner}/{name}", "sha": sha1(self.path.encode()).hexdigest(), "siblings": []}
        known = api == "api" and kind in ("models", "datasets") and rest[:1] == ["revision"]
        body = json.dumps(found if known else {}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        return None


def forget_connections() -> None:
    """huggingface_hub keeps a session a thread, and one begun while the process was offline stays so."""
    (getattr(hub_utils, "reset_sessions", None) or hub_utils.close_session)()


@pytest.fixture(scope="module")
def hub() -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        forget_connections()
        yield
    forget_connections()
    server.shutdown()


@pytest.fixture(scope="module")
def house() -> Iterator[tuple[Registry, Catalog]]:
    """A plan parses its manifests anew; of the thousand plans here most of the time would go there."""
    once = cache(yaml.load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "load", lambda path: deepcopy(once(path)))
        yield setup()


def needs(recipe: str, catalog: Catalog) -> bool:
    """Whether a recipe is one of a domain."""
    return "$domain." in catalog.files["recipe"][recipe].read_text(encoding="utf-8")


def requests(catalog: Catalog) -> Iterator[Request]:
    """Languages alone, and in each domain; from the sources as they are preferred, and from the Hub alone."""
    for lang in catalog.files["language"]:
        for domain in (None, *catalog.files["domain"]):
            for recipe in catalog.files["recipe"]:
                for sources in (None, "hub"):
                    if domain is not None or not needs(recipe, catalog):
                        yield Request(lang=lang, domain=domain, recipes=(recipe,), sources=sources)


def lacks(request: Request, house: tuple[Registry, Catalog]) -> set[str]:
    """What the manifests have no word for, of what stops the plan."""
    try:
        compile_plan(request, *house)
    except LangadaptError as error:
        problems: list[Any] = list(getattr(error, "errors", None) or [error])
        return {one.what for one in problems if "To come by it:" not in (one.hint or "")}
    return set()


def test_every_recipe_can_be_planned_or_says_what_is_missing(hub: None, house: tuple[Registry, Catalog]) -> None:
    silent = {}
    for request in requests(house[1]):
        if found := lacks(request, house):
            silent[f"{request.lang} {request.domain or ''} {request.recipes[0]} {request.sources or ''}"] = sorted(found)
    assert not silent, "\n".join(f"{asked}: {'; '.join(what)}" for asked, what in silent.items())
