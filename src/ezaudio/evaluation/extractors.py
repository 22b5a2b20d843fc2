"""Extractors as metrics use them: one sound in, named arrays out, with an identity for the hash.

To add one, write an opener and add a line to `EXTRACTORS`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ezaudio.errors import CheckpointError, DownloadError, InputError
from ezaudio.evaluation.metrics.memorisation import FRAMES_PER_S, copy_prints
from ezaudio.evaluation.metrics.signal_checks import sound_facts
from ezaudio.extractors import passt, starter_tagger, vggish
from ezaudio.extractors.panns import CNN14_16K, CNN14_32K, Cnn14Config
from ezaudio.extractors.passt import PasstConfig
from ezaudio.extractors.vggish import VggishConfig
from ezaudio.types import Clip

Array = npt.NDArray[np.float32]
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FeatureExtractor:
    """Something that listens.

    Attributes:
        name: of the extractor.
        identity: hash of its weights, or the revision of its code; a part of every key and hash.
        sample_rate: of what it hears, in Hz; 0 takes the sound as it is.
        extract: from (S,) and its rate to named arrays.
        labels: names of the logits, where it has some.
        embed_text: from captions to embeddings (N, E), where it has a space with text.
    """

    name: str
    identity: str
    sample_rate: int
    extract: Callable[[Samples, int], Mapping[str, Array]]
    labels: tuple[str, ...] = ()
    embed_text: Callable[[Sequence[str]], Array] | None = None


def open_extractor(name: str, weights: Mapping[str, Path] | None = None) -> FeatureExtractor:
    """Open an extractor.

    Args:
        name: of the extractor.
        weights: path of the weights by extractor, for those that cannot be fetched.

    Raises:
        InputError: no such extractor.
        CheckpointError: its weights are absent; the message says where they come from.
    """
    if name not in EXTRACTORS:
        raise InputError("extractor", name, f"one of {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name]((weights or {}).get(name))


def _starter(path: Path | None) -> FeatureExtractor:
    tagger = starter_tagger.load_starter_tagger(path or starter_tagger.WEIGHTS)

    @torch.inference_mode()
    def extract(samples: Samples, _: int) -> Mapping[str, Array]:
        wave = torch.from_numpy(samples)[None]
        features, logits, audio = tagger(wave)
        found = {"features": features, "logits": logits, "audio": audio}
        found["timeline"] = tagger.timeline(wave)
        return {name: value[0].numpy().copy() for name, value in found.items()}

    return FeatureExtractor(
        "starter-tagger",
        tagger.sha256 or "random",
        starter_tagger.SAMPLE_RATE,
        extract,
        tagger.labels,
        _starter_text,
    )


@torch.inference_mode()
def _starter_text(captions: Sequence[str]) -> Array:
    """Sentence vectors of the starter's text encoder: the mean of the tokens, at unit length."""
    from ezaudio.text import MiniLMConfig

    encoder = MiniLMConfig().build()
    parts: list[Array] = []
    for start in range(0, len(captions), 64):
        embedded = encoder(list(captions[start : start + 64]))
        mean = (embedded.tokens * embedded.attend[..., None]).sum(1)
        parts.append(F.normalize(mean, dim=1).numpy())
    return np.concatenate(parts)


def _panns(config: Cnn14Config, name: str) -> Callable[[Path | None], FeatureExtractor]:
    def opened(path: Path | None) -> FeatureExtractor:
        if path is None:
            from ezaudio.evaluation.weights import fetch_weights

            path = fetch_weights(name)
        network = config.load(path)

        @torch.inference_mode()
        def extract(samples: Samples, _: int) -> Mapping[str, Array]:
            heard = network(torch.from_numpy(samples)[None])
            return {
                "features": heard.features[0].numpy().copy(),
                "logits": heard.logits[0].numpy().copy(),
            }

        return FeatureExtractor(name, network.sha256 or "random", config.sample_rate, extract)

    return opened


