"""Low-rank adapters: what a trained network learns anew, in a small file (Hu et al., 2021).

A linear layer `y = W x + b` with adapters k becomes

    y = W x + b + sum_k s_k (alpha_k / rank_k) up_k (down_k x)

W and b never change; `down` (rank, inputs) starts at random and `up` (outputs, rank) at zero, so
that a fresh adapter changes nothing, bit for bit. The strength s scales what an adapter does: 0
switches it off, 1 is as it was trained. Merging adds the products to W, after which the network
costs what it cost without adapters; unmerging puts the very tensor back.

An adapted layer keeps its place and the names of its weights: `blocks.0.attention.qkv.weight` stays
what it was, and `blocks.0.attention.qkv.adapters.NAME.down` and `.up` are added. A layer that makes
queries, keys and values at once has one `down` for the three.

Keys and values of a text are made by `prepare`: prepare anew after a change of adapters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from ezaudio.config import Config
from ezaudio.errors import InputError

LORA_TARGETS: Mapping[str, str] = MappingProxyType(
    {
        "attention": r"blocks\.\d+\.attention\.(qkv|output)",
        "cross-attention": r"blocks\.\d+\.text\.attention\.(query|key_value|output)",
        "feedforward": r"blocks\.\d+\.feedforward\.(input|output)",
        "long-skips": r"skips\.\d+\.linear",
    }
)
"""Group of layers to a pattern of their names."""

MAX_RANK = 1024


class LoRAConfig(Config):
    """What an adapter is made of.

    Attributes:
        rank: inner width R of every pair of matrices.
        alpha: what an adapter does is scaled by `alpha / rank`; None means `rank`, a factor of 1.
        targets: groups of layers, keys of `LORA_TARGETS`.
    """

    rank: int = Field(default=16, ge=1, le=MAX_RANK)
    alpha: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    targets: tuple[str, ...] = Field(
        default=("attention", "cross-attention", "feedforward"), min_length=1
    )

    @field_validator("targets")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value) or set(value) - set(LORA_TARGETS):
            raise ValueError(f"any of {', '.join(LORA_TARGETS)}, each once")
        return value

    @property
    def scaling(self) -> float:
        """Factor on what an adapter does at strength 1."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


class LowRank(nn.Module):
    """One adapter of one layer, in float32 whatever the layer's precision.

    Args:
        inputs: channels that enter.
        outputs: channels that leave.
        config: rank and scaling.
        generator: of the `down` half.

    Attributes:
        strength: scales what is added.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        config: LoRAConfig,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.scaling = config.scaling
        self.strength = 1.0
        self.down = nn.Parameter(torch.empty(config.rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, config.rank))
        bound = 1 / math.sqrt(inputs)
        nn.init.uniform_(self.down, -bound, bound, generator=generator)

    @property
    def factor(self) -> float:
        """Strength times scaling."""
        return self.strength * self.scaling

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., inputs)` to what is added, `(..., outputs)`."""
        narrow = functional.linear(x.to(self.down.dtype), self.down) * self.factor
        return functional.linear(narrow, self.up)

    def product(self) -> Tensor:
        """What is added to the layer's weight, `(outputs, inputs)`."""
        return (self.up @ self.down) * self.factor


