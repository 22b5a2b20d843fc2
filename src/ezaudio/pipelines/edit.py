"""Editing: spans of a sound are made anew, with the sound around them as context.

A window around the spans is encoded, the frames that a span touches are denoised while the others
stay known, and the window is decoded. Of the result only the span enters the sound: every sample
outside is the input's own, at its own rate and in all its channels. Cross-fades lie inside the
span, and the loudness guard sees the new part alone. Of a long sound only the windows are
processed.

The model hears one channel at its own rate. A window is brought to the peak level that clips have
in training, and what is made of it is brought back: a quiet recording gets a quiet new part. The
new part is brought to the recording's rate and put into every channel at the level that this
channel has around the span.

Deviation: the kept frames are the posterior's mean; the authors draw them from the posterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from ezaudio.audio import read_audio, resample, sample_type
from ezaudio.audio_levels import CANCELLED_SHARE, fade_ends, to_mono
from ezaudio.data.levels import FAINT, PEAK
from ezaudio.diffusion import derived_seed
from ezaudio.errors import AudioFileError, InputError
from ezaudio.pipelines.components import Components
from ezaudio.pipelines.denoise import Batch, Denoiser, Kept, excitation
from ezaudio.pipelines.generate import facts_of, random_seed
from ezaudio.pipelines.options import EditOptions
from ezaudio.pipelines.progress import Callback, Counter
from ezaudio.pipelines.results import CEILING, Sound, Sounds, exact_subtype
from ezaudio.pipelines.spans import (
    MIN_SPAN_S,
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

Samples: TypeAlias = npt.NDArray[np.float32]
Takes: TypeAlias = npt.NDArray[np.float32]

SoundLike: TypeAlias = "Clip | Sound | Sounds | str | Path"
"""A file, a clip, or a result of this package (of `Sounds` a single one)."""


@dataclass(frozen=True)
class EditRequest:
    """An edit that is wanted.

    Attributes:
        sound: what is edited.
        prompt: what is heard in the spans.
        spans: (start, end) in seconds.
        options: how, and how many takes.
    """

    sound: SoundLike
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
        kept: samples of the sound before its extension, at the model's rate.
        windows: what is processed, in order.
    """

    parts: Components
    prompt: str
    options: EditOptions
    kept: int
    windows: Sequence[Window]


@dataclass(frozen=True)
class Recording:
    """A sound as it came.

    Attributes:
        samples: float32 `(channels, S)`.
        sample_rate: in Hz.
        subtype: sample type of a file that holds it bit for bit.
    """

    samples: Samples
    sample_rate: int
    subtype: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return float(self.samples.shape[1] / self.sample_rate)

    def heard_at(self, sample_rate: int) -> Samples:
        """One channel at another rate, `(S,)`."""
        return resample(to_mono(self.samples), self.sample_rate, sample_rate)


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
    prompt, options = request.prompt, request.options
    parts.check_prompts([prompt])
    vae, rate = parts.vae, parts.vae.sample_rate
    recording = load_recording(request.sound)
    heard = recording.heard_at(rate)
    wanted = check_spans(request.spans, recording.duration_s, parts.card.max_duration_s)
    places = spans_in_samples(wanted, len(heard), rate)
    length = max(len(heard), places[-1].end)
    limits = WindowLimits(
        vae.hop_samples,
        round(options.context_s * rate / vae.hop_samples),
        int(parts.card.max_duration_s * rate) // vae.hop_samples,
    )
    job = Job(parts, prompt, options, len(heard), plan_windows(places, length, limits))
    first = random_seed(options.num) if options.seed is None else options.seed
    groups = [range(k, min(k + batch_size, options.num)) for k in range(0, options.num, batch_size)]
    counter = Counter(
        options.steps * len(job.windows) * len(groups),
        callback,
        lambda latent: decode_chunked(vae, latent),
    )
    own = spans_in_samples(wanted, recording.samples.shape[1], recording.sample_rate)
    facts = {**_facts(job, own, recording), **_source(request.sound)}
    original = np.pad(heard, (0, length - len(heard)))
    denoise, made = Denoiser(parts), []
    for group in groups:
        takes = _edited(job, original, [first + k for k in group], denoise, counter)
        for k, samples in zip(group, takes, strict=True):
            whole = _placed(recording, samples, own, job)
            clip = Clip(whole[0] if len(whole) == 1 else whole, recording.sample_rate)
            made.append(Sound(clip, {**facts, "seed": first + k, "take": k}, recording.subtype))
    return made


def load_recording(sound: SoundLike) -> Recording:
    """Read a sound with all its channels at its own rate.

    Raises:
        AudioFileError: the file cannot be read, or the clip is empty or holds NaN.
        InputError: it is no sound, or several.
    """
    if isinstance(sound, str | Path):
        clip = read_audio(sound, mono=False)
        known = sample_type(sound)
    else:
        clip, known = _as_clip(sound), None
    samples = np.atleast_2d(np.asarray(clip.samples, dtype=np.float32))
    if samples.ndim != 2 or samples.size == 0 or not np.isfinite(samples).all():
        raise AudioFileError("the clip is empty, or holds NaN or infinite samples")
    return Recording(samples, clip.sample_rate, known or exact_subtype(samples))


