"""With the authors' choices, a training step is the one that plain PyTorch makes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from tests.training.small import CHANNELS, HOP, RATE, Bands, task_of
from torch import Tensor, nn

from ezaudio.data.clips import ClipRow
from ezaudio.data.waveforms import WaveformStore
from ezaudio.dit import DIT_PRESETS
from ezaudio.dit.initialisation import plain_xavier
from ezaudio.training.encode import EncodeConfig, LatentEncoder, encode_latents
from ezaudio.training.recipe import read_recipe

AUTHORS = (
    "stages.align.initialisation=xavier",
    "stages.align.loss.mean=rows",
    "stages.align.draws={stratified: false, mask: {full_share: 0.25}}",
    "stages.align.data.normalise=none",
    "stages.align.data.spread=0",
    "stages.align.data.batch.fill=silence",
    "stages.align.data.batch.prompts=captions",
    "stages.align.data.batch.duration_s=[1.0, 1.0]",
)
LENGTH = RATE
CAPTIONS = ("A Knock, then nothing", "rain on a roof.", "Wind", "dog BARKS twice")


@pytest.fixture(scope="module")
def recordings():
    """Four clips of 0.3 to 0.9 s, quiet, with silence around what sounds."""
    waves = []
    for i in range(4):
        wave = np.random.default_rng(i).uniform(-0.2, 0.2, 2400 + 1600 * i).astype(np.float32)
        wave[: 800 + 100 * i] = 0
        waves.append(wave)
    return waves


@pytest.fixture(scope="module")
def latents(recordings, tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("paper"), []
    for i, wave in enumerate(recordings):
        soundfile.write(folder / f"{i}.wav", wave, RATE, subtype="FLOAT")
        rows.append(ClipRow(file=f"{i}.wav", label=f"kind {i}", caption=CAPTIONS[i]))
    store = WaveformStore.pack(rows, folder, folder / "packed", RATE)
    theirs = EncodeConfig(trim=False, peak=1.0, pad_s=1.0)
    encode_latents(LatentEncoder(store, Bands(), theirs), folder / "latents")
    return folder / "latents"


@pytest.fixture
def task(latents, tmp_path):
    return task_of(latents, tmp_path, *AUTHORS)


# The network and its step, written out


def norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def heads_of(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, H, T, P)


def rotated(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    speed = 10_000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = torch.outer(torch.arange(x.shape[-2], dtype=torch.float32), speed)
    cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def mixed(q: Tensor, k: Tensor, v: Tensor, attend: Tensor | None = None) -> Tensor:
    likeness = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if attend is not None:
        likeness = likeness.masked_fill(~attend[:, None, None, :], -math.inf)
    return (likeness.softmax(-1) @ v).transpose(1, 2).flatten(2)


def plain_block(w, name, x, six, context, attend, heads):
    shift, scale, gate, shift_2, scale_2, gate_2 = six.unsqueeze(2).unbind(1)
    y = norm(w, f"{name}.attention_norm", x) * (1 + scale) + shift
    q, k, v = (heads_of(p, heads) for p in linear(w, f"{name}.attention.qkv", y).chunk(3, -1))
    q, k = (norm(w, f"{name}.attention.{n}_norm", p) for n, p in (("query", q), ("key", k)))
    x = x + (1 - gate) * linear(w, f"{name}.attention.output", mixed(rotated(q), rotated(k), v))
    text = f"{name}.text.attention"
    q = heads_of(linear(w, f"{text}.query", norm(w, f"{name}.text.norm", x)), heads)
    read = norm(w, f"{name}.text.context_norm", context)
    k, v = (heads_of(p, heads) for p in linear(w, f"{text}.key_value", read).chunk(2, -1))
    q, k = norm(w, f"{text}.query_norm", q), norm(w, f"{text}.key_norm", k)
    x = x + linear(w, f"{text}.output", mixed(q, k, v, attend))
    y = norm(w, f"{name}.feedforward_norm", x) * (1 + scale_2) + shift_2
    value, opened = linear(w, f"{name}.feedforward.input", y).chunk(2, -1)
    return x + (1 - gate_2) * linear(w, f"{name}.feedforward.output", value * F.gelu(opened))


def plain_velocity(w, x_t, steps, known, hidden, tokens, attend, *, heads, half):
    unknown = w["unknown"][:, None].expand_as(known)
    composed = torch.cat([x_t, torch.where(hidden, unknown, known), hidden.float()], 1)
    x = F.conv1d(composed, w["patches.weight"], w["patches.bias"]).transpose(1, 2)
    speeds = torch.exp(-math.log(10_000) * torch.arange(128) / 128)
    waves = torch.outer(steps.float(), speeds)
    waves = torch.cat([waves.cos(), waves.sin()], -1)
    step = F.silu(linear(w, "step.output", F.silu(linear(w, "step.input", waves))))
    shared = linear(w, "adaln.shared", step).unflatten(-1, (6, -1))
    context = linear(w, "text.2", F.silu(linear(w, "text.0", tokens)))
    waiting = []
    for index in range(2 * half + 1):
        own = step @ w["adaln.down"][index].T @ w["adaln.up"][index].T
        six = shared + own.unflatten(-1, (6, -1)) + w["adaln.table"][index]
        if index > half:
            skip = f"skips.{index - half - 1}"
            x = linear(
                w, f"{skip}.linear", norm(w, f"{skip}.norm", torch.cat([x, waiting.pop()], -1))
            )
        x = plain_block(w, f"blocks.{index}", x, six, context, attend, heads)
        if index < half:
            waiting.append(x)
    shift, scale = linear(w, "output.modulation", step).unflatten(-1, (2, -1)).unbind(1)
    x = linear(
        w, "output.linear", norm(w, "output.norm", x) * (1 + scale[:, None]) + shift[:, None]
    )
    return F.conv1d(x.transpose(1, 2), w["output.conv.weight"], w["output.conv.bias"], padding=1)


def zero_snr_alphas() -> Tensor:
    """Square roots of alpha-bar: scaled-linear betas, shifted so that the last one is 0."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    root = (1 - betas).cumprod(0).sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])).float()


