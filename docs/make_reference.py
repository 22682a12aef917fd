"""Write docs/reference from the code: components and kinds, hooks, manifests.  ``--check`` fails when a page is out of date."""

from __future__ import annotations

import ast
import hashlib
import inspect
import itertools
import sys
import textwrap
import types
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from langadapt.contracts import hooks
from langadapt.contracts.component import Component
from langadapt.contracts.kinds import KINDS
from langadapt.contracts.training import Adaptation, LightAdaptation
from langadapt.manifests.language import DomainManifest, LanguageManifest
from langadapt.manifests.recipe import RecipeManifest
from langadapt.manifests.resource import HubSource, PathSource, Resource, Sources
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry
from langadapt.verbs import VERBS

INTERNAL = ("pinned", "asked", "leave_out", "do")
"""Fields that no manifest writes."""

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- written by docs/make_reference.py; do not edit -->\n"


def components() -> str:
    """Every kind's contract and every component's docstring and options."""
    registry = Registry(load_plugins())
    parts = [NOTE, "# Components\n"]
    for kind, contract in KINDS.items():
        parts.append(f"## {kind}\n\n`langadapt.contracts.{contract.__name__}`: {inspect.getdoc(contract)}\n")
        parts += _members(contract, Component)
        if contract is Adaptation:
            parts.append(f"\n`langadapt.contracts.{LightAdaptation.__name__}`: {inspect.getdoc(LightAdaptation)}\n")
            parts += _members(LightAdaptation, Adaptation)
        parts.append("")
        for item in registry.list(kind):
            found = registry.get(kind, item.ref.name)
            parts.append(f"### {kind} `{item.ref.name}`\n\n{inspect.getdoc(found)}\n\nPlugin: {item.plugin}.\n")
            notes = _notes(found)
            parts += [f"- `{name}`: {_option(name, info, notes)}" for name, info in found.model_fields.items()]
            parts.append("")
    return "\n".join(parts)


def _members(contract: type, base: type) -> list[str]:
    """What a contract adds to its base: attributes with their defaults, methods with their signatures; abstract ones must be written."""
    lines = []
    notes = _notes(contract)
    for name in contract.__annotations__:
        if name in notes and name not in getattr(contract, "model_fields", {}):
            default = f" = `{getattr(contract, name)!r}`" if hasattr(contract, name) else ", required"
            lines.append(f"- `{name}`{default}: {notes[name]}")
    for name, member in vars(contract).items():
        function = member.fget if isinstance(member, property) else member
        if name.startswith("_") or not inspect.isfunction(function) or name in dir(base):
            continue
        told = " ".join((inspect.getdoc(function) or "").split())
        must = ", required" if name in contract.__abstractmethods__ else ""
        shown = name if isinstance(member, property) else f"{name}{inspect.signature(function)}"
        lines.append(f"- `{shown}`{must}: {told}")
    return lines


def hook_page() -> str:
    """Every hook with its signature and docstring."""
    parts = [NOTE, "# Hooks\n\nHooks register and observe; they never change a result.\n"]
    for name, function in inspect.getmembers(hooks, inspect.isfunction):
        if name.startswith("langadapt_"):
            parts.append(f"## {name}\n\n```python\ndef {name}{inspect.signature(function)}\n```\n\n{inspect.getdoc(function)}\n")
    return "\n".join(parts)


def manifests() -> str:
    """Every manifest's and every verb's fields."""
    parts = [NOTE, "# Manifests\n\nStrict YAML: unknown and repeated keys are refused, every error names its line.\n"]
    models: list[Any] = [LanguageManifest, DomainManifest, Resource, Sources, HubSource, PathSource, RecipeManifest]
    for model in models:
        parts.append(_model(model.__name__, model, ("name",) if model is Resource else ()))
    parts.append("# Verbs\n")
    for verb, model in ((name, one.options) for name, one in VERBS.items()):
        parts.append(_model(f"do: {verb}", model))
        parts += [f"- input `{role}`: {' or '.join(types)}" for role, types in model.inputs.items()]
        parts += [f"- slot `{role}`: a component of kind {kind}" for role, kind in model.slots.items()]
        parts.append(f"- leaves: {model.output}\n")
    return "\n".join(parts)


