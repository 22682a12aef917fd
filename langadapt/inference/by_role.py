"""An encoder whose adapter runs in the library that trained it, with a module for each role."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from langadapt.contracts.component import Log
from langadapt.errors import ModelError
from langadapt.inference.encoder import Encoder

if TYPE_CHECKING:
    from langadapt.artifacts.encoder import LoadedEncoder
    from langadapt.contracts.data import Normalizer
    from langadapt.modeling.encoder import EncoderModule


class ByRole(Encoder):
    """Texts of one call are all read in one role: the library has one module of attention active at a time.

    Args:
        roles: names of the modules; the first is what :meth:`encode` uses when none is named.
        activate: lets the module of a role act.
    """

    def __init__(
        self,
        loaded: LoadedEncoder,
        module: EncoderModule,
        normalizer: Normalizer | None,
        roles: tuple[str, ...],
        activate: Callable[[str], None],
    ) -> None:
        super().__init__(loaded, module, normalizer)
        self.roles = roles
        self._activate = activate
        self._turn = threading.Lock()
        self._plain = self._passes

    def encode(self, texts: Sequence[str], *, adapter: str | Sequence[str | None] | None = None, **options: Any) -> np.ndarray:
        """As :meth:`Encoder.encode`; `adapter` is one role.

        Raises:
            DataError: as there.
            ModelError: no role of that name, or one a text.
        """
        role = self.roles[0] if adapter is None else adapter
        if not isinstance(role, str) or role not in self.roles:
            raise ModelError(
                f"there is no adapter {role!r}"[:200],
                hint=f"Name one for all texts of a call: {', '.join(self.roles)}. Its library serves no mixture of them.",
            )
        with self._turn:
            self._activate(role)
            self._passes = self._plain  # whoever remembers vectors knows them by their tokens alone
            return super().encode(texts, **options)

    def _no_base(self) -> NoReturn:
        raise ModelError(
            "an encoder whose library reads texts by role has no base to look into",
            hint="Score the base itself, or tests that ask for vectors of texts.",
        )

    def token_states(self, ids: Sequence[Sequence[int]], *, batch_tokens: int = 4096, progress: bool | Log = False) -> list[np.ndarray]:
        self._no_base()

    def trainable_copy(self) -> EncoderModule:
        self._no_base()

    def at_layer(self, layer: int) -> Encoder:
        self._no_base()

    def every_layer(self) -> Encoder:
        self._no_base()
