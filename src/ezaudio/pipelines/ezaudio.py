"""A model as one object: generate, edit, reconstruct, and its latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ezaudio import __version__
from ezaudio.audio_levels import peak_guard
from ezaudio.errors import InputError
from ezaudio.pipelines.components import Components, load_components
from ezaudio.pipelines.edit import EditRequest, SoundLike, edit, load_clip
from ezaudio.pipelines.generate import Request, generate, row_options
from ezaudio.pipelines.lora import Choice, choose_adapters
from ezaudio.pipelines.options import (
    DEFAULT_BATCH_SIZE,
    MAX_BATCH_SIZE,
    EditOptions,
    GenerateOptions,
    check_count,
    check_prompt,
    resolve_options,
)
from ezaudio.pipelines.reconstruct import Reconstruction, reconstruct
from ezaudio.pipelines.results import CEILING, Sound, Sounds
from ezaudio.types import Clip, Latent
from ezaudio.vae.chunked import decode_chunked, encode_chunked

if TYPE_CHECKING:
    from ezaudio.pipelines.progress import Callback


class EzAudio:
    """A text-to-audio model, ready to use.

    Settings are fields of `GenerateOptions` and `EditOptions`, such as `duration_s`, `seed` and
    `num`; what is left out has the model's default. A callback is told about every step (see
    `Progress`); when it returns False the work ends with `Cancelled`. `batch_size` is the number of
    sounds that are made at once; it bounds the memory and changes nothing in the sounds.

    Args:
        parts: the model in memory; or its name or folder, as for `from_pretrained`.
    """

    def __init__(self, parts: Components | str | Path) -> None:
        self.parts = parts if isinstance(parts, Components) else load_components(parts)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "starter",
        *,
        device: str | None = None,
        dtype: str | None = None,
        lora: Choice | None = None,
        loras: Sequence[Choice] = (),
    ) -> EzAudio:
        """Load a model.

        Args:
            model: `starter`, `l`, `xl`, or a model folder.
            device: `cpu`, `cuda`, `cuda:N`, `mps`; None takes the best.
            dtype: `float32`, `bfloat16`, `float16`; None takes what suits the device.
            lora: an adapter: a file, or `"FILE:STRENGTH"`.
            loras: several.

        Raises:
            InputError: unknown model, device or dtype; a strength that is not allowed.
            EzAudioError: a file is missing, damaged, or cannot be fetched; an adapter was fitted to
                another model.
        """
        adapters = choose_adapters(lora, loras)
        return cls(load_components(model, device=device, dtype=dtype, adapters=adapters))

    @property
    def sample_rate(self) -> int:
        """Of all sounds, in Hz."""
        return self.parts.vae.sample_rate

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        callback: Callback | None = None,
        **settings: Any,
    ) -> Sounds:
        """Make `num` takes of each prompt, those of one prompt next to each other.

        Args:
            prompts: one, or a list; the empty prompt asks for any sound.
            batch_size: most sounds that are made at once.
            callback: told about every step.
            **settings: fields of `GenerateOptions`. With a `seed`, the first prompt has it, and
                each further one a seed that follows from it; see a sound's `metadata`.

        Raises:
            InputError: a prompt or a setting is not allowed.
            Cancelled: the callback asked for it.
        """
        if not isinstance(prompts, str | Sequence):
            raise InputError("prompts", prompts, "a text, or a list of texts")
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        options = resolve_options(GenerateOptions, self.parts.card.defaults, settings)
        requests = [
            Request(check_prompt(text), row_options(options, row)) for row, text in enumerate(texts)
        ]
        made = dict(self.generate_each(requests, batch_size=batch_size, callback=callback))
        return Sounds(tuple(made[index] for index in sorted(made)))

    def generate_each(
        self,
        requests: Sequence[Request],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        callback: Callback | None = None,
    ) -> Iterator[tuple[int, Sound]]:
        """Make sounds with settings of their own; give each, and its place, when it is ready."""
        size = check_count(batch_size, "batch_size", MAX_BATCH_SIZE)
        return generate(self.parts, requests, batch_size=size, callback=callback)

    def edit(
        self,
        sound: SoundLike,
        prompt: str,
        spans: Sequence[tuple[float, float]],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        callback: Callback | None = None,
        **settings: Any,
    ) -> Sounds:
        """Make spans of a sound anew, `num` takes of the whole; the rest stays bit for bit.

        Args:
            sound: a file, a clip, or a result of `generate` or `edit`; its rate and its channels
                stay.
            prompt: what is heard in the spans.
            spans: (start, end) in seconds each; an end past the sound's makes it longer.
            batch_size: most takes that are made at once.
            callback: told about every step.
            **settings: fields of `EditOptions`.

        Raises:
            EzAudioError: prompt, span, setting or file is not allowed, or `Cancelled`.
        """
        size = check_count(batch_size, "batch_size", MAX_BATCH_SIZE)
        options = resolve_options(EditOptions, self.parts.card.defaults, settings)
        job = EditRequest(sound, check_prompt(prompt), spans, options)
        return Sounds(tuple(edit(self.parts, job, batch_size=size, callback=callback)))

    def reconstruct(self, sound: SoundLike) -> Reconstruction:
        """Pass a sound through the autoencoder and back."""
        return reconstruct(self.parts.vae, sound)

    @torch.no_grad()
    def encode(self, sound: SoundLike) -> Latent:
        """Give the latent of a sound, the posterior's mean: float32 `(1, C, T)` on the CPU.

        Raises:
            AudioFileError: the file cannot be read.
        """
        clip = load_clip(sound, self.sample_rate)
        wave = torch.from_numpy(clip.samples.copy())[None, None]
        return encode_chunked(self.parts.vae, wave).mode.float().cpu().clone()

    @torch.inference_mode()
    def decode(self, latent: Latent) -> Sounds:
        """Make sounds of latents `(B, C, T)`, one of each.

        Raises:
            InputError: the latent has another shape, or holds NaN.
        """
        channels = self.parts.vae.latent_channels
        shape = tuple(getattr(latent, "shape", ()))
        if len(shape) != 3 or shape[1] != channels or 0 in shape:
            raise InputError("latent", shape, f"a tensor (B, {channels}, T)")
        if not bool(torch.isfinite(latent).all()):
            raise InputError("latent", "NaN or infinite values", "numbers")
        waves = decode_chunked(self.parts.vae, latent.float())[:, 0].float().cpu().numpy()
        facts = {"model": self.parts.card.name, "software": f"ezaudio {__version__}"}
        return Sounds(
            tuple(
                Sound(Clip(peak_guard(wave.copy(), CEILING), self.sample_rate), facts)
                for wave in waves
            )
        )

    def __repr__(self) -> str:
        parts = self.parts
        dtype = str(parts.dtype).removeprefix("torch.")
        return f"EzAudio({parts.card.name!r}, {self.sample_rate} Hz, {parts.device}, {dtype})"
