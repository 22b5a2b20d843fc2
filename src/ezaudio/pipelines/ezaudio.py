"""A model as one object: generate, edit, reconstruct."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezaudio.pipelines.components import Components, load_components
from ezaudio.pipelines.edit import EditRequest, edit
from ezaudio.pipelines.generate import Request, generate
from ezaudio.pipelines.lora import Choice, choose_adapters
from ezaudio.pipelines.options import (
    EditOptions,
    GenerateOptions,
    check_count,
    check_prompt,
    resolve_options,
)
from ezaudio.pipelines.reconstruct import Reconstruction, reconstruct
from ezaudio.pipelines.results import Sound, Sounds

if TYPE_CHECKING:
    from ezaudio.pipelines.progress import Callback
    from ezaudio.types import Clip

DEFAULT_BATCH_SIZE = 8
MAX_BATCH_SIZE = 256


class EzAudio:
    """A text-to-audio model, ready to use.

    Settings are fields of `GenerateOptions` and `EditOptions`, such as `duration_s`, `seed` and
    `num`; what is left out has the model's default. A callback is told about every step (see
    `Progress`); when it returns False the work ends with `Cancelled`. `batch_size` is the number of
    sounds that are made at once; it bounds the memory and changes nothing in the sounds.

    Args:
        parts: the model in memory.
    """

    def __init__(self, parts: Components) -> None:
        self.parts = parts

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

        Raises:
            InputError: a prompt or a setting is not allowed.
            Cancelled: the callback asked for it.
        """
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        options = resolve_options(GenerateOptions, self.parts.card.defaults, settings)
        requests = [Request(check_prompt(text), options) for text in texts]
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
        sound: Clip | str | Path,
        prompt: str,
        spans: Sequence[tuple[float, float]],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        callback: Callback | None = None,
        **settings: Any,
    ) -> Sounds:
        """Make spans of a sound anew, `num` takes of the whole; the rest stays bit for bit.

        Args:
            sound: a file, or a clip; another rate is resampled to the model's.
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

    def reconstruct(self, sound: Clip | str | Path) -> Reconstruction:
        """Pass a sound through the autoencoder and back."""
        return reconstruct(self.parts.vae, sound)
