"""MiniLM: equal to the published model, each prompt for itself, and checked before it is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ezaudio.config import load_config
from ezaudio.errors import CheckpointError, InputError
from ezaudio.text import TEXT_ENCODERS, MiniLMConfig
from ezaudio.text.minilm import PACKAGE, MiniLM, packaged_folder

pytest.importorskip(PACKAGE)

PROMPTS = ["", "a dog barking", "Rain falls on a tin roof; far away, thunder rolls twice — slowly"]


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLMConfig().build()


def test_token_vectors_equal_those_of_transformers(encoder: MiniLM) -> None:
    from transformers.models.bert.modeling_bert import BertConfig, BertModel

    folder = packaged_folder()
    from ezaudio.checkpoints import load_tensors

    reference = BertModel(BertConfig.from_json_file(folder / "config.json"))
    reference.load_state_dict(load_tensors(folder / "model.safetensors"), strict=False)
    got = encoder(PROMPTS)
    ids = torch.zeros(got.attend.shape, dtype=torch.long)
    for row, prompt in enumerate(PROMPTS):
        numbers = encoder._tokenizer.encode(prompt).ids
        ids[row, : len(numbers)] = torch.tensor(numbers)
    with torch.no_grad():
        expected = reference.eval()(ids, attention_mask=got.attend.long()).last_hidden_state
    assert (got.tokens - expected)[got.attend].abs().max() < 1e-5


def test_shapes_masks_and_the_unconditional_prompt(encoder: MiniLM) -> None:
    got = encoder(PROMPTS)
    assert got.tokens.shape == (3, got.attend.shape[1], 384) and encoder.width == 384
    assert got.attend[:2].sum(1).tolist() == [2, 5]  # [CLS] ... [SEP]
    assert not got.tokens[~got.attend].any()


def test_a_prompt_does_not_depend_on_its_batch_mates(encoder: MiniLM) -> None:
    together = encoder(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        alone = encoder([prompt])
        length = alone.tokens.shape[1]
        assert int(together.attend[row].sum()) == length
        assert (together.tokens[row, :length] - alone.tokens[0]).abs().max() < 1e-5


def test_a_long_prompt_loses_its_end_always_alike() -> None:
    short = MiniLMConfig(max_tokens=16).build()
    long = short(["dog " * 3000])
    assert long.attend.sum() == 16
    assert torch.equal(long.tokens, short(["dog " * 14]).tokens)


def test_odd_prompts_are_encoded(encoder: MiniLM) -> None:
    got = encoder(["犬が吠える", "🐕\0\x07", "[SEP] [MASK]", "a" * 5000])
    assert torch.isfinite(got.tokens).all() and got.tokens.shape[1] <= 128


def test_vectors_carry_no_gradient_and_may_be_trained_on(encoder: MiniLM) -> None:
    tokens = encoder(["a dog"]).tokens
    weight = torch.ones(384, requires_grad=True)
    (tokens @ weight).sum().backward()
    assert weight.grad is not None and not tokens.requires_grad


def test_the_encoder_moves_to_another_type() -> None:
    assert MiniLMConfig().build().to("cpu", torch.bfloat16)(["a"]).tokens.dtype == torch.bfloat16


def test_other_weights_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(packaged_folder(), folder)
    assert MiniLMConfig(path=str(folder)).build().width == 384
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a BERT configuration"):
        MiniLMConfig(path=str(folder)).build()
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(CheckpointError, match="sha256"):
        MiniLMConfig(path=str(folder)).build()
    with pytest.raises(CheckpointError, match="cannot be read"):
        MiniLMConfig(path=str(tmp_path)).build()


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match=r"pip install 'ezaudio\[starter\]'"):
        MiniLMConfig().build()


def test_the_registry_builds_every_kind_from_plain_values() -> None:
    for kind, config in TEXT_ENCODERS.items():
        assert load_config(config, {"kind": kind}).kind == kind
        with pytest.raises(InputError):
            load_config(config, {"kind": "none"})


def test_loading_needs_no_transformers_no_network_and_says_nothing() -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('network')\n"
        "socket.socket.connect = refuse\n"
        "from ezaudio.text import MiniLMConfig\n"
        "MiniLMConfig().build()(['a dog'])\n"
        f"heavy = {{'transformers', '{PACKAGE}', 'torch._dynamo'}} & set(sys.modules)\n"
        "raise SystemExit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