def plain_loss(w, x0, noise, steps, hidden, tokens, attend):
    alpha = zero_snr_alphas()[steps][:, None, None]
    sigma = (1 - alpha**2).sqrt()
    velocity = plain_velocity(
        w, alpha * x0 + sigma * noise, steps, x0, hidden, tokens, attend, heads=2, half=1
    )
    error = (velocity - (alpha * noise - sigma * x0)) ** 2
    mask = hidden.float().expand_as(error)
    return ((error * mask).sum((1, 2)) / mask.sum((1, 2))).mean()


# What is compared


def test_the_authors_step_is_a_step_of_plain_pytorch(task, recordings, monkeypatch):
    rows = task.train.rows(0)
    ids = task.train.batches.batch(0).ids
    for x0, name in zip(rows.x0, ids, strict=True):  # level 1, silence kept, zeros behind
        wave = recordings[int(name)]
        padded = np.pad(wave / np.abs(wave).max(), (0, LENGTH - len(wave)))
        expected = Bands()._encode(torch.from_numpy(padded)[None, None])[0][0]
        torch.testing.assert_close(x0, expected, atol=1e-3, rtol=1e-3)  # kept as float16
    assert not rows.regenerate.all(dim=2).all(), "a row that is hidden in part is wanted"

    prompts = task.train.batches.batch(0).prompts
    assert set(prompts) <= set(CAPTIONS)  # as they are
    tokens, attend = rows.tokens, rows.attend
    kept = attend.sum(1).tolist()
    dropped = [
        len(prompt.split()) + 1 != count for prompt, count in zip(prompts, kept, strict=True)
    ]
    assert all(count == 1 for count, gone in zip(kept, dropped, strict=True) if gone)

    weights = {n: x.detach().clone().requires_grad_() for n, x in task.network.named_parameters()}
    loss = plain_loss(weights, rows.x0, rows.noise, rows.steps, rows.regenerate, tokens, attend)
    loss.backward()

    found = {}

    def clip(_module, _norm):
        found.update({n: x.grad.clone() for n, x in task.network.named_parameters()})
        return float(nn.utils.clip_grad_norm_(task.network.parameters(), 1.0))

    monkeypatch.setattr(task.engine, "clip", clip)
    measured = task.step(0, 1.0)
    assert float(measured["loss"]) == pytest.approx(float(loss.detach()), abs=1e-6)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, weights[name].grad, atol=1e-6, rtol=1e-5, msg=name)

    plain = [n for n in weights if n.endswith(("bias", "table", "unknown")) or "norm" in n]
    groups = [
        {"params": [x for n, x in weights.items() if n not in plain], "weight_decay": 0.01},
        {"params": [weights[n] for n in plain], "weight_decay": 0.0},
    ]
    nn.utils.clip_grad_norm_(weights.values(), 1.0)
    torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99)).step()
    for name, value in task.network.named_parameters():
        torch.testing.assert_close(value.detach(), weights[name].detach(), atol=1e-6, rtol=1e-5)


