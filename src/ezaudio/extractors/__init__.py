"""Networks that listen: waveforms in, features and class logits out.

To add one, write its file and add a line to `EXTRACTORS`.
"""

from ezaudio.extractors.panns import CNN14_16K, CNN14_32K, Cnn14Config

EXTRACTORS: dict[str, Cnn14Config] = {
    "panns-16k": CNN14_16K,
    "panns-32k": CNN14_32K,
}
"""Every extractor by name; `load(path)` builds it with published weights."""

__all__ = ["EXTRACTORS"]
