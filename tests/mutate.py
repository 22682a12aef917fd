"""A sample of one-token faults planted in the core, each before the tests near it: what survives is a test that cannot fail.

    python tests/mutate.py [--mutants 200] [--seed 1] [--out mutants.jsonl]

The faults are cosmic-ray's (pip install cosmic-ray).  Every fault is planted in a copy of the committed tree, so nothing of yours is
touched, and what was tried stands in the output file: the same command goes on where it stopped.  Faults that change no behaviour by
their place alone (annotations, messages of errors, the words of a log) are left out before the draw.

The tests of every room run once without a fault, under coverage (pip install pytest-cov).  A fault is then put before those that pass its
line, the quickest first, and before all the others of its room if these do not see it.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import random
import re
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

NEAR: dict[str, tuple[str, ...]] = {
    "artifacts": (
        "tests/hostile/test_folders.py",
        "tests/test_scores.py",
        "tests/modeling",
        "tests/inference/test_encode.py",
        "tests/test_scorer.py",
    ),
    "data": ("tests/hostile/test_data_files.py", "tests/test_data_check.py", "plugins/data/tests", "tests/hostile/test_integrity.py"),
    "files": ("tests/hostile/test_integrity.py", "tests/test_keys.py"),
    "inference": ("tests/inference", "plugins/adapters/tests/test_bank_serves.py", "tests/test_scorer.py"),
    "manifests": ("tests/hostile/test_manifests.py", "tests/test_keys.py", "tests/cli/test_bad_plans.py"),
    "modeling": (
        "tests/modeling",
        "tests/inference/test_encode.py",
        "tests/hostile/test_folders.py",
        "tests/hostile/test_architectures.py",
    ),
    "planning": ("tests/test_keys.py", "tests/test_adapter_plans.py", "tests/hostile/test_manifests.py", "tests/cli/test_bad_plans.py"),
    "registry": ("tests/cli/test_bad_plans.py", "tests/cli/test_commands.py", "tests/test_conformance.py"),
    "release": ("tests/test_release.py", "tests/test_adapter_releases.py", "tests/cli/test_release.py"),
    "running": ("tests/hostile/test_integrity.py", "tests/test_build.py"),
    "store": ("tests/hostile/test_integrity.py", "tests/test_build.py"),
    "training": ("tests/training", "tests/test_conformance.py", "plugins/objectives/tests/test_conformance.py"),
    "verbs": ("tests/test_doors.py", "tests/test_adapter_plans.py", "tests/hostile/test_integrity.py", "tests/test_vocabulary_recipes.py"),
}
"""Room → the tests that a fault in it should fail, the quickest first."""

PATIENCE = 420.0
"""Seconds after which a fault counts as caught, at the least: it hangs.  Tests that took long without it are given five times as long."""


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
        if "Variable" in name or "RemoveDecorator" in name:
            continue  # removing @dataclass or @property breaks at import: nothing is learnt
        operator: Any = operators.get_operator(name)()
        count = 0
        for node in ast_nodes(parsed):
            for start, _ in operator.mutation_positions(node):
                if start[0] not in quiet:
                    yield Mutant(file.relative_to(tree).as_posix(), name, count, start[0])
                count += 1


def _quiet_lines(tree: ast.Module) -> set[int]:
    """Lines on which a fault changes no behaviour: annotations, raised messages, what is said to a log."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if isinstance(node, ast.FunctionDef):
            spots = [*(arg.annotation for arg in (*node.args.args, *node.args.kwonlyargs)), node.returns]
            found |= {line for spot in spots if spot for line in range(spot.lineno, (spot.end_lineno or spot.lineno) + 1)}
        if isinstance(node, ast.AnnAssign):
            found |= set(range(node.annotation.lineno, (node.annotation.end_lineno or node.lineno) + 1))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("info", "warning", "echo", "secho"):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def drawn(tree: Path, count: int, seed: int) -> list[Mutant]:
    """A sample without two faults on one line, every place as likely as another."""
    places: dict[tuple[str, int], list[Mutant]] = {}
    for room in NEAR:
        path = tree / "langadapt" / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
            for mutant in candidates(file, tree):
                places.setdefault((mutant.file, mutant.line), []).append(mutant)
    rng = random.Random(seed)
    chosen = rng.sample(sorted(places), min(count, len(places)))
    return [rng.choice(places[place]) for place in chosen]


def room_of(mutant: Mutant) -> str:
    """The room that a fault is planted in."""
    return Path(mutant.file).with_suffix("").parts[1]


