"""A sample of one-token faults planted in the core, each before the tests near it: what survives is a test that cannot fail.

    python tests/mutate.py [--mutants 200] [--seed 1] [--out mutants.jsonl]

The faults are cosmic-ray's (pip install cosmic-ray).  Every fault is planted in a copy of the committed tree, so nothing of yours is
touched, and what was tried stands in the output file: the same command goes on where it stopped.  Faults that change no behaviour by
their place alone (annotations, messages of errors, the words of a log) are left out before the draw.

The fast suite runs once without a fault, under coverage (pip install pytest-cov), commands in processes of their own included.  A fault
is then put before the tests that pass its line, those first that pass little else: they are about it.  They run in a process that has
the libraries in memory already, which is most of the time that a small test takes; a test that fails so without a fault is not asked.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import importlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

ROOMS = (
    "artifacts", "data", "files", "inference", "manifests", "modeling", "planning", "registry", "release", "running", "store", "training",
    "verbs",
)  # fmt: skip
"""Where faults are planted."""

PATIENCE = 240.0
"""Seconds after which a fault counts as caught, at the least: it hangs.  Tests that took long without it are given five times as long."""

SECONDS = 120.0
"""Of a line that many tests pass, no more are asked than take so long: of those nearest to it, and then of those that do the most."""


PRELOADED = ("pytest", "numpy", "torch", "transformers", "datasets", "sentence_transformers", "adapters", "peft", "accelerate", "sklearn")
"""Libraries that a fault cannot change."""


@dataclass(frozen=True)
class Mutant:
    """A fault: one operator at its nth place in a file."""

    file: str
    operator: str
    occurrence: int
    line: int


def candidates(file: Path, tree: Path) -> Iterator[Mutant]:
    """Every fault that can be planted in a file, one operator a place."""
    import cosmic_ray.plugins as operators
    from cosmic_ray.ast import ast_nodes, get_ast

    source = file.read_text(encoding="utf-8")
    quiet = _quiet_lines(ast.parse(source))
    parsed = get_ast(source)
    for name in operators.operator_names():
        if "Variable" in name or "RemoveDecorator" in name or name.endswith(("_Is", "_IsNot")):
            continue  # removing @dataclass or @property breaks at import; 'is' between a text and itself is '=='
        operator: Any = operators.get_operator(name)()
        count = 0
        for node in ast_nodes(parsed):
            for start, _ in operator.mutation_positions(node):
                if start[0] not in quiet:
                    yield Mutant(file.relative_to(tree).as_posix(), name, count, start[0])
                count += 1


def _quiet_lines(tree: ast.Module) -> set[int]:
    """Lines on which a fault changes no behaviour: annotations, raised messages, what is said to a log, whether a record is frozen."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if isinstance(node, ast.FunctionDef):
            spots = [*(arg.annotation for arg in (*node.args.args, *node.args.kwonlyargs)), node.returns]
            found |= {line for spot in spots if spot for line in range(spot.lineno, (spot.end_lineno or spot.lineno) + 1)}
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found |= {line for one in node.decorator_list for line in range(one.lineno, (one.end_lineno or one.lineno) + 1)}
        if isinstance(node, ast.keyword) and node.arg == "frozen":
            found.add(node.value.lineno)
        if isinstance(node, ast.AnnAssign):
            found |= set(range(node.annotation.lineno, (node.annotation.end_lineno or node.lineno) + 1))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("info", "warning", "echo", "secho"):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def drawn(tree: Path, count: int, seed: int) -> list[Mutant]:
    """A sample without two faults on one line, every place as likely as another."""
    places: dict[tuple[str, int], list[Mutant]] = {}
    for room in ROOMS:
        path = tree / "langadapt" / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
            for mutant in candidates(file, tree):
                places.setdefault((mutant.file, mutant.line), []).append(mutant)
    rng = random.Random(seed)
    chosen = rng.sample(sorted(places), min(count, len(places)))
    return [rng.choice(places[place]) for place in chosen]


