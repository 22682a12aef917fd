"""Starting a command on several processes of this machine, and ending all of them when one ends badly.

accelerate's launcher falls back to one process where it finds no accelerator, and torch's prints a page of its own internals when a
user's file is malformed; what both do beyond that is to set five variables, so it is done here.  The processes train through accelerate.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from types import FrameType
from typing import IO

import click

GRACE = 10.0
"""Seconds that a process has to stop by itself before it is killed."""


def launch(count: int, arguments: list[str], device: str) -> int:
    """Run ``python -m langadapt ARGUMENTS`` on `count` processes; returns the exit code.

    The first process speaks; what another says is shown where it is the one that failed.
    """
    environment = {
        **os.environ,
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    # Threads are shared out: each process would take every core.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    if device == "cpu":
        environment["ACCELERATE_USE_CPU"] = "true"
    command = [sys.executable, "-m", "langadapt", *arguments]
    workers: list[subprocess.Popen[bytes]] = []
    logs: list[IO[bytes] | None] = []

    def passed_on(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    with tempfile.TemporaryDirectory(prefix="langadapt-processes-") as folder:
        before = signal.signal(signal.SIGTERM, passed_on)
        try:
            for rank in range(count):
                logs.append(open(f"{folder}/{rank}", "w+b") if rank else None)  # noqa: SIM115 - closed below
                its = {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                workers.append(subprocess.Popen(command, env=its, stdout=None if rank == 0 else subprocess.DEVNULL, stderr=logs[rank]))
            return _watch(workers, logs)
        finally:
            _stop(workers)
            signal.signal(signal.SIGTERM, before)
            for log in logs:
                if log is not None:
                    log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _watch(workers: list[subprocess.Popen[bytes]], logs: list[IO[bytes] | None]) -> int:
    """Wait for all; the first that ends badly decides."""
    while True:
        codes = [worker.poll() for worker in workers]
        failed = next((rank for rank, code in enumerate(codes) if code), None)
        if failed is not None:
            return _tell(failed, int(codes[failed] or 0), len(workers), logs[failed], workers)
        if all(code == 0 for code in codes):
            return 0
        time.sleep(0.05)


def _tell(rank: int, code: int, count: int, log: IO[bytes] | None, workers: list[subprocess.Popen[bytes]]) -> int:
    """Say what ended the run, unless the first process has said it; returns the run's exit code."""
    first = workers[0]
    if rank and code > 0:  # an error that all of them meet: the first one says it
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may wait for this one for ever
            first.wait(GRACE)
        if first.returncode:
            return first.returncode if first.returncode > 0 else 128 - first.returncode
    if rank == 0 and code > 0:
        return code
    how = f"was ended by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
    click.echo(f"error: process {rank + 1} of {count} {how}; the others were stopped", err=True)
    if log is not None:
        log.seek(0)
        click.echo(log.read().decode("utf-8", "replace")[-2000:].rstrip(), err=True)
    click.echo("  Run the same command again to go on from the last checkpoint; with less memory, use fewer --processes.", err=True)
    return 3 if code > 0 else 128 - code


def _stop(workers: list[subprocess.Popen[bytes]]) -> None:
    """End what still runs; a second Ctrl-C does not leave it behind."""
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    end = time.monotonic() + GRACE
    for worker in workers:
        try:
            worker.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
    signal.signal(signal.SIGINT, interrupt)