def _vggish(path: Path | None) -> FeatureExtractor:
    if path is None:
        from ezaudio.evaluation.weights import fetch_weights

        path = fetch_weights("vggish")
    network = VggishConfig().load(path)

    @torch.inference_mode()
    def extract(samples: Samples, _: int) -> Mapping[str, Array]:
        frames = network(torch.from_numpy(samples))
        return {"features": frames.mean(0).numpy().copy(), "frames": frames.numpy().copy()}

    return FeatureExtractor("vggish", network.sha256 or "random", vggish.SAMPLE_RATE, extract)


def _passt(path: Path | None) -> FeatureExtractor:
    if path is None:
        from ezaudio.evaluation.weights import fetch_weights

        path = fetch_weights("passt")
    network = PasstConfig().load(path)

    def heard(wave: Tensor) -> Mapping[str, Tensor]:
        found = network(wave)
        return {"features": found.features, "logits": found.logits}

    return tensor_extractor("passt", network.sha256 or "random", passt.SAMPLE_RATE, heard)


def _clap(repository: str, name: str) -> Callable[[Path | None], FeatureExtractor]:
    def opened(path: Path | None) -> FeatureExtractor:
        try:
            from ezaudio.extractors import clap  # type: ignore[attr-defined,unused-ignore]
        except ImportError:
            raise CheckpointError(f"{name}: this installation has no CLAP extractor") from None
        try:
            network = clap.load_clap(repository, path=path)
        except DownloadError as error:
            raise DownloadError(f"{error} (here: `--weights {name}=FOLDER`)") from None

        @torch.inference_mode()
        def extract(samples: Samples, rate: int) -> Mapping[str, Array]:
            return {"audio": network.embed_audio([Clip(samples, rate)])[0].float().numpy()}

        @torch.inference_mode()
        def read(captions: Sequence[str]) -> Array:
            rows: Array = network.embed_text(list(captions)).float().numpy()
            return rows

        return FeatureExtractor(name, network.sha256, network.sample_rate, extract, embed_text=read)

    return opened


def _waveform(_: Path | None) -> FeatureExtractor:
    def extract(samples: Samples, rate: int) -> Mapping[str, Array]:
        facts = vars(sound_facts(samples, rate))
        return {name: np.asarray([value], np.float32) for name, value in facts.items()}

    return FeatureExtractor("waveform", "1", 0, extract)


def print_extractor(hop_frames: int) -> FeatureExtractor:
    """Prints of every second of a sound, for near copies."""
    front_end = starter_tagger.LevelledLogMel()
    pool = round(starter_tagger.FRAME_RATE / FRAMES_PER_S)

    @torch.inference_mode()
    def extract(samples: Samples, _: int) -> Mapping[str, Array]:
        mel = front_end.log_mel(torch.from_numpy(samples)[None])
        mel = F.avg_pool1d(mel, pool, ceil_mode=True)[0]
        prints = copy_prints(mel.numpy(), hop_frames=hop_frames)
        return {"prints": prints.astype(np.float16).astype(np.float32)}

    identity = hashlib.sha256(json.dumps(["prints", 1, hop_frames]).encode()).hexdigest()
    return FeatureExtractor("prints", identity, starter_tagger.SAMPLE_RATE, extract)


def tensor_extractor(
    name: str, identity: str, sample_rate: int, network: Callable[[Tensor], Mapping[str, Tensor]]
) -> FeatureExtractor:
    """Make an extractor of a network that maps (1, S) to named tensors (1, ...)."""

    @torch.inference_mode()
    def extract(samples: Samples, _: int) -> Mapping[str, Array]:
        heard = network(torch.from_numpy(samples)[None])
        return {key: value[0].float().numpy().copy() for key, value in heard.items()}

    return FeatureExtractor(name, identity, sample_rate, extract)


EXTRACTORS: dict[str, Callable[[Path | None], FeatureExtractor]] = {
    "starter-tagger": _starter,
    "panns-16k": _panns(CNN14_16K, "panns-16k"),
    "panns-32k": _panns(CNN14_32K, "panns-32k"),
    "vggish": _vggish,
    "passt": _passt,
    "clap-general": _clap("laion/larger_clap_general", "clap-general"),
    "clap-unfused": _clap("laion/clap-htsat-unfused", "clap-unfused"),
    "prints": lambda _: print_extractor(1),
    "waveform": _waveform,
}
"""Every extractor by name, with what opens it."""