def test_the_authors_initialisation_is_xaviers_everywhere_but_where_they_have_zeros():
    network = DIT_PRESETS["tiny"].build()
    torch.manual_seed(7)
    plain_xavier(network)
    zero = ("adaln.shared", "output.modulation", "text.attention.output")
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv1d):
            continue
        if module.bias is not None:
            assert not module.bias.any(), name
        if name.endswith(zero):
            assert not module.weight.any(), name
            continue
        stacked = {"qkv": 3, "key_value": 2}.get(name.rpartition(".")[2], 1)
        out, inner = len(module.weight) // stacked, module.weight[0].numel()
        out *= module.weight.shape[2] if name == "output.conv" else 1  # fans count the kernel
        bound = math.sqrt(6 / (out + inner))
        assert 0.9 * bound < float(module.weight.detach().abs().max()) <= bound, name


def test_the_first_velocity_has_about_the_deviation_of_its_target():
    """1.04 for L in the authors' code; here a narrower network of its depth."""
    config = DIT_PRESETS["l"].model_copy(update={"width": 256, "heads": 4, "text_width": None})
    torch.manual_seed(0)
    network = config.build()
    noise = torch.randn(1, 128, 60)
    with torch.no_grad():
        assert not network(noise, 999, network.prepare()).any()
        plain_xavier(network)
        velocity = network(noise, 999, network.prepare())
    assert 0.8 < float(velocity.std()) < 1.25


def test_the_papers_recipes_choose_what_the_authors_do():
    for name in ("paper-l", "paper-xl", "figure-2-single-plain", "table-1-wavcaps", "table-2-045"):
        for stage in read_recipe(name).stages.values():
            assert (stage.initialisation, stage.loss.mean) == ("xavier", "rows")
            assert (stage.data.normalise, stage.data.spread) == ("none", 1.0)
            assert (stage.data.batch.fill, stage.data.batch.prompts) == ("silence", "captions")
            assert stage.data.encoded == {"trim": False, "peak": 1.0, "pad_s": 10.0}
            assert stage.optim.warmup_steps == 5000 and not stage.draws.stratified


def test_rows_of_short_clips_end_in_silence_that_counts(task):
    batch = task.train.batches.batch(0)
    assert bool((batch.weight == 1).all())
    silence = Bands()._encode(torch.zeros(1, 1, HOP))[0][0, :, 0]
    assert silence.shape == (CHANNELS,)
    for x0, name in zip(batch.x0, batch.ids, strict=True):
        frames = math.ceil((2400 + 1600 * int(name)) / HOP)
        assert torch.equal(x0[:, frames:], silence[:, None].expand_as(x0[:, frames:]))
