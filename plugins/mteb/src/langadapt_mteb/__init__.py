"""The Massive Text Embedding Benchmark: its tasks for langadapt's encoders, and local test sets as its tasks."""

from typing import TYPE_CHECKING

from langadapt.contracts import lazy

if TYPE_CHECKING:
    from langadapt_mteb.model import MtebModel
    from langadapt_mteb.tasks import local_task

__all__ = ["MtebModel", "local_task"]

__getattr__ = lazy.homes(__name__, {"MtebModel": "langadapt_mteb.model", "local_task": "langadapt_mteb.tasks"})
