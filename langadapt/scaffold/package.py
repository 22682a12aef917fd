"""Packages of plugins and of recipes, written from the components and texts beside this file."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from langadapt.contracts.kinds import KINDS
from langadapt.errors import PlanError, did_you_mean
from langadapt.scaffold.texts import EXAMPLES, FILES, PLUGIN, RECIPE, RECIPE_PLUGIN, RECIPE_TEST, TEST
from langadapt.version import __version__

Texts = dict[str, str]
"""Path in the package → what stands there."""


def plugin_package(name: str, kinds: Sequence[str]) -> Texts:
    """A plugin with a component of each kind, called as the plugin is.

    Raises:
        PlanError: a name that is none, or a kind that there is not.
    """
    module = _module(name)
    for kind in kinds:
        if kind not in KINDS:
            raise PlanError(f"there is no kind '{kind}'", hint=did_you_mean(kind, list(KINDS)))
    kinds = list(dict.fromkeys(kinds))
    sources = {kind: _component(name, kind) for kind in kinds}
    refs = [_ref(name, module, kind, sources[kind]) for kind in kinds]
    examples = [f'    "{kind}/{name}": {EXAMPLES[kind]},' for kind in kinds if kind in EXAMPLES]
    what = f"A plugin of langadapt: {', '.join(kinds)}" if len(kinds) < 5 else "A plugin of langadapt"
    values = {
        "examples": "\n".join(["{", *examples, "}"]) if examples else "{}",
        "sample": ", sample" if "sample(" in str(examples) else "",
    }
    use = f"A recipe names it by `{{use: {name}}}`; `langadapt list {kinds[0]}` shows it."
    return {
        **_around(name, module, what, use, data='"py.typed"'),
        f"src/{module}/plugin.py": PLUGIN.format(refs="\n".join(refs)),
        **{f"src/{module}/{_file(kind)}.py": source for kind, source in sources.items()},
        "tests/test_conformance.py": TEST.format(module=module, **values),
    }


def recipe_package(name: str) -> Texts:
    """A plugin that brings a recipe.

    Raises:
        PlanError: a name that is none.
    """
    module = _module(name)
    what = f"A recipe of langadapt: {name}"
    needs = [f"langadapt-{one}" for one in ("data", "evaluators", "exporters", "objectives")]
    use = f"`langadapt build --lang mr --recipe {name}` runs it; `langadapt show recipe {name}` shows it."
    return {
        **_around(name, module, what, use, data='"py.typed", "recipes/*.yaml"', needs=needs),
        f"src/{module}/plugin.py": RECIPE_PLUGIN,
        f"src/{module}/recipes/{name}.yaml": RECIPE.format(name=name),
        "tests/test_recipe.py": RECIPE_TEST.format(name=name, module=module),
    }


def write(texts: Texts, folder: Path) -> None:
    """Write a package into a folder that is not there yet, all of it or nothing.

    Raises:
        PlanError: something stands there.
    """
    if folder.exists():
        raise PlanError("stands there already", where=str(folder), hint="Choose another name, or another folder with --output.")
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for path, text in texts.items():
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            (aside / path).write_text(text, encoding="utf-8")
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _around(name: str, module: str, what: str, use: str, data: str, needs: Sequence[str] = ()) -> Texts:
    """What every package has beside its code."""
    low, high = __version__.rsplit(".", 1)[0], f"{__version__.split('.')[0]}.{int(__version__.split('.')[1]) + 1}"
    lines = "\n".join(f'    "{one}>={low},<{high}",' for one in ("langadapt", *needs))
    values = {"name": name, "module": module, "what": what, "use": use, "data": data, "needs": lines, "extra": " ".join(needs)}
    found = {path.format(**values): text.format(**values) for path, text in FILES.items()}
    return {**found, f"src/{module}/__init__.py": f'"""{what}."""\n', f"src/{module}/py.typed": ""}


def _module(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise PlanError(f"'{name}' is no name of a package", hint="Small letters, digits and single hyphens, a letter first: my-pooler.")
    with suppress(PackageNotFoundError):
        raise PlanError(f"a package langadapt-{name} {version(f'langadapt-{name}')} is installed", hint="Choose another name.")
    return f"langadapt_{name.replace('-', '_')}"


def _file(kind: str) -> str:
    return kind.replace("-", "_")


def _class(name: str, kind: str) -> str:
    return "".join(part.capitalize() for part in (*name.split("-"), *kind.split("-")))


def _component(name: str, kind: str) -> str:
    """The source of a kind's component, called as the plugin is."""
    source = (files("langadapt.scaffold") / "components" / f"{_file(kind)}.py").read_text(encoding="utf-8")
    return source.replace("class Example(", f"class {_class(name, kind)}(").replace('= "example"', f'= "{name}"')


def _ref(name: str, module: str, kind: str, source: str) -> str:
    """A component's line of a plugin."""
    where = f"{module}.{_file(kind)}:{_class(name, kind)}"
    return f'        ComponentRef(\n            "{kind}", "{name}", "{where}",\n            "{_summary(source)}",\n        ),'


def _summary(source: str) -> str:
    """The first words of a component's docstring, as lists show them."""
    line = source.partition("class ")[2].partition('"""')[2].split("\n")[0].rstrip('"')
    return re.split(r"[.;(:]", line)[0].strip()[:100].lower()