class Passers:
    """Which tests pass a line, those first that pass the fewest lines of all."""

    def __init__(self, folder: Path, tree: Path) -> None:
        self.tree, self.data, self.kept = tree, folder / "suite.coverage", folder / "times.json"
        if not self.kept.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            self._watch()
        from coverage import CoverageData

        self.lines = CoverageData(str(self.data))
        self.lines.read()
        self.times: dict[str, float] = json.loads(self.kept.read_text(encoding="utf-8"))
        self.footprints = self._footprints()
        self.files = {name.partition("/langadapt/langadapt/")[2]: name for name in self.lines.measured_files()}

    def _watch(self) -> None:
        """Run the suite without a fault, once for a commit; what fails then would count as caught later."""
        config = self.data.with_name("coverage.ini")
        # A process that a test starts knows the test by what pytest left in its environment.
        config.write_text(
            "[run]\nsource = langadapt\nparallel = true\npatch = subprocess, fork, _exit\ncontext = ${PYTEST_CURRENT_TEST-}\n",
            encoding="utf-8",
        )
        watched = ("--cov=langadapt", f"--cov-config={config}", "--cov-context=test", "--cov-report=", "--maxfail=1000", "-n2")
        line = [sys.executable, "-m", "pytest", *QUIETLY[1:], *watched, "--durations=0", "--durations-min=0", "-vv"]  # a later -n holds
        environment = {**os.environ, **_environment(self.tree), "COVERAGE_FILE": str(self.data)}
        said = subprocess.run(line, cwd=self.tree, env=environment, capture_output=True, text=True, timeout=25 * PATIENCE).stdout
        times = {name: float(seconds) for seconds, name in re.findall(r"^([0-9.]+)s call +(\S.*)$", said, re.MULTILINE)}
        for name in re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE):
            print(f"fails without any fault, and is not asked: {name}")
            times.pop(name, None)
        self.kept.write_text(json.dumps(times), encoding="utf-8")

    def _footprints(self) -> Counter[str]:
        """Test → lines of the core that it passes."""
        found: Counter[str] = Counter()
        for name in self.lines.measured_files():
            for contexts in self.lines.contexts_by_lineno(name).values():
                found.update({test_of(context) for context in contexts})
        return found

    def __call__(self, mutant: Mutant) -> tuple[list[str], list[str]]:
        """Tests that pass a fault's line, in a process of their own or pytest's: the nearest, and those that do the most besides."""
        name = self.files.get(mutant.file.removeprefix("langadapt/"), "")
        contexts = self.lines.contexts_by_lineno(name).get(mutant.line, []) if name else []
        tests = sorted({test_of(context) for context in contexts} & set(self.times), key=lambda test: (self.footprints[test], test))
        near = self._within(tests)
        return near, self._within([test for test in reversed(tests) if test not in near])

    def _within(self, tests: list[str]) -> list[str]:
        """The first of tests, as many as SECONDS allow, one at least."""
        spent = itertools.accumulate(self.times[test] for test in tests)
        return [test for test, seconds in zip(tests, spent, strict=True) if seconds < SECONDS or test == tests[0]]

    def patience(self, tests: Iterable[str]) -> float:
        """Seconds that tests may take."""
        return max(PATIENCE, 5 * sum(self.times[name] for name in tests))


def test_of(context: str) -> str:
    """The test that a context is of: pytest-cov's ``test|run``, or ``test (call)`` of a process that the test started, or both."""
    parts = [part for part in context.split("|") if part not in ("run", "setup", "teardown")]
    return re.sub(r" \((call|setup|teardown)\)$", "", parts[-1]) if parts else ""


