"""Editing: spans of a sound are made anew, with the sound around them as context.

A window around the spans is encoded, the frames that a span touches are denoised while the others
stay known, and the window is decoded. Of the result only the span enters the sound: every sample
outside is the input's own, at the model's rate. Cross-fades lie inside the span, and the loudness
guard sees the new part alone. Of a long sound only the windows are processed.

Deviation: the kept frames are the posterior's mean; the authors draw them from the posterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ezaudio.audio import read_audio, resample
from ezaudio.errors import AudioFileError
from ezaudio.pipelines.components import Components
from ezaudio.pipelines.denoise import Batch, Denoiser, Kept, excitation
from ezaudio.pipelines.generate import facts_of, random_seed
from ezaudio.pipelines.options import EditOptions
from ezaudio.pipelines.progress import Callback, Counter
from ezaudio.pipelines.results import CEILING, Sound, exact_subtype
from ezaudio.pipelines.spans import (
    Span,
    Window,
    WindowLimits,
    check_spans,
    frames_to_regenerate,
    join,
    plan_windows,
    spans_in_samples,
)
from ezaudio.types import Clip
from ezaudio.vae.chunked import decode_chunked, encode_chunked

Takes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EditRequest:
    """An edit that is wanted.

    Attributes:
        sound: a file, or a clip; it is brought to the model's rate and one channel.
        prompt: what is heard in the spans.
        spans: (start, end) in seconds.
        options: how, and how many takes.
    """

    sound: Clip | str | Path
    prompt: str
    spans: Sequence[tuple[float, float]]
    options: EditOptions


@dataclass(frozen=True)
class Job:
    """An edit, spelled out.

    Attributes:
        parts: the model.
        prompt: what is heard in the spans.
        options: how.
        kept: samples of the sound before its extension.
        windows: what is processed, in order.
    """

    parts: Components
    prompt: str
    options: EditOptions
    kept: int
    windows: Sequence[Window]


def edit(
    parts: Components,
    request: EditRequest,
    *,
    batch_size: int,
    callback: Callback | None = None,
) -> list[Sound]:
    """Make spans of a sound anew.

    Args:
        parts: the model.
        request: what is wanted.
        batch_size: most takes that are made at once.
        callback: told about every step.

    Returns:
        The takes, each as long as the sound and its extension.

    Raises:
        AudioFileError: the file cannot be read.
        InputError: a span is not allowed.
        Cancelled: the callback asked for it.
    """
    sound, prompt, options = request.sound, request.prompt, request.options
    vae, rate = parts.vae, parts.vae.sample_rate
    clip = load_clip(sound, rate)
    wanted = check_spans(request.spans, clip.duration_s, parts.card.max_duration_s)
    places = spans_in_samples(wanted, len(clip.samples), rate)
    length = max(len(clip.samples), places[-1].end)
    limits = WindowLimits(
        vae.hop_samples,
        round(options.context_s * rate / vae.hop_samples),
        int(parts.card.max_duration_s * rate) // vae.hop_samples,
    )
    job = Job(parts, prompt, options, len(clip.samples), plan_windows(places, length, limits))
    first = random_seed(options.num) if options.seed is None else options.seed
    groups = [range(k, min(k + batch_size, options.num)) for k in range(0, options.num, batch_size)]
    counter = Counter(
        options.steps * len(job.windows) * len(groups),
        callback,
        lambda latent: decode_chunked(vae, latent),
    )
    facts = {**_facts(job, places, clip), **_source(sound)}
    original = np.pad(clip.samples, (0, length - len(clip.samples)))
    subtype = exact_subtype(clip.samples)
    denoise, made = Denoiser(parts), []
    for group in groups:
        takes = _edited(job, original, [first + k for k in group], denoise, counter)
        for k, samples in zip(group, takes, strict=True):
            made.append(
                Sound(Clip(samples, rate), {**facts, "seed": first + k, "take": k}, subtype)
            )
    return made


def load_clip(sound: Clip | str | Path, sample_rate: int) -> Clip:
    """Bring a sound to one channel and the given rate.

    Raises:
        AudioFileError: the file cannot be read, or the clip is empty or holds NaN.
    """
    if not isinstance(sound, Clip):
        return read_audio(sound, sample_rate)
    samples = np.asarray(sound.samples, dtype=np.float32)
    if samples.ndim == 2:
        samples = samples.mean(axis=0, dtype=np.float32)
    if samples.ndim != 1 or samples.size == 0 or not np.isfinite(samples).all():
        raise AudioFileError("the clip is empty, or holds NaN or infinite samples")
    return Clip(resample(samples, sound.sample_rate, sample_rate), sample_rate)


def window_seed(seed: int, window: int) -> int:
    """Seed of a window: the take's own for the first, unrelated ones for those that follow."""
    return seed if window == 0 else int(np.random.SeedSequence([seed, window]).generate_state(1)[0])