class AdaptedLinear(nn.Linear):
    """A linear layer with adapters beside it; it shares the weights of the layer it replaces.

    Args:
        linear: the layer.

    Attributes:
        adapters: by name.
    """

    def __init__(self, linear: nn.Linear) -> None:
        bias = linear.bias is not None
        super().__init__(linear.in_features, linear.out_features, bias=bias, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.adapters = nn.ModuleDict()
        self._own: Tensor | None = None
        self.train(linear.training)

    @property
    def merged(self) -> bool:
        """Whether the weight holds the adapters."""
        return self._own is not None

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., inputs)` to `(..., outputs)`."""
        y = super().forward(x)
        if self.merged:
            return y
        for adapter in self.pairs.values():
            if adapter.strength != 0:
                y = y + adapter(x).to(y.dtype)
        return y

    @property
    def pairs(self) -> dict[str, LowRank]:
        """The adapters, by name."""
        return {k: v for k, v in self.adapters.items() if isinstance(v, LowRank)}

    @torch.no_grad()
    def merge(self) -> None:
        """Add the adapters to the weight, in float32, and keep the weight that was there."""
        active = [pair for pair in self.pairs.values() if pair.strength != 0]
        if self.merged or not active:
            return
        self._own = self.weight.detach()
        total = self._own.float()
        for pair in active:
            total = total + pair.product()
        self._replace(total.to(self._own.dtype))

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the weight back that was there before the merging."""
        if self._own is not None:
            self._replace(self._own.to(self.weight))
            self._own = None

    def plain(self) -> nn.Linear:
        """A layer without adapters, with the weight as it is now."""
        bias = self.bias is not None
        linear = nn.Linear(self.in_features, self.out_features, bias=bias, device="meta")
        linear.weight, linear.bias = self.weight, self.bias
        return linear.train(self.training)

    def _replace(self, weight: Tensor) -> None:
        self.weight = nn.Parameter(weight, requires_grad=self.weight.requires_grad)


def target_layers(network: nn.Module, config: LoRAConfig) -> dict[str, nn.Linear]:
    """The layers that an adapter concerns, by name, in the network's order.

    Raises:
        InputError: the network has no layer of a target, or a layer narrower than the rank.
    """
    found: dict[str, nn.Linear] = {}
    for target in config.targets:
        pattern = re.compile(LORA_TARGETS[target])
        layers = {
            name: layer
            for name, layer in network.named_modules()
            if isinstance(layer, nn.Linear) and pattern.fullmatch(name)
        }
        if not layers:
            raise InputError("targets", target, "layers that this network has")
        found.update(layers)
    narrowest = min(min(layer.in_features, layer.out_features) for layer in found.values())
    if config.rank > narrowest:
        raise InputError("rank", config.rank, f"at most {narrowest} in this network")
    return found


def add_adapter(
    network: nn.Module,
    config: LoRAConfig,
    *,
    name: str = "adapter",
    generator: torch.Generator | None = None,
) -> None:
    """Put a fresh adapter beside the layers of a network, in place; its output stays the same.

    Args:
        network: an `EzAudioDiT`, or another network of blocks.
        config: rank, scaling and layers.
        name: letters, digits, `-` and `_`; each adapter of a network has its own.
        generator: of the fresh weights, on the CPU.

    Raises:
        InputError: the network has no such layer.
        ValueError: the name is taken or not allowed, or adapters are merged.
    """
    if not re.fullmatch(r"[\w-]+", name) or hasattr(nn.ModuleDict, name):
        raise ValueError(f"an adapter cannot be called {name!r}")
    if name in adapter_names(network):
        raise ValueError(f"the network has an adapter {name!r} already")
    if any(layer.merged for layer in adapted_layers(network).values()):
        raise ValueError("unmerge the adapters first")
    for path, linear in target_layers(network, config).items():
        layer = linear if isinstance(linear, AdaptedLinear) else AdaptedLinear(linear)
        if layer is not linear:
            network.set_submodule(path, layer)
        pair = LowRank(layer.in_features, layer.out_features, config, generator)
        layer.adapters[name] = pair.to(layer.weight.device)


def adapted_layers(network: nn.Module) -> dict[str, AdaptedLinear]:
    """The layers that have adapters, by name."""
    return {k: v for k, v in network.named_modules() if isinstance(v, AdaptedLinear)}


def adapter_names(network: nn.Module) -> tuple[str, ...]:
    """Names of the adapters of a network."""
    layers = adapted_layers(network).values()
    return tuple(dict.fromkeys(name for layer in layers for name in layer.pairs))


def adapter_state(network: nn.Module, name: str = "adapter") -> dict[str, Tensor]:
    """The tensors of an adapter: `LAYER.down` and `LAYER.up`."""
    return {
        f"{path}.{half}": tensor.detach()
        for path, pair in _pairs(network, name)
        for half, tensor in (("down", pair.down), ("up", pair.up))
    }


@torch.no_grad()
def load_adapter_state(
    network: nn.Module, state: Mapping[str, Tensor], name: str = "adapter"
) -> None:
    """Copy tensors into an adapter.

    Raises:
        ValueError: a tensor is missing, unknown, of another shape, or holds NaN or infinity;
            nothing was copied.
    """
    own = adapter_state(network, name)
    if odd := sorted(set(own) ^ set(state)):
        raise ValueError(f"{odd[0]!r} is {'missing' if odd[0] in own else 'unknown'}")
    for key, tensor in state.items():
        if tensor.shape != own[key].shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(own[key].shape)}"
            raise ValueError(f"{key!r} has the shape {shapes}")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{key!r} holds NaN or infinite values")
    for key, tensor in state.items():
        own[key].copy_(tensor)


def set_strengths(network: nn.Module, strengths: Mapping[str, float]) -> None:
    """Scale what adapters do, by name; those that are not named stay as they are.

    Raises:
        ValueError: no adapter has that name, or adapters are merged.
    """
    if any(layer.merged for layer in adapted_layers(network).values()):
        raise ValueError("unmerge the adapters first")
    for name, strength in strengths.items():
        for _, pair in _pairs(network, name):
            pair.strength = float(strength)


def train_only_adapters(network: nn.Module) -> list[nn.Parameter]:
    """Freeze everything but the adapters, and give their parameters."""
    network.requires_grad_(False)
    layers = adapted_layers(network).values()
    parameters = [p for layer in layers for p in layer.adapters.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def merge_adapters(network: nn.Module) -> None:
    """Add all adapters, at their strengths, to the weights of the network."""
    for layer in adapted_layers(network).values():
        layer.merge()


def unmerge_adapters(network: nn.Module) -> None:
    """Put the weights back that the network had before the merging."""
    for layer in adapted_layers(network).values():
        layer.unmerge()


def remove_adapters(network: nn.Module) -> None:
    """Make all layers plain again; what is merged stays in the weights."""
    for path, layer in adapted_layers(network).items():
        network.set_submodule(path, layer.plain())


def drop_adapter(network: nn.Module, name: str) -> None:
    """Take one adapter off a network; layers without any become plain again.

    Raises:
        ValueError: no adapter has that name, or adapters are merged.
    """
    if any(layer.merged for layer in adapted_layers(network).values()):
        raise ValueError("unmerge the adapters first")
    for path, _ in list(_pairs(network, name)):
        layer = adapted_layers(network)[path]
        del layer.adapters[name]
        if not layer.adapters:
            network.set_submodule(path, layer.plain())


def _pairs(network: nn.Module, name: str) -> Iterator[tuple[str, LowRank]]:
    layers = adapted_layers(network)
    if name not in adapter_names(network):
        raise ValueError(f"the network has no adapter {name!r}")
    yield from ((path, layer.pairs[name]) for path, layer in layers.items() if name in layer.pairs)
