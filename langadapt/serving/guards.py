"""Who may call, how often, and how much they may send."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.errors import DataError, PlanError
from langadapt.serving.protocol import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

BODY_SECONDS = 30.0
"""A body that takes longer to arrive is given up."""


def read_keys(path: Path) -> tuple[str, ...]:
    """Keys of a file, one a line; empty lines and lines that begin with # are none.

    Raises:
        DataError: there is no key in it, or one that a header cannot carry.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    found = tuple(line for line in lines if line and not line.startswith("#"))
    if not found:
        raise DataError("there is no key", where=str(path), hint="Write one a line: a long random text.")
    for number, line in enumerate(lines, 1):
        if not line.startswith("#") and (not line.isascii() or " " in line):
            raise DataError("a key is of ASCII letters without spaces: a header carries it", where=f"{path}:{number}")
    return found


@dataclass
class Guards:
    """What a request must pass.

    Args:
        keys: of callers; none lets everybody call.
        admin_keys: of those who may change adapters; none lets nobody.
        rate: ``100/minute``, of one key or address; None is without limit.
        most_bytes: of one body.
    """

    keys: tuple[str, ...] = ()
    admin_keys: tuple[str, ...] = ()
    rate: str | None = None
    most_bytes: int = 8_000_000
    _limit: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.rate is None:
            return
        from limits import parse
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        try:
            limit = parse(self.rate)
        except ValueError as error:
            raise PlanError(f"'{self.rate}' is no rate", hint="Write it as 100/minute or 5/second.") from error
        self._limit = limit, MovingWindowRateLimiter(MemoryStorage())

    def caller(self, request: Request, admin: bool = False) -> str:
        """Who asks: a key, or an address.

        Raises:
            Refusal: no key, or a wrong one.
        """
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else ""
        # Every key is compared, each in the same time: how long it takes tells nothing.
        own, admins = (sum(hmac.compare_digest(given.encode(), key.encode()) for key in keys) for keys in (self.keys, self.admin_keys))
        right = admins if admin else own + admins
        if admin and own and not right:
            raise Refusal(403, "this key may not change adapters", "forbidden")
        if admin and not self.admin_keys:
            raise Refusal(403, "adapters cannot be changed here: the server was started without --admin-keys", "forbidden")
        if not right and (admin or self.keys):
            raise Refusal(401, "a key is missing or wrong: send 'Authorization: Bearer KEY'", "invalid_api_key")
        # A key that nobody was given is no identity: with a new one each time, a rate would bind nobody.
        return given if right else (request.client.host if request.client else "")

    def check_rate(self, caller: str) -> None:
        """Count a request.

        Raises:
            Refusal: one too many.
        """
        if self.rate is None:
            return
        limit, limiter = self._limit
        if not limiter.hit(limit, caller):
            wait = max(0.0, limiter.get_window_stats(limit, caller).reset_time - time.time())
            raise Refusal(429, f"more than {self.rate}", "rate_limit_exceeded", retry_after=wait)

    async def body(self, request: Request) -> Any:
        """What the JSON of a body says.

        Raises:
            Refusal: too large, too slow, of another charset, or no JSON.
        """
        import orjson

        charset = _charset(request.headers.get("content-type", ""))
        if charset not in ("utf-8", "utf8", "us-ascii", "ascii"):
            raise Refusal(415, f"JSON is sent in UTF-8, not in {charset[:40]}", "unsupported_charset")
        if int(request.headers.get("content-length", "0") or 0) > self.most_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                found = bytearray()
                async for part in request.stream():
                    found += part
                    if len(found) > self.most_bytes:
                        raise self._too_large()
        except TimeoutError as error:
            raise Refusal(408, f"the body did not arrive within {BODY_SECONDS:.0f} s", "timeout") from error
        try:
            return orjson.loads(found)
        except orjson.JSONDecodeError as error:
            raise Refusal(400, f"the body is no JSON in UTF-8: {error}"[:300], "invalid_json") from error

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the body is larger than {self.most_bytes:,} bytes: send fewer texts a request", "body_too_large")


def _charset(content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return "utf-8"