class Passers:
    """Which tests pass a line, the quickest first."""

    MOST = 40
    """Of a line that all tests pass, so many tell enough before the whole room is asked."""

    def __init__(self, folder: Path, tree: Path) -> None:
        self.folder, self.tree = folder, tree
        self.rooms: dict[str, tuple[Any, dict[str, float]]] = {}

    def watch(self, room: str) -> None:
        """Run a room's tests without a fault, once for a commit; what fails then would count as caught later."""
        data, times = self.folder / f"{room}.coverage", self.folder / f"{room}.times"
        if not times.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            watched = ("--cov=langadapt", "--cov-context=test", "--cov-report=", "--durations=0", "--durations-min=0", "-vv")
            said: list[str] = []
            outcome = _tested(self.tree, (*watched, *NEAR[room]), {"COVERAGE_FILE": str(data)}, said, patience=4 * PATIENCE)
            if outcome != "survived":
                raise SystemExit(f"the tests near langadapt/{room} fail without any fault: {' '.join(NEAR[room])}\n{said[0][-3000:]}")
            found = re.findall(r"^([0-9.]+)s call +(\S.*)$", said[0], re.MULTILINE)
            times.write_text(json.dumps({name: float(seconds) for seconds, name in found}), encoding="utf-8")
        from coverage import CoverageData

        lines = CoverageData(str(data))
        lines.read()
        self.rooms[room] = lines, json.loads(times.read_text(encoding="utf-8"))

    def patience(self, room: str, tests: Iterable[str] = ()) -> float:
        """Seconds that these tests, or all of a room, may take."""
        times = self.rooms[room][1]
        return max(PATIENCE, 5 * sum(times.get(name, 0.0) for name in (tests or times)))

    def __call__(self, mutant: Mutant) -> list[str]:
        lines, times = self.rooms[room_of(mutant)]
        file = next((name for name in lines.measured_files() if name.endswith("/" + mutant.file)), "")
        contexts = lines.contexts_by_lineno(file).get(mutant.line, []) if file else []
        tests = {context.rpartition("|")[0] for context in contexts} & set(times)
        return sorted(tests, key=lambda name: times[name])[: self.MOST]


def judged(mutant: Mutant, tree: Path, passers: Passers) -> dict[str, Any]:
    """Plant one fault in the copy, run the tests near it, take it out again."""
    import cosmic_ray.plugins as operators
    from cosmic_ray.mutating import mutate_code

    file = tree / mutant.file
    source = file.read_text(encoding="utf-8")
    room = room_of(mutant)
    planted = mutate_code(source, operators.get_operator(mutant.operator)(), mutant.occurrence)
    assert planted is not None, f"there is no such place: {mutant}"
    change = "\n".join(difflib.unified_diff(source.splitlines(), planted.splitlines(), lineterm="", n=0))[-600:]
    start = time.monotonic()
    file.write_text(planted, encoding="utf-8")
    try:
        ast.parse(planted)
        passing = passers(mutant)
        outcome = _tested(tree, tuple(passing), patience=passers.patience(room, passing)) if passing else "survived"
        if outcome == "survived":  # these have just passed: the others of the room
            others = (*NEAR[room], *(f"--deselect={name}" for name in passing))
            outcome = _tested(tree, others, patience=passers.patience(room))
    except SyntaxError:
        outcome = "no Python"
    finally:
        file.write_text(source, encoding="utf-8")
    return {**mutant.__dict__, "outcome": outcome, "seconds": round(time.monotonic() - start, 1), "change": change}


def _tested(
    tree: Path,
    tests: tuple[str, ...],
    variables: dict[str, str] | None = None,
    said: list[str] | None = None,
    patience: float = PATIENCE,
) -> str:
    places = [str(tree), *map(str, sorted(tree.glob("plugins/*/src")))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment.setdefault("LANGADAPT_TEST_DATA", str(ROOT.parent / "shared" / "data"))
    environment["LANGADAPT_TEST_CACHE"] = str(tree.parent / "bases")  # what a fault helped to make is nobody else's
    environment.update(variables or {})
    line = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "--disable-warnings", "--no-header", *tests]
    try:
        done = subprocess.run(line, cwd=tree, env=environment, capture_output=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        return "caught (hangs)"
    if done.returncode not in (0, 1, 2, 5):  # 5: none was left; 1 and 2: failed tests, or a module that cannot be imported any more
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout.decode()[-2000:]}")
    if said is not None:
        said.append(done.stdout.decode())
    return "survived" if done.returncode in (0, 5) else "caught"


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
        passers = Passers(given.out.with_suffix("") / commit, tree)
        for room in sorted({room_of(mutant) for mutant in sample}):
            passers.watch(room)
        for number, mutant in enumerate(sample, start=1):
            if (mutant.file, mutant.operator, mutant.occurrence) in done:
                continue
            found = {"commit": commit, **judged(mutant, tree, passers)}
            known.append(found)
            with given.out.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(found, ensure_ascii=False) + "\n")
            print(f"{number:>4} of {len(sample)}  {found['outcome']:<15} {found['seconds']:>6} s  {mutant.file}:{mutant.line}", flush=True)
    counts = Counter(one["outcome"] for one in known if one["outcome"] != "no Python")
    caught = counts["caught"] + counts["caught (hangs)"]
    print(f"{caught} of {sum(counts.values())} caught ({caught / max(1, sum(counts.values())):.0%})")
    for one in known:
        if one["outcome"] == "survived":
            print(f"\n{one['file']}:{one['line']}\n{one['change']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