def load_clip(sound: SoundLike, sample_rate: int) -> Clip:
    """Bring a sound to one channel and the given rate; errors as `load_recording`."""
    return Clip(load_recording(sound).heard_at(sample_rate), sample_rate)


def _as_clip(sound: object) -> Clip:
    if isinstance(sound, Sounds):
        if len(sound) != 1:
            raise InputError("sound", sound, "one sound; choose it by its index")
        sound = sound[0]
    clip = sound.clip if isinstance(sound, Sound) else sound
    if not isinstance(clip, Clip):
        raise InputError("sound", sound, "the path of a file, a Clip, or a result of `generate`")
    return clip


def _edited(
    job: Job, original: npt.NDArray[np.float32], seeds: Sequence[int], denoise: Denoiser,
    counter: Counter,
) -> Takes:  # fmt: skip
    """Takes `(B, S)` of the whole sound; a window hears what the windows before it made."""
    takes = np.tile(original, (len(seeds), 1))
    fade = round(job.options.crossfade_s * job.parts.vae.sample_rate)
    for index, window in enumerate(job.windows):
        own = [derived_seed(seed, index) for seed in seeds]
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
    piece = takes[:, at:end]
    gains = _training_gain(piece)
    wave = torch.from_numpy(piece * gains)[:, None]
    around = encode_chunked(vae, wave).mode.to(job.parts.device)  # (B, C, lead + T + tail)
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
    decoded: Takes = decode_chunked(vae, whole, noise)[:, 0].float().cpu().numpy()
    return at, np.divide(decoded, gains, dtype=np.float32)


def _training_gain(piece: Takes) -> Takes:
    """What brings each row of `(B, S)` to the peak of training clips, `(B, 1)`; 1 for silence.

    What is replaced counts too: a bell in silence is followed by what is as loud as the bell.
    """
    peaks = np.abs(piece).max(axis=1, keepdims=True, initial=0.0)
    gains: Takes = np.where(peaks < FAINT, 1.0, PEAK / np.maximum(peaks, FAINT)).astype(np.float32)
    return gains


def _placed(recording: Recording, take: Samples, spans: Sequence[Span], job: Job) -> Samples:
    """Put the spans of a take `(S,)` into the recording, at its rate and in its channels.

    Returns:
        `(channels, S)`; all outside the spans is the recording's own.
    """
    samples, rate = recording.samples, recording.sample_rate
    kept = samples.shape[1]
    length = max(kept, spans[-1].end)
    whole = np.pad(samples, [(0, 0), (0, length - kept)])
    made = resample(take, job.parts.vae.sample_rate, rate)
    made = np.pad(made, (0, max(0, length - len(made))))[:length]
    has_seams = len(samples) == 1 and rate == job.parts.vae.sample_rate  # is the take itself
    fade, edge = round(job.options.crossfade_s * rate), round(job.options.fade_s * rate)
    mono, context = to_mono(samples), round(max(job.options.context_s, MIN_SPAN_S) * rate)
    for span in spans:
        around = slice(max(0, span.start - context), span.end + context)
        gains = _channel_gains(samples[:, around], mono[around])
        for channel, gain in zip(whole, gains, strict=True):
            new = made[span.start : span.end]
            if not has_seams:
                new = join(channel, made * gain, span, kept=kept, fade=fade, ceiling=CEILING)
            at_start, at_end = span.start == 0, span.end == length
            channel[span.start : span.end] = fade_ends(new, edge, start=at_start, end=at_end)
    return whole


def _channel_gains(channels: Samples, heard: Samples) -> Samples:
    """Level of each channel over that of what the model heard; 1 where nothing is heard.

    Args:
        channels: of the recording around a span, `(channels, S)`.
        heard: the one channel that was made of them, `(S,)`.

    Returns:
        `(channels,)`, at most what channels have that do not count as cancelled.
    """
    level = float(np.mean(np.square(heard, dtype=np.float64))) if heard.size else 0.0
    if len(channels) == 1 or level == 0.0:
        return np.ones(len(channels), np.float32)
    ratios = np.mean(np.square(channels, dtype=np.float64), axis=1) / level
    gains: Samples = np.sqrt(np.minimum(ratios, 1 / CANCELLED_SHARE)).astype(np.float32)
    return gains


def _facts(job: Job, places: Sequence[Span], recording: Recording) -> dict[str, Any]:
    rate = recording.sample_rate
    return {
        "prompt": job.prompt,
        "negative_prompt": job.options.negative_prompt,
        "spans_s": [[span.start / rate, span.end / rate] for span in places],
        "duration_s": max(recording.samples.shape[1], places[-1].end) / rate,
        "context_s": job.options.context_s,
        "crossfade_s": job.options.crossfade_s,
        "fade_s": job.options.fade_s,
        **facts_of(job.options, job.parts),
    }


def _source(sound: SoundLike) -> dict[str, str]:
    return {"edited_from": Path(sound).name} if isinstance(sound, str | Path) else {}