class Bench:
    """Puts a fault before tests, in processes forked from this one."""

    def __init__(self, tree: Path, passers: Passers, said: Path) -> None:
        self.tree, self.passers, self.said = tree, passers, said
        self.sound: dict[str, bool] = {}
        os.environ["OMP_NUM_THREADS"] = "1"  # before torch is there: a process that is forked has no other threads
        for name in PRELOADED:
            importlib.import_module(name)

    def judged(self, mutant: Mutant) -> dict[str, Any]:
        """Plant one fault in the copy, run the tests near it, take it out again."""
        import cosmic_ray.plugins as operators
        from cosmic_ray.mutating import mutate_code

        file = self.tree / mutant.file
        source = file.read_text(encoding="utf-8")
        planted = mutate_code(source, operators.get_operator(mutant.operator)(), mutant.occurrence)
        assert planted is not None, f"there is no such place: {mutant}"
        change = "\n".join(difflib.unified_diff(source.splitlines(), planted.splitlines(), lineterm="", n=0))[-600:]
        start = time.monotonic()
        outcome, by = "no Python", ""
        with contextlib.suppress(SyntaxError):
            ast.parse(planted)
            near, whole = self.passers(mutant)
            outcome, by = self._outcome(file, source, planted, near)
            if outcome == "survived" and whole:  # builds from end to end see what tests of one function do not
                outcome, by = self._outcome(file, source, planted, whole)
                outcome = "survived" if outcome == "not passed" else outcome
        seconds = round(time.monotonic() - start, 1)
        return {**mutant.__dict__, "outcome": outcome, "by": by, "seconds": seconds, "change": change}

    def _outcome(self, file: Path, source: str, planted: str, tests: list[str]) -> tuple[str, str]:
        """What became of a fault, and the test that saw it."""
        while tests:
            file.write_text(planted, encoding="utf-8")
            try:
                outcome = self._tested(tests)
            finally:
                file.write_text(source, encoding="utf-8")
            lines = re.findall(r"^(?:FAILED|ERROR) (.*)$", self.said.read_text(encoding="utf-8"), re.MULTILINE)
            failed = [test for test in tests if any(line == test or line.startswith(f"{test} - ") for line in lines)]
            if outcome != "caught" or not failed or self._sound(failed[0]):
                return outcome, failed[0] if failed else ""
            tests = [test for test in tests if test != failed[0]]
        return "not passed", ""

    def _sound(self, test: str) -> bool:
        """Whether a test passes here where there is no fault."""
        if test not in self.sound:
            self.sound[test] = self._tested([test]) == "survived"
            if not self.sound[test]:
                print(f"fails here without any fault, and is not asked: {test}", flush=True)
        return self.sound[test]

    def _tested(self, tests: list[str]) -> str:
        if not (process := os.fork()):
            os.setsid()
            _run_here(self.tree, tests, self.said)
        end = time.monotonic() + self.passers.patience(tests)
        while not (ended := os.waitpid(process, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.killpg(process, signal.SIGKILL)
                os.waitpid(process, 0)
                return "caught (hangs)"
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)  # what a failed test left running
        code = os.waitstatus_to_exitcode(ended[1])
        if code not in (0, 1, 2, 4):  # 1: failed tests; 2 and 4: a module that cannot be imported any more
            raise RuntimeError(f"pytest ended with {code}: {self.said.read_text(encoding='utf-8')[-2000:]}")
        return "survived" if code == 0 else "caught"


def _run_here(tree: Path, tests: list[str], said: Path) -> None:
    """Become a process that runs tests of a tree, and end with pytest's code."""
    code = 3
    try:
        os.environ.update(_environment(tree))
        os.chdir(tree)
        sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)
        sys.dont_write_bytecode = True
        with said.open("w", encoding="utf-8") as handle:
            os.dup2(handle.fileno(), 1)
            os.dup2(handle.fileno(), 2)
        import pytest

        code = int(pytest.main([*QUIETLY, *tests]))
        sys.stdout.flush()
    finally:
        os._exit(code)


QUIETLY = ("-x", "-q", "-n0", "--disable-warnings", "--no-header", "-p", "no:cacheprovider")


def _environment(tree: Path) -> dict[str, str]:
    places = [str(tree), *map(str, sorted(tree.glob("plugins/*/src")))]
    return {
        "PYTHONPATH": os.pathsep.join(places),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "LANGADAPT_TEST_DATA": os.environ.get("LANGADAPT_TEST_DATA", str(ROOT.parent / "shared" / "data")),
        "LANGADAPT_TEST_CACHE": str(tree.parent / "bases"),  # what a fault helped to make is nobody else's
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    given = parser.parse_args()
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    lines = given.out.read_text(encoding="utf-8").splitlines() if given.out.is_file() else []
    known = [one for one in map(json.loads, lines) if one["commit"] == commit]
    done = {(one["file"], one["operator"], one["occurrence"]) for one in known}
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "langadapt"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
        sample = drawn(tree, given.mutants, given.seed)
        bench = Bench(tree, Passers(given.out.with_suffix("") / commit, tree), Path(scratch) / "said.txt")
        for number, mutant in enumerate(sample, start=1):
            if (mutant.file, mutant.operator, mutant.occurrence) in done:
                continue
            found = {"commit": commit, **bench.judged(mutant)}
            known.append(found)
            with given.out.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(found, ensure_ascii=False) + "\n")
            print(f"{number:>4} of {len(sample)}  {found['outcome']:<15} {found['seconds']:>6} s  {mutant.file}:{mutant.line}", flush=True)
    counts = Counter(one["outcome"] for one in known if one["outcome"] != "no Python")
    caught = counts["caught"] + counts["caught (hangs)"]
    print(f"{caught} of {sum(counts.values())} caught ({caught / max(1, sum(counts.values())):.0%})")
    for one in known:
        if one["outcome"] in ("survived", "not passed"):
            print(f"\n{one['file']}:{one['line']}\n{one['change']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
