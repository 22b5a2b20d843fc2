"""Spectral autoencoder: a mel-cepstral analysis in, ConvNeXt blocks, shaped noise and tone out.

The encoder is a fixed analysis: the short-time power spectrum (hop 240, 100 frames/s at 24 kHz) is
gathered in mel bands and put on a logarithmic scale. A latent frame (50/s) joins two of them: the
cosine transform over the bands of what they have in common, and the first coefficients of how the
second differs from the first, which say where within 20 ms a sound begins. Neighbouring bands rise
and fall together; coefficients hardly do, so that after each is brought to unit variance white
noise is already close to the covariance of latents, and a diffusion model need not learn to take
noise out of directions in which sounds do not vary.

The decoder is handed the bands and white noise, and begins as a filter: the noise, shaped in each
bin to the magnitude A that the bands describe. From there it learns, per bin, a correction d of the
log magnitude, a share m of tone and a unit phasor p of that tone,

    X = A exp(d) (m p + sqrt(1 - m^2) Z),

with Z the transform of unit white noise. Rain stays noise; a bell becomes tone. Noise has
fluctuations of its own, and so have the bands, which were measured on a recording: both together
would be too many. So each band of X is then scaled to what the latent says of it, twice, since
frames overlap; inside the bands noise stays as rough as it was. The latent forgets
phase, so no loss on magnitudes can tell the decoder where sound is rough: it is trained against
discriminators from the first hundred steps on (`ezaudio.vae.discriminators`). A fixed encoder means
that latents exist before any training, and that decoder and diffusion model can be trained side by
side, and each anew without the other.

Deviation: the paper's autoencoder is convolutional and learned at both ends
(`ezaudio.vae.oobleck`). This family serves the bundled starter model, which was trained on a CPU.
Sources: ConvNeXt (arXiv 2201.03545), Vocos (arXiv 2306.00814); noise beside tone as in
harmonic-plus-noise synthesis (Serra & Smith 1990; DDSP, arXiv 2001.04643).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from ezaudio.audio_features import mel_filterbank
from ezaudio.config import Config
from ezaudio.vae.model import Autoencoder

MAGNITUDE_FLOOR = 0.1
"""Band magnitudes are raised by this (-68 dB re full-scale sine), where quiet becomes silence."""

GATE = 1.25
"""Bands below this multiple of the floor are decoded as silence, so that errors of a latent do not
become hiss."""

LOG_MAGNITUDE_CEILING = 7.0
"""Largest log magnitude that the decoder may ask for; a full-scale sine has log(480 / 2) = 5.5."""

_GATED = (GATE * MAGNITUDE_FLOOR) ** 2
_FAINT = 1e-6
_NOISE_CHANNELS = 16
_FIRST_TONE = -1.5  # sigmoid: a share of 0.18


class SpectralConfig(Config):
    """Size of a spectral autoencoder.

    Attributes:
        sample_rate: Hz.
        cepstra: Cepstral coefficients of a latent frame, the lowest.
        differences: Coefficients of how its second half differs from its first, the lowest.
        mel_bands: Bands of the analysis, at least as many as coefficients.
        n_fft: Analysis and synthesis window in samples, four times the hop.
        posterior_std: Standard deviation of the posterior in raw units (natural log of magnitude).
        width, depth: Trunk of the decoder.
        corrections: How often the bands of the output are scaled to those of the latent.
    """

    kind: Literal["spectral"] = "spectral"
    sample_rate: int = 24_000
    cepstra: int = Field(56, ge=1)
    differences: int = Field(24, ge=1)
    mel_bands: int = 80
    n_fft: int = 960
    posterior_std: float = 0.1
    width: int = 320
    depth: int = 6
    corrections: int = Field(2, ge=0)

    @property
    def latent_channels(self) -> int:
        """C."""
        return self.cepstra + self.differences

    @property
    def hop(self) -> int:
        """Samples between two STFT frames."""
        return self.n_fft // 4

    @property
    def hop_samples(self) -> int:
        """Samples per latent frame."""
        return 2 * self.hop

    def build(self) -> SpectralAutoencoder:
        """Build the network with random weights; as it is, it filters noise."""
        return SpectralAutoencoder(self)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a pointwise two-layer network, as one residual.

    Shapes: (B, T, D) -> (B, T, D).
    """

    KERNEL = 7

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(
            width, width, self.KERNEL, padding=self.KERNEL // 2, groups=width
        )
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.project = nn.Linear(4 * width, width)
        self.gain = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block computes, (B, T, D)."""
        y: Tensor = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        y = self.project(F.gelu(self.expand(self.norm(y))))
        added: Tensor = x + self.gain * y
        return added


class Trunk(nn.Sequential):
    """A stack of ConvNeXt blocks and a final norm: (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(
            *(ConvNeXtBlock(width, 1.0 / depth) for _ in range(depth)), nn.LayerNorm(width)
        )


class SpectralAutoencoder(Autoencoder):
    """Log-mel analysis, learned synthesis from noise.

    Shapes: waveform (B, 1, S), latent (B, C, T) with S = T * hop_samples.
    """

    excited = True
    window: Tensor
    mel: Tensor
    cosines: Tensor
    between: Tensor

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__(
            sample_rate=config.sample_rate,
            hop_samples=config.hop_samples,
            latent_channels=config.latent_channels,
        )
        self.config = config
        bins = config.n_fft // 2 + 1
        with torch.device("cpu"):  # constants exist even where parameters are only declared (meta)
            mel = _band_averages(config)
            self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
            self.register_buffer("mel", mel, persistent=False)
            self.register_buffer("cosines", _cosines(config), persistent=False)
            self.register_buffer("between", _between_centres(mel), persistent=False)
        self.embed = nn.Linear(config.mel_bands + _NOISE_CHANNELS, config.width)
        self.decoder = Trunk(config.width, config.depth)
        self.to_correction = nn.Linear(config.width, bins)
        self.to_tone = nn.Linear(config.width, bins)
        self.to_phasor = nn.Linear(config.width, 2 * bins)
        for layer in (self.to_correction, self.to_tone):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.to_correction.bias)
        nn.init.constant_(self.to_tone.bias, _FIRST_TONE)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on each side that can reach a frame of the output."""
        windows = 4 * (1 + self.config.corrections)  # half a window, out of frames and into them
        trunk = self.config.depth * (ConvNeXtBlock.KERNEL // 2)
        return -(-(trunk + windows) // 2) + 1

    def spectrum(self, wave: Tensor) -> Tensor:
        """Complex STFT, (B, 1, S) -> (B, T', F).

        Frame i is centred on the samples from i * hop to (i + 1) * hop.
        """
        pad = (self.config.n_fft - self.config.hop) // 2
        padded = F.pad(wave[:, 0].float(), (pad, pad))
        frames = padded.unfold(-1, self.config.n_fft, self.config.hop)
        spectrum: Tensor = torch.fft.rfft(frames * self.window)
        return spectrum

    def waveform(self, spectrum: Tensor) -> Tensor:
        """Overlap-add inverse of `spectrum`: complex (B, T', F) -> (B, 1, S)."""
        n_fft, hop = self.config.n_fft, self.config.hop
        frames = torch.fft.irfft(spectrum, n=n_fft) * self.window  # (B, T', n_fft)
        length = (frames.shape[1] - 1) * hop + n_fft
        envelope = (self.window**2).expand(1, frames.shape[1], n_fft)
        both = torch.cat([frames, envelope]).transpose(1, 2)
        summed = F.fold(both, (1, length), (1, n_fft), stride=(1, hop))[:, 0, 0]
        pad = (n_fft - hop) // 2
        summed = summed[:, pad : length - pad]
        return (summed[:-1] / summed[-1:].clamp_min(1e-4)).unsqueeze(1)

    def log_bands(self, raw: Tensor) -> Tensor:
        """Natural log magnitudes that a raw latent describes: (B, C, T) -> (B, 2 T, mel bands)."""
        common, difference = raw.transpose(1, 2).split(
            [self.config.cepstra, self.config.differences], -1
        )
        mean = common @ self.cosines[: self.config.cepstra]  # log of the pair's mean power, halved
        half = difference @ self.cosines[: self.config.differences]
        first = mean + 0.5 * (math.log(2) - F.softplus(4 * half))  # the pair keeps its power
        return torch.stack([first, first + 2 * half], 2).flatten(1, 2)

    def filter_magnitude(self, bands: Tensor) -> Tensor:
        """Magnitude in each bin of log bands, 0 where they are at the floor.

        Shapes: (B, T', mel bands) -> (B, T', F).
        """
        power = torch.exp(2 * bands.clamp(max=LOG_MAGNITUDE_CEILING) @ self.between)
        magnitude: Tensor = (power - _GATED).clamp_min(1e-10).sqrt()
        return magnitude

    def _encode(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = self.spectrum(wave)
        power = spectrum.real.square() + spectrum.imag.square()
        pairs = (power @ self.mel.T).unflatten(1, (-1, 2))  # (B, T, 2, mel bands)
        mean = 0.5 * (pairs.mean(2) + MAGNITUDE_FLOOR**2).log()
        logs = 0.5 * (pairs + MAGNITUDE_FLOOR**2).log()
        half = 0.5 * (logs[:, :, 1] - logs[:, :, 0])
        parts = [
            mean @ self.cosines[: self.config.cepstra].T,
            half @ self.cosines[: self.config.differences].T,
        ]
        latent = torch.cat(parts, -1).transpose(1, 2).to(wave.dtype)  # (B, C, T)
        return latent, torch.full_like(latent, self.config.posterior_std)

    def _decode(self, latent: Tensor, noise: Tensor) -> Tensor:
        bands = self.log_bands(latent)
        random = rearrange(noise[:, 0], "b (t h) -> b t h", h=self.config.hop)[
            ..., :_NOISE_CHANNELS
        ]
        hidden = self.decoder(self.embed(torch.cat([bands / 3, random.to(bands)], -1)))
        correction = self.to_correction(hidden).float()
        tone = self.to_tone(hidden).float().sigmoid()
        real, imaginary = self.to_phasor(hidden).float().chunk(2, -1)
        norm = (real.square() + imaginary.square() + 1e-6).rsqrt()  # a unit phasor, smooth at zero
        phasor = torch.complex(real * norm, imaginary * norm)
        white = self.spectrum(noise) / self.window.square().sum().sqrt()  # unit power in each bin
        magnitude = self.filter_magnitude(bands.float()) * correction.clamp(-5, 5).exp()
        mixed = magnitude * (tone * phasor + (1 - tone.square()).clamp_min(1e-6).sqrt() * white)
        for _ in range(self.config.corrections):
            mixed = self._corrected(mixed, bands.float())
        return self.waveform(mixed)

    def _corrected(self, spectrum: Tensor, bands: Tensor) -> Tensor:
        """Scale the bands of what a spectrum (B, T', F) sounds like to (B, T', mel bands)."""
        heard = self.spectrum(self.waveform(spectrum))
        with torch.no_grad():  # a gain is a measurement: the decoder is not to learn its way round
            power = (heard.real.square() + heard.imag.square()) @ self.mel.T
            wanted = torch.exp(2 * bands.clamp(max=LOG_MAGNITUDE_CEILING)) - _GATED
            ratio = (wanted.clamp_min(_FAINT) / (power + _FAINT)).clamp(1e-2, 1e2)
            gain = (0.5 * ratio.log() @ self.between).exp()
        return heard * gain


def _between_centres(mel: Tensor) -> Tensor:
    """Linear interpolation from the bands' centres to all bins, (mel bands, F)."""
    bins = torch.arange(mel.shape[1], dtype=torch.float64)
    centres = mel.double() @ bins
    place = torch.searchsorted(centres, bins).clamp(1, len(centres) - 1)
    left, right = centres[place - 1], centres[place]
    share = ((bins - left) / (right - left).clamp_min(1e-6)).clamp(0, 1)
    matrix = torch.zeros(len(centres), len(bins), dtype=torch.float64)
    matrix[place - 1, torch.arange(len(bins))] = 1 - share
    matrix[place, torch.arange(len(bins))] += share
    return matrix.float()


def _band_averages(config: SpectralConfig) -> Tensor:
    """Mel bands as weighted means of bins, (mel bands, F)."""
    bank = mel_filterbank(
        config.sample_rate, config.n_fft, config.mel_bands, 0.0, config.sample_rate / 2
    )
    return torch.from_numpy(bank / bank.sum(1, keepdims=True)).float()


def _cosines(config: SpectralConfig) -> Tensor:
    """First rows of the orthonormal cosine transform (DCT-II), (cepstra, mel bands)."""
    count = max(config.cepstra, config.differences)
    order = torch.arange(count, dtype=torch.float64)[:, None]
    band = torch.arange(config.mel_bands, dtype=torch.float64)[None]
    rows = torch.cos(math.pi / config.mel_bands * (band + 0.5) * order)
    rows *= math.sqrt(2 / config.mel_bands)
    rows[0] /= math.sqrt(2)
    return rows.float()
