"""Bottleneck adapters: two small linear layers with a residual connection inside every transformer layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import LightAdaptation
from langadapt.errors import ModelError, did_you_mean
from langadapt_adapters.folders import BOTTLENECK
from langadapt_adapters.library import NAME, load_plain, place, prepare, save_plain, train_only

if TYPE_CHECKING:
    from adapters import BnConfig
    from transformers import PreTrainedModel


class BottleneckOptions(LightAdaptation):
    """Options of a new bottleneck and what light adaptations share."""

    mergeable: ClassVar[bool] = False
    library: ClassVar[str] = "adapters"

    reduction_factor: Annotated[float, Field(ge=1)] = 16
    """Width of the encoder (d) over width of the bottleneck."""
    non_linearity: str | None = None
    """Activation between the two layers, by transformers' name; None: the form's own (relu, swish, relu)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0
    """Share of the bottleneck's output dropped in training."""

    def settings(self, form: str) -> BnConfig:
        """The library's settings of a bottleneck of `form` with these options.

        Raises:
            ModelError: there is no such activation.
        """
        from adapters import ADAPTER_CONFIG_MAP
        from transformers.activations import ACT2FN

        changes: dict[str, Any] = {"reduction_factor": self.reduction_factor, "dropout": float(self.dropout)}
        if self.non_linearity is not None:
            known = {*ACT2FN, "leakyrelu"}
            if self.non_linearity.lower() not in known:
                raise ModelError(f"there is no activation '{self.non_linearity}'", hint=did_you_mean(self.non_linearity, known))
            changes["non_linearity"] = self.non_linearity.lower()
        return ADAPTER_CONFIG_MAP[form].replace(**changes)


class Bottleneck(BottleneckOptions):
    """Train a bottleneck in every layer: down (d → d / reduction_factor), activation, up, added to what came in.

    ``seq_bn`` has one per layer, after the feed-forward block (Pfeiffer et al. 2020, arXiv:2005.00247); ``double_seq_bn`` two,
    after attention and after the feed-forward block (Houlsby et al. 2019, arXiv:1902.00751); ``par_bn`` one beside the
    feed-forward block, its output times four (He et al. 2021, arXiv:2110.04366, which takes a reduction factor of 2).

    Architectures: those the library knows (BERT, RoBERTa, XLM-R, ModernBERT, DistilBERT, ELECTRA, DeBERTa, Llama, Qwen, …) and Bloom.
    In some of them (ALBERT) the adapter is scored and loaded by the library alone.
    On a quantised base the weights that are not quantised must be float32.  An adapter that is loaded to train on keeps the form
    and sizes it was saved with.

    Relations: `stack` trains one on top of others, `fuse` and `average` combine trained ones, `prefix` changes attention instead.
    """

    name: ClassVar[str] = "bottleneck"

    form: Literal["seq_bn", "double_seq_bn", "par_bn"] = "seq_bn"
    """Where bottlenecks stand; the library's names."""

    def attach(self, model: PreTrainedModel) -> None:
        settings = self.settings(self.form)
        prepare(model, BOTTLENECK)
        model.add_adapter(NAME, config=settings)
        place(model)
        train_only(model, NAME)

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        save_plain(model, folder)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        prepare(model, BOTTLENECK)
        load_plain(model, folder, BOTTLENECK)
        train_only(model, NAME)