def _model(title: str, model: Any, without: tuple[str, ...] = ()) -> str:
    notes = _notes(model)
    shown = [(name, info) for name, info in model.model_fields.items() if name not in (*INTERNAL, *without)]
    fields = [f"- `{info.alias or name}`: {_option(name, info, notes)}" for name, info in shown]
    return "\n".join([f"## {title}\n\n{inspect.getdoc(model)}\n", *fields, ""])


def _option(name: str, info: Any, notes: dict[str, str]) -> str:
    shown = f"`{_type(info.annotation)}`" + (", required" if info.is_required() else f", default `{_default(info)}`")
    note = notes.get(name, "")
    return f"{shown}. {note}" if note else shown


def _default(info: Any) -> str:
    return repr(info.get_default(call_default_factory=True))


def _type(kind: Any) -> str:
    """A type in the words of who writes a manifest: a validator or a pattern around it is none of theirs."""
    if get_origin(kind) is Annotated:
        return _type(get_args(kind)[0])
    if kind is type(None):
        return "null"
    inner = [_type(one) if not isinstance(one, str) else repr(one) for one in get_args(kind)]
    origin = get_origin(kind)
    if origin is Literal:
        return " | ".join(str(one) or "''" for one in get_args(kind))
    if origin in (Union, types.UnionType):
        return " | ".join(inner)
    if origin is not None:
        return f"{origin.__name__}[{', '.join('…' if one is Ellipsis else text for one, text in zip(get_args(kind), inner, strict=True))}]"
    return str(getattr(kind, "__name__", kind))


def _notes(model: Any) -> dict[str, str]:
    """Field → the docstring that stands below it in the source, of a class and its bases."""
    return {name: note for one in reversed(model.__mro__) for name, note in _own_notes(one).items()}


@cache
def _own_notes(model: Any) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except (OSError, TypeError):
        return {}
    found: dict[str, str] = {}
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef)] or [[]]
    for node, after in itertools.pairwise(body):
        is_note = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and is_note:
            found[node.target.id] = " ".join(after.value.value.split())  # type: ignore[attr-defined]
    return found


def contracts() -> str:
    """Everything that a plugin may import, by signature, and a digest of it that the changelog must name."""
    folder = FOLDER.parents[1] / "langadapt" / "contracts"
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.py"))}
    lines: list[str] = []
    for module, tree in trees.items():
        for node in tree.body:
            name = getattr(node, "name", "_")
            if isinstance(node, ast.ClassDef) and not name.startswith("_"):
                lines += ["", f"## {name}", "", "```python", *_signatures(node, module), "```"]
    defined = [node for node in trees["hooks"].body if isinstance(node, ast.FunctionDef) and node.name.startswith("langadapt_")]
    lines += ["", "## Hooks", "", "```python", *map(_signature, defined), "```", ""]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
    return "\n".join(
        [
            "<!-- written by docs/make_reference.py; do not edit -->",
            "",
            "# Contracts",
            "",
            "What a plugin derives from and is handed, by signature ([what they promise](../explanation/compatibility.md)).  The methods",
            "are described where they stand, in `langadapt/contracts/`, and by kind in [components](components.md).",
            "",
            f"Digest: `{digest}`",
            *lines,
        ]
    )


def _signatures(node: ast.ClassDef, module: str) -> list[str]:
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    found = [
        f"class {node.name}({bases})  # langadapt.contracts.{module}" if bases else f"class {node.name}  # langadapt.contracts.{module}"
    ]
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and not ast.unparse(item.target).startswith("_"):
            found.append(f"    {ast.unparse(item)}")
        elif isinstance(item, ast.FunctionDef) and (not item.name.startswith("_") or item.name == "__init__"):
            marks = [ast.unparse(one) for one in item.decorator_list]
            found += [f"    @{mark}" for mark in marks] + [f"    {_signature(item)}"]
    return found


def _signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"def {node.name}({ast.unparse(node.args)}){returns}"


def main() -> int:
    pages = {"components.md": components(), "contracts.md": contracts(), "hooks.md": hook_page(), "manifests.md": manifests()}
    stale = [name for name, text in pages.items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for name in stale:
            sys.stderr.write(f"docs/reference/{name} is out of date: run 'make docs'\n")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
