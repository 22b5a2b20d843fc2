"""FLAN-T5, the text encoder of the paper's models: `large` for L, `xl` for XL.

Source: Chung et al. 2022, arXiv:2210.11416 (Apache-2.0). Prompts are padded to 100 tokens and the
padding is masked. Only the encoder's half of the published file is read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor

from ezaudio.checkpoints import load_tensors
from ezaudio.config import Config
from ezaudio.errors import CheckpointError
from ezaudio.hub import fetch_text_encoder
from ezaudio.text.encoder import load_tokenizer, tokenize
from ezaudio.types import TextEmbedding

if TYPE_CHECKING:
    from transformers import T5EncoderModel

_INDEX = "model.safetensors.index.json"


class FlanT5Config(Config):
    """The text encoder of the paper's models.

    Attributes:
        name: the published model, fetched from the hub when it is not in the cache.
        path: folder with the published files; the hub is then never asked.
        max_tokens: prompts are padded or cut to this length.
    """

    kind: Literal["flan-t5"] = "flan-t5"
    name: str = "google/flan-t5-large"
    path: str | None = None
    max_tokens: int = Field(100, ge=2, le=512)

    def build(self) -> FlanT5:
        """Load the encoder.

        Raises:
            CheckpointError: a file is missing or damaged.
            DownloadError: the model is neither in the cache nor can it be fetched.
            InputError: the name is not a model that can be fetched.
        """
        folder = Path(self.path) if self.path is not None else fetch_text_encoder(self.name)
        return FlanT5(folder, name=self.name, max_tokens=self.max_tokens)


class FlanT5:
    """The FLAN-T5 text encoder.

    Deviation: the authors keep the encoder's vectors at padded places, which no attention reads;
    here they are zero, and are not computed.

    Args:
        folder: holds `config.json`, `tokenizer.json` and the weights as safetensors.
        name: which model it is, for the records.
        max_tokens: prompts are padded or cut to this length.

    Raises:
        CheckpointError: a file is missing or damaged.
    """

    def __init__(self, folder: Path, *, name: str, max_tokens: int) -> None:
        self._tokenizer = load_tokenizer(folder, max_tokens=max_tokens)
        self.model = _load_model(folder)
        self.name = name
        self.max_tokens = max_tokens
        self.width = int(self.model.config.d_model)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        """Encode prompts: tokens `(B, max_tokens, E)`, attend `(B, max_tokens)`."""
        ids, attend = tokenize(self._tokenizer, prompts, pad=0)
        ids, attend = ids.to(self.model.device), attend.to(self.model.device)
        states = self.model(input_ids=ids, attention_mask=attend.long()).last_hidden_state
        tokens = (states * attend[..., None]).to(self.model.dtype)  # (B, L, E)
        return TextEmbedding(tokens, attend).padded(self.max_tokens)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> FlanT5:
        """Move the encoder, and give it back.

        In float16 one matrix per block stays in float32: its sums leave the range of float16.
        """
        torch.nn.Module.to(self.model, device=device, dtype=dtype)
        if dtype == torch.float16:
            for name, module in self.model.named_modules():
                if name.endswith(".wo"):
                    module.float()
        return self


def _load_model(folder: Path) -> T5EncoderModel:
    tensors = _read_encoder(folder)
    from transformers import T5Config, T5EncoderModel

    try:
        config = T5Config.from_json_file(str(folder / "config.json"))
        with torch.device("meta"):
            model = T5EncoderModel(config)
        model.load_state_dict(tensors, assign=True)
    except (OSError, ValueError, TypeError, KeyError):
        raise CheckpointError(f"{folder / 'config.json'}: missing, or damaged") from None
    except RuntimeError:
        raise CheckpointError(f"{folder}: its weights do not fit its config.json") from None
    model.tie_weights()
    torch.nn.Module.eval(model).requires_grad_(False)
    return model


def _read_encoder(folder: Path) -> dict[str, Tensor]:
    """Read the encoder's tensors from one file or from the shards that the index names."""
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        names = sorted(set(index["weight_map"].values()))
    except FileNotFoundError:
        names = ["model.safetensors"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{folder / _INDEX}: damaged") from None
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors.update(load_tensors(folder / Path(name).name, ("shared.", "encoder.")))
    if "shared.weight" in tensors:
        tensors.setdefault("encoder.embed_tokens.weight", tensors["shared.weight"])
    return tensors