def _edited(
    job: Job, original: npt.NDArray[np.float32], seeds: Sequence[int], denoise: Denoiser,
    counter: Counter,
) -> Takes:  # fmt: skip
    """Takes `(B, S)` of the whole sound; a window hears what the windows before it made."""
    takes = np.tile(original, (len(seeds), 1))
    fade = round(job.options.crossfade_s * job.parts.vae.sample_rate)
    for index, window in enumerate(job.windows):
        own = [window_seed(seed, index) for seed in seeds]
        at, made = _made(job, window, takes, own, denoise, counter)
        for take, wave in zip(takes, made, strict=True):
            for span in window.spans:
                local = Span(span.start - at, span.end - at)
                take[span.start : span.end] = join(
                    take[at:], wave, local, kept=job.kept - at, fade=fade, ceiling=CEILING
                )
    return takes


def _made(
    job: Job, window: Window, takes: Takes, seeds: Sequence[int], denoise: Denoiser,
    counter: Counter,
) -> tuple[int, Takes]:  # fmt: skip
    """What the model makes of a window: the sample where it begins, and `(B, S)`."""
    vae, batch, frames = job.parts.vae, len(seeds), window.stop - window.first
    # Real context on both sides of the window, so that coding knows no edge there.
    lead = min(vae.receptive_frames, window.first)
    at = (window.first - lead) * vae.hop_samples
    end = (window.stop + vae.receptive_frames) * vae.hop_samples
    piece = torch.from_numpy(takes[:, at:end].copy())[:, None]
    around = encode_chunked(vae, piece).mode.to(job.parts.device)  # (B, C, lead + T + tail)
    regenerate = torch.from_numpy(frames_to_regenerate(window, vae.hop_samples))
    kept = Kept(
        around[..., lead : lead + frames], regenerate.to(job.parts.device).expand(batch, 1, -1)
    )
    negative = [job.options.negative_prompt] * batch
    latent = denoise(
        Batch([job.prompt] * batch, negative, seeds, frames, job.options),
        kept=kept,
        callback=counter,
    )
    whole = torch.cat([around[..., :lead], latent, around[..., lead + frames :]], dim=-1)
    noise = excitation(vae, seeds, whole.shape[-1])
    return at, decode_chunked(vae, whole, noise)[:, 0].float().cpu().numpy()


def _facts(job: Job, places: Sequence[Span], clip: Clip) -> dict[str, Any]:
    rate = clip.sample_rate
    return {
        "prompt": job.prompt,
        "negative_prompt": job.options.negative_prompt,
        "spans_s": [[span.start / rate, span.end / rate] for span in places],
        "duration_s": max(job.kept, places[-1].end) / rate,
        "context_s": job.options.context_s,
        "crossfade_s": job.options.crossfade_s,
        **facts_of(job.options, job.parts),
    }


def _source(sound: Clip | str | Path) -> dict[str, str]:
    return {} if isinstance(sound, Clip) else {"edited_from": Path(sound).name}
