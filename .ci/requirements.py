"""Print what the core and its plugins need from others, one quoted requirement after another; without the plugin 'adapters'."""

import shlex
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHOSEN = ("langadapt", "torch", "transformers")  # these are here, or in versions that the caller names

found: dict[str, None] = {}
for file in [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]:
    if file.parent.name != "adapters":
        for wanted in tomllib.loads(file.read_text(encoding="utf-8"))["project"].get("dependencies", []):
            name = wanted.split(";")[0].strip().split("[")[0].rstrip("0123456789.,<>=!~* ")
            if name not in CHOSEN and not name.startswith("langadapt-"):
                found[wanted] = None
print(" ".join(shlex.quote(wanted) for wanted in found))
