"""The authors' files, end to end: converted, loaded, and heard."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tests.tiny_model import FakeTextConfig

from ezaudio.checkpoints import read_module_info
from ezaudio.diffusion import SAMPLERS, TIME_GRIDS, SeededNoise, guide, zero_snr_schedule
from ezaudio.dit import DIT_PRESETS
from ezaudio.dit.official import official_dit_config, official_dit_state
from ezaudio.errors import CheckpointError, InputError, OutputError
from ezaudio.pipelines import EzAudio
from ezaudio.pipelines.catalogue import read_card
from ezaudio.pipelines.convert import Settings, convert, read_settings
from ezaudio.text import TEXT_ENCODERS
from ezaudio.vae.official import official_vae_config, official_vae_state

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(name):
    weights = {
        key.removeprefix("weights/"): tensor
        for key, tensor in load_file(GOLDEN / name).items()
        if key.startswith("weights/")
    }
    with safe_open(GOLDEN / name, "pt") as file:
        return weights, json.loads(file.metadata()["config"])


DIT, DIT_SETTINGS = golden("dit_ada_sola_bias.safetensors")
VAE, VAE_SETTINGS = golden("vae.safetensors")
SETTINGS = Settings(dit=DIT_SETTINGS, vae=VAE_SETTINGS, text={"kind": "fake"}, name="golden")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The two files as the authors write them."""
    folder = tmp_path_factory.mktemp("theirs")
    torch.save({"model": DIT}, folder / "dit.pt")
    discriminator = {"discriminator.weight": torch.zeros(3)}
    torch.save({"state_dict": {**VAE, **discriminator}}, folder / "vae.pt")
    return folder


def test_their_files_generate_what_the_golden_tested_parts_compose(theirs, tmp_path):
    written = convert([theirs / "dit.pt", theirs / "vae.pt"], tmp_path / "m", SETTINGS)
    assert [path.name for path in written] == ["dit.safetensors", "vae.safetensors", "model.json"]
    model = EzAudio.from_pretrained(tmp_path / "m", device="cpu", dtype="float32")
    made = model.generate("a dog barking", seed=11, steps=6, duration_s=0.5, guidance_scale=5.0,
                          guidance_rescale=0.75, sampler="ddim", grid="trailing",
                          fade_s=0)  # fmt: skip

    dit = official_dit_config(DIT_SETTINGS).build().eval()
    dit.load_state_dict(official_dit_state(DIT), strict=True)
    config = official_vae_config(VAE_SETTINGS)
    vae = config.build().eval()
    vae.load_state_dict(official_vae_state({"state_dict": VAE}, config), strict=True)
    schedule, encoder = zero_snr_schedule(), model.parts.text_encoder.encoder

    def branch(x_t, t, prompt):
        return dit(x_t, torch.tensor([t]), dit.prepare(encoder([prompt])))

    velocity = guide(
        lambda x_t, t: (branch(x_t, t, "a dog barking"), branch(x_t, t, "")),
        lambda x_t, t: branch(x_t, t, "a dog barking"),
        scale=5.0,
        rescale=0.75,
        schedule=schedule,
    )
    with torch.inference_mode():
        latent = SAMPLERS["ddim"](
            velocity,
            SeededNoise([11], 8, 25)(),
            schedule=schedule,
            timesteps=TIME_GRIDS["trailing"](schedule, 6),
        )
        wave = vae.decode(latent)
    wave = wave * min(1.0, 0.99 / float(wave.abs().max()))
    assert float(wave.abs().max()) > 1e-3
    torch.testing.assert_close(made.audios, wave, atol=1e-4, rtol=0)


def test_files_of_the_hub_are_used_as_they_are(theirs, tmp_path, monkeypatch):
    """`--model l` reads the authors' files without a conversion; here they are the golden ones."""
    room = "ezaudio.pipelines.components"
    monkeypatch.setattr(
        f"{room}.fetch_official", lambda name: theirs / {"l": "dit.pt", "vae": "vae.pt"}[name]
    )
    monkeypatch.setitem(DIT_PRESETS, "l", official_dit_config(DIT_SETTINGS))
    monkeypatch.setattr("ezaudio.vae.load.OobleckConfig", lambda: official_vae_config(VAE_SETTINGS))
    monkeypatch.setitem(TEXT_ENCODERS, "flan-t5", FakeFlanT5Config)
    straight = EzAudio.from_pretrained("l", device="cpu", dtype="float32")
    convert([theirs / "dit.pt", theirs / "vae.pt"], tmp_path, SETTINGS)
    converted = EzAudio.from_pretrained(tmp_path, device="cpu", dtype="float32")
    one, two = (
        model.generate("rain", seed=1, steps=2, duration_s=0.3).audios
        for model in (straight, converted)
    )
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
    assert straight.parts.facts["model"] == "l"


