"""The training loop as a library, for components that train something of their own."""

from typing import TYPE_CHECKING

from langadapt.contracts import lazy

if TYPE_CHECKING:
    from langadapt.modeling.batching import group_by_length
    from langadapt.modeling.precision import resolve_precision
    from langadapt.training.loop import Settings, train
    from langadapt.training.optimizer import AdamW
    from langadapt.training.schedule import Linear
    from langadapt.training.tokenized import TokenizedRows, steps_per_epoch

__all__ = ["AdamW", "Linear", "Settings", "TokenizedRows", "group_by_length", "resolve_precision", "steps_per_epoch", "train"]

__getattr__ = lazy.homes(
    __name__,
    {
        "AdamW": "langadapt.training.optimizer",
        "Linear": "langadapt.training.schedule",
        "Settings": "langadapt.training.loop",
        "TokenizedRows": "langadapt.training.tokenized",
        "group_by_length": "langadapt.modeling.batching",
        "resolve_precision": "langadapt.modeling.precision",
        "steps_per_epoch": "langadapt.training.tokenized",
        "train": "langadapt.training.loop",
    },
)
