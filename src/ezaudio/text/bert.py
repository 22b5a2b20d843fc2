"""A BERT encoder, just enough to run MiniLM.

It exists for the start-up time: importing the BERT of transformers takes seconds, this one none.
Source: Devlin et al. 2018, arXiv:1810.04805; the layer is that of Vaswani et al. 2017 with the
norms after the residual sums.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ezaudio.config import Config

_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "norm_attention",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm_feedforward",
}


class BertConfig(Config):
    """Sizes of the encoder, under the names of a published `config.json`."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


class BertLayer(nn.Module):
    """Self-attention, then a feed-forward network, each normalised after its residual sum."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.heads = config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.norm_attention = nn.LayerNorm(width, eps)
        self.up = nn.Linear(width, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, width)
        self.norm_feedforward = nn.LayerNorm(width, eps)

    def forward(self, x: Tensor, attend: Tensor) -> Tensor:
        """Map `x` (B, L, D), with `attend` (B, 1, 1, L), to (B, L, D)."""
        q, k, v = (
            rearrange(projection(x), "B L (H P) -> B H L P", H=self.heads)
            for projection in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=attend)
        x = self.norm_attention(x + self.out(rearrange(mixed, "B H L P -> B L (H P)")))
        normalised: Tensor = self.norm_feedforward(x + self.down(functional.gelu(self.up(x))))
        return normalised


class Bert(nn.Module):
    """Token numbers in, one vector per token out."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        # Empty tables: drawing normal numbers without storage would import the compiler, 3 s.
        self.words, self.positions, self.segments = (
            nn.Embedding(rows, width, _weight=torch.empty(rows, width))
            for rows in (config.vocab_size, config.max_position_embeddings, config.type_vocab_size)
        )
        self.norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, ids: Tensor, attend: Tensor) -> Tensor:
        """Map numbers `ids` (B, L), with `attend` bool (B, L), to vectors (B, L, D)."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.segments.weight[0]
        x = self.norm(x)  # (B, L, D)
        for layer in self.layers:
            x = layer(x, attend[:, None, None, :])
        return torch.as_tensor(x)


def from_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a published BERT; the pooler and the position numbers are left out."""
    embeddings = {
        "word_embeddings": "words",
        "position_embeddings": "positions",
        "token_type_embeddings": "segments",
        "LayerNorm": "norm",
    }
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if module.startswith("encoder.layer."):
            _, _, index, rest = module.split(".", 3)
            renamed[f"layers.{index}.{_NAMES[rest]}.{leaf}"] = tensor
        elif module.startswith("embeddings."):
            renamed[f"{embeddings[module.removeprefix('embeddings.')]}.{leaf}"] = tensor
    return renamed
