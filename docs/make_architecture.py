"""Write the picture and the sizes in docs/explanation/architecture.md from the code.  ``--check`` fails when they are out of date."""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
BEGIN, END = "<!-- made by docs/make_architecture.py -->", "<!-- end -->"


def rooms() -> list[list[str]]:
    """The floors from top to bottom, each with its rooms, as pyproject.toml lets them import one another."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][0]["layers"]
    floors: list[list[str]] = []
    for layer in reversed(stated):  # a room with doors on an upper floor stands where its foundation is
        names = list(dict.fromkeys(".".join(name.strip().split(".")[:2]) for name in layer.split("|")))
        floors.append([name for name in names if not any(name in floor for floor in floors)])
    return [floor for floor in reversed(floors) if floor]


def room_of(module: str, known: list[str]) -> str | None:
    """The room that a module stands in."""
    return next((room for room in known if module == room or module.startswith(f"{room}.")), None)


def arrows(known: list[str]) -> Counter[tuple[str, str]]:
    """How many imports lead from a room into another, type-checking ones included; doors that open on first use are none."""
    graph = grimp.build_graph("langadapt", exclude_type_checking_imports=False)
    found: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        source = room_of(module, known)
        for imported in graph.find_modules_directly_imported_by(module):
            target = room_of(imported, known)
            if source and target and source != target and not module.startswith(DOORS):
                found[source, target] += 1
    return found


DOORS = tuple(f"langadapt.contracts.{name}" for name in ("reading", "text", "checkpoints", "loop"))


def lines_of(room: str) -> int:
    path = ROOT / room.replace(".", "/")
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def drawing() -> str:
    """The picture as a Mermaid flow chart, and the sizes as a table."""
    floors = rooms()
    known = [room for floor in floors for room in floor]
    parts = ["```mermaid", "flowchart TD"]
    for number, floor in enumerate(floors):
        parts.append(f"  subgraph floor{number}[ ]")
        parts += [f"    {room.rpartition('.')[2]}[{room.rpartition('.')[2]}]" for room in floor]
        parts.append("  end")
    strong = {pair: count for pair, count in arrows(known).items() if count >= FEW}
    parts += [f"  {a.rpartition('.')[2]} -->|{count}| {b.rpartition('.')[2]}" for (a, b), count in sorted(strong.items())]
    parts += ["```", "", f"Arrows are imports, with their number; fewer than {FEW} are left out. All of them point down.", ""]
    parts += ["| room | lines |", "|---|---|"]
    parts += [f"| `{room.removeprefix('langadapt.')}` | {lines_of(room):,} |" for room in known]
    plugins = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "src").is_dir())
    for name in plugins:
        files = (ROOT / "plugins" / name / "src").rglob("*.py")
        parts.append(f"| plugin `{name}` | {sum(len(file.read_text(encoding='utf-8').splitlines()) for file in files):,} |")
    return "\n".join(parts)


FEW = 3
"""Imports below which an arrow is left out of the picture."""


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    made = f"{head}{BEGIN}\n{drawing()}\n{END}{tail}"
    if "--check" in sys.argv:
        if made != text:
            sys.stderr.write(f"{PAGE} is out of date: run python docs/make_architecture.py\n")
        return int(made != text)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
