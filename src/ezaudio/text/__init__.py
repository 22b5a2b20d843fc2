"""Text encoders: a prompt in, one vector per token out.

To add one: write a module with a frozen config and its `build()`, and add a line to the registry.
"""

from ezaudio.text.cache import CachedTextEncoder
from ezaudio.text.encoder import TextEncoder
from ezaudio.text.flan_t5 import FlanT5Config
from ezaudio.text.minilm import MiniLMConfig
from ezaudio.text.none import NO_TEXT, NoText

TEXT_ENCODERS: dict[str, type[MiniLMConfig] | type[FlanT5Config]] = {
    "minilm": MiniLMConfig,
    "flan-t5": FlanT5Config,
}
"""Kind of text encoder to its config class, whose `build()` loads it."""

__all__ = [
    "NO_TEXT",
    "TEXT_ENCODERS",
    "CachedTextEncoder",
    "FlanT5Config",
    "MiniLMConfig",
    "NoText",
    "TextEncoder",
]
