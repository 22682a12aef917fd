"""Language codes of translation engines, from BCP 47."""

from __future__ import annotations

import langcodes


def alpha3(code: str) -> str:
    """ISO 639-3: ``gl`` → ``glg``."""
    return langcodes.Language.get(code).to_alpha3()


def same(one: str, other: str) -> bool:
    """Whether two codes name one language, however many letters they use."""
    try:
        return alpha3(one) == alpha3(other)
    except LookupError:
        return False


def flores(code: str) -> str:
    """FLORES-200 code, as NLLB and IndicTrans2 use it: ``mr`` → ``mar_Deva``."""
    language = langcodes.Language.get(code).maximize()
    return f"{FLORES.get(language.language or code, alpha3(code))}_{language.script}"


# FLORES-200 names the individual language where ISO 639-3's three letters are a macrolanguage's.
FLORES = {
    "ar": "arb", "az": "azj", "et": "est", "fa": "pes", "kr": "knc", "ku": "kmr", "lv": "lvs", "mg": "plt", "mn": "khk", "ms": "zsm",
    "ne": "npi", "no": "nob", "om": "gaz", "or": "ory", "ps": "pbt", "qu": "quy", "sq": "als", "sw": "swh", "uz": "uzn", "yi": "ydd",
}  # fmt: skip
