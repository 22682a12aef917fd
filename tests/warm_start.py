"""The ``langadapt`` command line in a forked child of a process that has imported the heavy libraries once.

Starting Python with torch and transformers takes seconds, and the suite starts the command hundreds of times.  A child is a process of
its own (working folder, environment, streams, exit code); it imports langadapt and its plugins afresh, as the real command does.

One request a line on stdin, JSON: {arguments, folder, environment, stdin, stdout, stderr: paths, timeout}; one answer a line: the exit
code, or "timeout".
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import sys
import time
import traceback
from typing import Any

LIBRARIES = (
    "torch", "torch._dynamo", "transformers", "transformers.models.auto", "transformers.models.xlm_roberta.modeling_xlm_roberta",
    "transformers.models.xlm_roberta.tokenization_xlm_roberta_fast", "transformers.trainer_utils", "datasets", "accelerate", "tokenizers",
    "huggingface_hub", "pydantic", "rich.progress", "rich.table", "scipy.stats", "yaml", "click", "pluggy", "safetensors.torch",
    "sklearn.linear_model", "sklearn.pipeline", "sklearn.preprocessing",
)  # fmt: skip


def serve() -> None:
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):  # moved between versions of transformers: the child imports what it needs
            importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")


def answer(request: dict[str, Any]) -> int | str:
    child = os.fork()
    if child == 0:
        os._exit(run(request))
    end = time.monotonic() + request["timeout"]
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def run(request: dict[str, Any]) -> int:
    """Become the command; returns its exit code."""
    os.setsid()
    for number, (path, flags) in enumerate(
        [
            (request["stdin"], os.O_RDONLY),
            (request["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ]
    ):
        os.dup2(os.open(path, flags, 0o600), number)
    for number, mode in enumerate("rww"):
        setattr(sys, ("stdin", "stdout", "stderr")[number], open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    sys.argv = ["langadapt", *request["arguments"]]
    code = 0
    try:
        importlib.import_module("langadapt.cli.app").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve()
