"""The ``langadapt`` command line in a forked child of a process that has imported the heavy libraries once.

Starting Python with torch and transformers takes seconds, and the suite starts the command hundreds of times.  A child is a process of
its own (working folder, environment, streams, exit code); it imports langadapt and its plugins afresh, as the real command does.

One request a line on stdin, JSON: {arguments, folder, environment, stdin, stdout, stderr: paths, timeout}; one answer a line: the exit
code, or "timeout".
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any, TextIO

LIBRARIES = (
    "torch", "torch._dynamo", "transformers", "transformers.models.auto", "transformers.models.xlm_roberta.modeling_xlm_roberta",
    "transformers.models.xlm_roberta.tokenization_xlm_roberta_fast", "transformers.trainer_utils", "datasets", "accelerate", "tokenizers",
    "huggingface_hub", "pydantic", "rich.progress", "rich.table", "scipy.stats", "yaml", "click", "pluggy", "safetensors.torch",
    "sklearn.linear_model", "sklearn.pipeline", "sklearn.preprocessing",
)  # fmt: skip


PR_SET_PDEATHSIG = 1


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what an import prints is no answer
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):  # moved between versions of transformers: the child imports what it needs
            importlib.import_module(name)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line), answers)) + "\n")


def answer(request: dict[str, Any], answers: TextIO) -> int | str:
    child = os.fork()
    if child == 0:
        os.close(answers.fileno())
        os._exit(run(request))
    end = time.monotonic() + request["timeout"]
    try:
        while time.monotonic() < end:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
    except BaseException:
        os.killpg(child, signal.SIGKILL)
        raise
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def run(request: dict[str, Any]) -> int:
    """Become the command; returns its exit code."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no build outlives its tests
    _streams(request)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if "coverage" in sys.modules and (watching := sys.modules["coverage"].Coverage.current()):
        watching.switch_context(os.environ.get("PYTEST_CURRENT_TEST", ""))
    sys.path[0] = request["folder"]
    sys.argv = ["langadapt", *request["arguments"]]
    importlib.import_module("numpy").random.seed()  # a new process has a state of its own; hashes of strings stay those of the parent
    code = 0
    try:
        importlib.import_module("langadapt.cli.app").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _streams(request: dict[str, Any]) -> None:
    """Standard streams on the request's files, buffered and encoded as a process of its own has them."""
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, (name, flags) in enumerate((("stdin", os.O_RDONLY), ("stdout", new), ("stderr", new))):
        os.dup2(os.open(request[name], flags, 0o600), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    serve()
