"""What components read and write weights with: checkpoints, quantisation, adapters and the records beside them."""

from typing import TYPE_CHECKING

from langadapt.contracts import lazy

if TYPE_CHECKING:
    from langadapt.artifacts import adapter as adapters
    from langadapt.modeling.encoder import EncoderModule
    from langadapt.modeling.heads import mlm_logits
    from langadapt.modeling.layers import layer_stack
    from langadapt.modeling.loading import check_safetensors, keep_unpacked, quantization_options, save_checkpoint
    from langadapt.modeling.static import StaticConfig, StaticModel
    from langadapt.modeling.token_ids import plain_tokenizer

__all__ = [
    "EncoderModule",
    "StaticConfig",
    "StaticModel",
    "adapters",
    "check_safetensors",
    "keep_unpacked",
    "layer_stack",
    "mlm_logits",
    "plain_tokenizer",
    "quantization_options",
    "save_checkpoint",
]

__getattr__ = lazy.homes(
    __name__,
    {
        "EncoderModule": "langadapt.modeling.encoder",
        "StaticConfig": "langadapt.modeling.static",
        "StaticModel": "langadapt.modeling.static",
        "adapters": "langadapt.artifacts:adapter",
        "check_safetensors": "langadapt.modeling.loading",
        "keep_unpacked": "langadapt.modeling.loading",
        "layer_stack": "langadapt.modeling.layers",
        "mlm_logits": "langadapt.modeling.heads",
        "plain_tokenizer": "langadapt.modeling.token_ids",
        "quantization_options": "langadapt.modeling.loading",
        "save_checkpoint": "langadapt.modeling.loading",
    },
)
