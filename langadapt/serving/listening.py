"""The socket that is listened at, and a server that ends as it should."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
from typing import TYPE_CHECKING

from langadapt.errors import PlanError

if TYPE_CHECKING:
    import uvicorn


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address, taken before anything is loaded.

    Raises:
        PlanError: the port is taken or forbidden, or the address is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(2048)
    except OSError as error:
        hints = {
            errno.EADDRINUSE: "Another program listens there: stop it, or choose another --port (0 takes a free one).",
            errno.EACCES: "Ports below 1024 are the system's: choose a higher --port.",
        }
        hint = hints.get(error.errno or 0, "Choose another --host.")
        raise PlanError(f"cannot listen at {host} port {port}: {error.strerror or error}", hint=hint) from error
    return found


def run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM: no new request is taken then, and those that were are answered."""
    before = signal.getsignal(signal.SIGTERM)
    # uvicorn hands the signal on when it is done: that is the end that was asked for.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()
