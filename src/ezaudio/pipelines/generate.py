"""Generating: requests become takes, takes become batches, batches become sounds.

Takes that share length and settings run together, as many as the batch size says; the order and
the company of a take change nothing in it. Take k of seed s has the seed s + k, so it is the same
however many are asked for. Row i of a list has a seed that follows from s and i: with one noise for
all, the events of all rows would fall at the same times.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ezaudio import __version__
from ezaudio.audio_levels import bring_to_loudness, fade_ends, loudness_lufs, peak_guard
from ezaudio.diffusion import MAX_SEED, SAMPLERS, derived_seed
from ezaudio.errors import InputError
from ezaudio.pipelines.components import Components
from ezaudio.pipelines.denoise import Batch, Denoiser, excitation
from ezaudio.pipelines.options import GenerateOptions, SamplingOptions, check_prompt
from ezaudio.pipelines.progress import Callback, Counter
from ezaudio.pipelines.results import CEILING, Sound
from ezaudio.text.order import events_in_order
from ezaudio.types import Clip
from ezaudio.vae.chunked import decode_chunked

SHARED = (
    "steps",
    "sampler",
    "grid",
    "guidance_scale",
    "guidance_rescale",
    "guidance_interval",
    "eta",
)
"""Options that all rows of a batch have in common."""


@dataclass(frozen=True)
class Request:
    """A prompt and how it is to be generated.

    Attributes:
        prompt: what is heard.
        options: how; `num` takes.
        output: name of the file in the output folder, where the user gave one.
    """

    prompt: str
    options: GenerateOptions
    output: str | None = None


@dataclass(frozen=True)
class Take:
    """One sound to make.

    Attributes:
        index: place among all sounds of the call.
        number: k, from 0, among the takes of its prompt.
        prompt: what is heard.
        seed: of its noise.
        samples: length, S.
        options: how.
    """

    index: int
    number: int
    prompt: str
    seed: int
    samples: int
    options: GenerateOptions


def row_options(options: GenerateOptions, row: int) -> GenerateOptions:
    """Options of a row of a list, whose seed follows from the list's own; the first row keeps it.

    Args:
        options: of the whole list.
        row: from 0.
    """
    if options.seed is None:
        return options
    seed = derived_seed(options.seed, row, takes=options.num)
    return options.model_copy(update={"seed": seed})


def check_requests(requests: Sequence[Request], max_duration_s: float) -> None:
    """Refuse what cannot be generated, before anything is loaded.

    Raises:
        InputError: no prompt, a prompt that cannot be read, or a duration beyond the model's.
    """
    if not requests:
        raise InputError("prompts", [], "at least one prompt")
    for request in requests:
        check_prompt(request.prompt)
        if request.options.duration_s > max_duration_s:
            raise InputError(
                "duration_s",
                request.options.duration_s,
                f"at most {max_duration_s:g} s with this model",
            )


def takes_of(requests: Sequence[Request], sample_rate: int) -> list[Take]:
    """Spell out every take; a request without a seed gets a random one."""
    takes: list[Take] = []
    for request in requests:
        options = request.options
        first = random_seed(options.num) if options.seed is None else options.seed
        samples = round(options.duration_s * sample_rate)
        takes += [
            Take(len(takes) + k, k, request.prompt, first + k, samples, options)
            for k in range(options.num)
        ]
    return takes


def batches_of(takes: Sequence[Take], hop_samples: int, batch_size: int) -> list[list[Take]]:
    """Put takes of one length in frames and with the same settings together."""
    groups: dict[tuple[object, ...], list[Take]] = {}
    for take in takes:
        frames = -(-take.samples // hop_samples)
        groups.setdefault((frames, *shared(take.options)), []).append(take)
    return [
        group[start : start + batch_size]
        for group in groups.values()
        for start in range(0, len(group), batch_size)
    ]


def generate(
    parts: Components,
    requests: Sequence[Request],
    *,
    batch_size: int,
    callback: Callback | None = None,
) -> Iterator[tuple[int, Sound]]:
    """Make sounds, and give each as soon as its batch is ready.

    Yields:
        The sound's place among all takes (prompts first, takes of one prompt next to each other),
        and the sound.

    Raises:
        InputError: as `check_requests`.
        Cancelled: the callback asked for it.
    """
    check_requests(requests, parts.card.max_duration_s)
    parts.check_prompts([request.prompt for request in requests])
    vae = parts.vae
    batches = batches_of(takes_of(requests, vae.sample_rate), vae.hop_samples, batch_size)
    counter = Counter(
        sum(batch[0].options.steps for batch in batches),
        callback,
        lambda latent: decode_chunked(vae, latent),
    )
    denoise = Denoiser(parts)
    for takes in batches:
        batch = _batch(takes, vae.hop_samples)
        latent = denoise(batch, callback=counter)
        noise = excitation(vae, batch.seeds, batch.frames)
        waves = decode_chunked(vae, latent, noise)  # (B, 1, T * hop)
        for take, wave in zip(takes, waves, strict=True):
            yield take.index, _sound(parts, take, wave[0, : take.samples])


def shared(options: SamplingOptions) -> tuple[object, ...]:
    """The values of the options that a batch has in common."""
    return tuple(getattr(options, name) for name in SHARED)


def random_seed(takes: int) -> int:
    """A seed from the system's entropy, with room for the takes that follow."""
    return secrets.randbelow(MAX_SEED - takes + 2)


def facts_of(options: SamplingOptions, parts: Components) -> dict[str, Any]:
    """What a file's metadata says about settings and model."""
    settings: Mapping[str, Any] = options.model_dump(mode="json", include={*SHARED})
    if not SAMPLERS[options.sampler].stochastic:
        settings = {name: value for name, value in settings.items() if name != "eta"}
    return {**settings, **parts.facts, "software": f"ezaudio {__version__}"}


def _batch(takes: Sequence[Take], hop_samples: int) -> Batch:
    return Batch(
        prompts=[read_as(take) for take in takes],
        negative_prompts=[take.options.negative_prompt for take in takes],
        seeds=[take.seed for take in takes],
        frames=-(-takes[0].samples // hop_samples),
        options=takes[0].options,
    )


def read_as(take: Take) -> tuple[str, ...]:
    """The events that are read in turn; the prompt alone where it is read as a whole."""
    return events_in_order(take.prompt) if take.options.order == "split" else (take.prompt,)


def _reading(take: Take) -> dict[str, Any]:
    events = read_as(take)
    found: dict[str, Any] = {"order": take.options.order}
    return found | {"events": list(events)} if len(events) > 1 else found


def _sound(parts: Components, take: Take, wave: Tensor) -> Sound:
    rate, options = parts.vae.sample_rate, take.options
    samples = fade_ends(wave.float().cpu().numpy(), round(options.fade_s * rate))
    level = {}
    if options.loudness is not None:
        samples = bring_to_loudness(samples, rate, options.loudness)
        reached = loudness_lufs(samples, rate)
        level = {"loudness": options.loudness, "loudness_lufs": round(max(reached, -99.0), 2)}
    metadata = {
        "prompt": take.prompt,
        **_reading(take),
        "negative_prompt": take.options.negative_prompt,
        "seed": take.seed,
        "take": take.number,
        "duration_s": take.samples / rate,
        "fade_s": options.fade_s,
        **level,
        **facts_of(options, parts),
    }
    return Sound(Clip(peak_guard(samples, CEILING), rate), metadata)
