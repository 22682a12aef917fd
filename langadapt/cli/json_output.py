"""What ``--json`` prints: JSON and nothing else."""

from __future__ import annotations

import json
from typing import Any


def dumps(value: Any) -> str:
    """Indented JSON; a figure that is no number is an error here, not the word NaN that no other parser takes."""
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
