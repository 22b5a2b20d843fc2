"""A CLAP of random weights: the real classes of transformers, small enough for tests."""

from __future__ import annotations

import json
from pathlib import Path

import torch

RATE_HZ = 16_000
SECONDS = 1


def byte_letters() -> list[str]:
    """The letters that stand for the 256 bytes in a byte-level vocabulary."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(others))]


def write_tiny_clap(folder: Path, seed: int = 0) -> Path:
    from transformers import ClapConfig, ClapModel

    folder.mkdir(parents=True, exist_ok=True)
    words = ["<s>", "<pad>", "</s>", "<unk>", *byte_letters(), "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "RobertaTokenizer", "model_max_length": 512})
    )
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "feature_extractor_type": "ClapFeatureExtractor",
                "feature_size": 64,
                "fft_window_size": 1024,
                "frequency_max": 7000,
                "frequency_min": 50,
                "hop_length": 160,
                "max_length_s": SECONDS,
                "padding": "repeatpad",
                "sampling_rate": RATE_HZ,
                "truncation": "rand_trunc",
            }
        )
    )
    config = ClapConfig(
        text_config={
            "vocab_size": len(words),
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "projection_dim": 12,
            "pad_token_id": 1,
        },
        audio_config={
            "window_size": 4,
            "num_mel_bins": 64,
            "spec_size": 128,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "patch_embeds_hidden_size": 16,
            "hidden_size": 32,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "num_hidden_layers": 2,
            "projection_dim": 12,
            "enable_fusion": False,
        },
        projection_dim=12,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ClapModel(config)
        for module in model.modules():  # so that random weights hear differences
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=0.3)
    model.eval().save_pretrained(folder)
    return folder