class FakeFlanT5Config(FakeTextConfig):
    kind: Literal["flan-t5"] = "flan-t5"  # type: ignore[assignment]
    name: str


def test_the_files_hold_their_configuration_and_where_they_came_from(theirs, tmp_path):
    convert([theirs / "vae.pt"], tmp_path, SETTINGS)
    assert not (tmp_path / "model.json").exists()
    convert([theirs / "dit.pt"], tmp_path, SETTINGS)
    info = read_module_info(tmp_path / "dit.safetensors")
    assert info.kind == "dit"
    assert info.config["width"] == 32
    assert info.extra["source"] == "dit.pt"
    assert len(info.extra["source_sha256"]) == 64
    card = read_card(tmp_path)
    assert (card.name, card.text, card.licence) == ("golden", {"kind": "fake"}, "MIT")


@pytest.mark.parametrize("name", ["l", "xl"])
def test_the_released_transformers_are_recognised(name, tmp_path, monkeypatch):
    """By their width; the tensors are stand-ins without memory, so that nothing is written."""
    manifest = json.loads((GOLDEN / "manifests" / f"ezaudio-{name}.json").read_text())
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in manifest["tensors"].items()}
    saved = {}
    room = "ezaudio.pipelines.convert"
    monkeypatch.setattr(f"{room}.load_foreign", lambda path: {"model": state})
    monkeypatch.setattr(f"{room}.sha256_file", lambda path: "0" * 64)
    monkeypatch.setattr(f"{room}.save_module", lambda path, tensors, **facts: saved.update(facts))
    convert([Path("theirs.pt")], tmp_path, Settings())
    assert saved["config"] == DIT_PRESETS[name]
    card = read_card(tmp_path)
    assert card.name == name
    assert card.text["name"] == {"l": "google/flan-t5-large", "xl": "google/flan-t5-xl"}[name]


def test_settings_are_read_from_json_and_yaml(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(DIT_SETTINGS))
    (tmp_path / "a.yml").write_text("model: {embed_dim: 32}\nlr: 1.0e-4\n")
    assert read_settings(tmp_path / "a.json") == DIT_SETTINGS
    assert read_settings(tmp_path / "a.yml")["model"] == {"embed_dim": 32}
    (tmp_path / "bad.yml").write_text("- 1\n- 2\n")
    for name in ("bad.yml", "missing.yml", "."):
        with pytest.raises(InputError, match="JSON or YAML"):
            read_settings(tmp_path / name)


def save(path, content):
    torch.save(content, path)
    return path


def prefixed(prefix, state=DIT):
    return {prefix + name: tensor for name, tensor in state.items()}


LAYOUTS = {
    "bare": DIT,
    "state_dict": {"state_dict": DIT},
    "ema": {"ema": DIT},
    "ema with facts": {"ema": {"decay": 0.999, "shadow": DIT}, "epoch": 3},
    "model_state_dict": {"model_state_dict": DIT},
    "module": {"model": prefixed("module.")},
    "compiled": {"model": prefixed("_orig_mod.")},
    "compiled in DDP": {"state_dict": prefixed("module._orig_mod.")},
    "DDP compiled": prefixed("_orig_mod.module."),
    "compiled inside": {"model": {k.replace("blocks.0.", "blocks.0._orig_mod."): v
                                  for k, v in DIT.items()}},
    "ema_model": {"state_dict": {**prefixed("ema_model.module."), "initted": True,
                                 **{k: v * 0 for k, v in prefixed("online_model.").items()}}},
    "ema beside model": {"model": {k: v * 0 for k, v in DIT.items()}, "ema": DIT},
    "ema flat beside": {"state_dict": {**{k: v * 0 for k, v in DIT.items()},
                                       **prefixed("ema.")}},
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_found_however_a_training_loop_wrapped_them(tmp_path, layout):
    expected = official_dit_state(DIT)
    convert([save(tmp_path / "theirs.pt", LAYOUTS[layout])], tmp_path / "out", SETTINGS)
    made = load_file(tmp_path / "out" / "dit.safetensors")
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[name], expected[name]) for name in made)


