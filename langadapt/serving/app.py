"""The routes, and what stands before each: keys, rates, one line of log, errors as clients read them."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from langadapt.serving.batcher import Full
from langadapt.serving.protocol import Refusal
from langadapt.serving.service import Service, answer, refusal_of

if TYPE_CHECKING:
    from starlette.requests import Request

Handler = Callable[["Request"], Awaitable[Response]]
Log = Callable[[dict[str, Any]], None]

PAGE = {"index.html": "text/html", "try.js": "text/javascript", "try.css": "text/css"}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def make_app(service: Service, log: Log) -> Starlette:
    """The application; when it ends, what waits is finished first.

    Args:
        service: what answers.
        log: gets one record a request, without any text of it.
    """

    def route(path: str, handler: Handler, methods: str = "GET", guard: str = "caller") -> Route:
        return Route(path, _guarded(service, path, handler, guard, log), methods=methods.split())

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.batcher.close)

    return Starlette(
        routes=[
            route("/v1/embeddings", service.embeddings, "POST"),
            route("/v1/models", service.list_models),
            route("/v1/models/{name:path}", service.one_model),
            route("/v1/rerank", service.rerank, "POST"),
            route("/rerank", service.rerank, "POST"),
            route("/similarity", service.similarity, "POST"),
            route("/v1/adapters/{name}", service.adapter, "PUT DELETE", "admin"),
            route("/metrics", service.metrics),
            route("/healthz", service.healthz, guard="nobody"),
            route("/readyz", service.readyz, guard="nobody"),
            route("/", _asset("index.html"), guard="nobody"),
            *(route(f"/{name}", _asset(name), guard="nobody") for name in PAGE),
        ],
        exception_handlers={HTTPException: _no_route},
        lifespan=lifespan,
    )


def _guarded(service: Service, path: str, handler: Handler, guard: str, log: Log) -> Handler:
    async def handle(request: Request) -> Response:
        start, number = time.monotonic(), uuid.uuid4().hex[:16]
        told: dict[str, Any] = {}
        request.state.told, request.state.start = told, start
        try:
            if guard != "nobody":
                service.guards.check_rate(service.guards.caller(request, guard == "admin"))
            found = await handler(request)
        except Full as full:
            message = f"{full}: come again then, or send less at once"
            found = _refused(Refusal(429, message, "queue_full", retry_after=full.seconds))
        except Refusal as refusal:
            found = _refused(refusal)
        except ClientDisconnect:
            found = _refused(Refusal(499, "the client has gone", "client_gone"))
        except Exception as error:
            found = _refused(refusal_of(error))
            if found.status_code == 500:
                told["error"] = f"{type(error).__name__}: {error}"[:300]
        seconds = time.monotonic() - start
        found.headers["x-request-id"] = number
        service.counting.requests.labels(path, str(found.status_code)).inc()
        service.counting.seconds.labels(path).observe(seconds)
        if guard != "nobody":
            at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            milliseconds = round(seconds * 1000, 1)
            log({"at": at, "id": number, "route": path, "status": found.status_code, "ms": milliseconds, **told})
        return found

    return handle


def _refused(refusal: Refusal) -> Response:
    found = answer(refusal.body(), refusal.status)
    if refusal.retry_after is not None:
        found.headers["retry-after"] = str(max(1, round(refusal.retry_after)))
    if refusal.status == 401:
        found.headers["www-authenticate"] = "Bearer"
    return found


async def _no_route(request: Request, error: Exception) -> Response:
    """No such path, or not by this method."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    what = f"{request.method} {request.url.path[:100]} is nothing that this server answers"
    found = _refused(Refusal(status, what, "not_found" if status == 404 else "method_not_allowed"))
    found.headers.update(getattr(error, "headers", None) or {})
    return found


def _asset(name: str) -> Handler:
    body = (files("langadapt.serving") / "assets" / name).read_bytes()
    headers = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}

    async def page(request: Request) -> Response:
        return Response(body, headers=headers, media_type=PAGE[name])

    return page