@pytest.mark.parametrize(
    "content",
    [VAE, {"ema": VAE}, {"state_dict": prefixed("module.", VAE)},
     {"state_dict": {k.removeprefix("autoencoder."): v for k, v in VAE.items()}}],
    ids=["bare", "ema", "module", "without its prefix"],
)  # fmt: skip
def test_an_autoencoder_is_found_likewise(tmp_path, content):
    config = official_vae_config(VAE_SETTINGS)
    expected = official_vae_state({"state_dict": VAE}, config)
    convert([save(tmp_path / "theirs.pt", content)], tmp_path / "out", SETTINGS)
    made = load_file(tmp_path / "out" / "vae.safetensors")
    assert all(torch.equal(made[name], expected[name]) for name in expected)


def test_of_several_weights_averages_go_first_and_another_can_be_asked_for(tmp_path):
    raw = {name: tensor * 0 for name, tensor in DIT.items() if "rotary" not in name}
    path, said = save(tmp_path / "x.pt", {"model": raw, "ema": DIT}), []
    convert([path], tmp_path / "one", SETTINGS, tell=said.append)
    assert said == ["x.pt: took ema; --weights chooses: model"]
    assert read_module_info(tmp_path / "one/dit.safetensors").extra["source_weights"] == "ema"
    convert([path], tmp_path / "two", replace(SETTINGS, weights="model"))
    assert not any(x.any() for x in load_file(tmp_path / "two/dit.safetensors").values())
    with pytest.raises(InputError, match="model, ema"):
        convert([path], tmp_path / "three", replace(SETTINGS, weights="best"))


def test_a_transformer_without_text_needs_no_text_encoder(tmp_path):
    weights, settings = golden("dit_stage1_no_context.safetensors")
    path = save(tmp_path / "s1.pt", {"model": weights})
    convert([path], tmp_path / "out", Settings(dit=settings))
    assert read_card(tmp_path / "out").text == {"kind": "none"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": {**DIT, "extra.weight": torch.zeros(1)}}, "extra.weight"),
        ({"model": {k: v for k, v in DIT.items() if "block.linear" not in k}}, "output.linear"),
        ({"model": {**DIT, "mask_embed": torch.zeros(9)}}, "unknown"),
        ({"state_dict": {k: v for k, v in VAE.items() if not k.endswith("bias")}}, "lacks tensor"),
        ({"weights": 3}, r"neither .* \(it holds weights\)"),
        ({"model": {**DIT, "epoch": 3}}, "not a tensor"),
    ],
    ids=["unknown tensor", "missing tensor", "wrong shape", "vae", "other", "no tensor"],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path, content, said):
    path = save(tmp_path / "theirs.pt", content)
    with pytest.raises(CheckpointError, match=said) as error:
        convert([path], tmp_path / "out", SETTINGS)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "owned",))

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"model": Evil()}))
    torch.save({"model": Evil()}, tmp_path / "evil2.pt")
    for name in ("evil.pt", "evil2.pt"):
        with pytest.raises(CheckpointError):
            convert([tmp_path / name], tmp_path / "out", SETTINGS)
    assert not (tmp_path / "owned").exists()


def test_a_truncated_file_is_refused(theirs, tmp_path):
    whole = (theirs / "dit.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError):
        convert([tmp_path / "cut.pt"], tmp_path / "out", SETTINGS)


def test_what_is_missing_is_asked_for(theirs, tmp_path):
    with pytest.raises(CheckpointError, match="neither L nor XL"):
        convert([theirs / "dit.pt"], tmp_path, Settings(text={"kind": "fake"}))
    with pytest.raises(InputError, match="text encoder"):
        convert([theirs / "dit.pt"], tmp_path, Settings(dit=DIT_SETTINGS))
    with pytest.raises(InputError, match="one file of kind dit"):
        convert([theirs / "dit.pt"] * 2, tmp_path, SETTINGS)
    with pytest.raises(InputError):
        convert([], tmp_path, SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(theirs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        convert([theirs / "vae.pt"], tmp_path / "file", SETTINGS)
