"""Diffusion: schedule, prediction, guidance and samplers.

This room knows the network only as a callable `(x_t, t) -> v`. Names are loaded at their
first use: listing samplers needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ezaudio.diffusion.grids import TIME_GRIDS, TimeGrid
    from ezaudio.diffusion.guidance import VelocityPair, cfg, guide, rescale_guidance
    from ezaudio.diffusion.noise import NoiseSource, SeededNoise
    from ezaudio.diffusion.prediction import (
        Velocity,
        add_noise,
        eps_from_v,
        v_from_x0_eps,
        velocity_target,
        x0_from_v,
    )
    from ezaudio.diffusion.samplers import SAMPLERS, Sampler, Step, StepCallback
    from ezaudio.diffusion.schedule import CLEAN, Node, Schedule, time_of_angle, zero_snr_schedule
    from ezaudio.diffusion.seeds import MAX_SEED, derived_seed

__all__ = [
    "CLEAN",
    "MAX_SEED",
    "SAMPLERS",
    "TIME_GRIDS",
    "Node",
    "NoiseSource",
    "Sampler",
    "Schedule",
    "SeededNoise",
    "Step",
    "StepCallback",
    "TimeGrid",
    "Velocity",
    "VelocityPair",
    "add_noise",
    "cfg",
    "derived_seed",
    "eps_from_v",
    "guide",
    "rescale_guidance",
    "time_of_angle",
    "v_from_x0_eps",
    "velocity_target",
    "x0_from_v",
    "zero_snr_schedule",
]

_MODULES = {
    "grids": ("TIME_GRIDS", "TimeGrid"),
    "guidance": ("VelocityPair", "cfg", "guide", "rescale_guidance"),
    "noise": ("NoiseSource", "SeededNoise"),
    "prediction": (
        "Velocity",
        "add_noise",
        "eps_from_v",
        "v_from_x0_eps",
        "velocity_target",
        "x0_from_v",
    ),
    "samplers": ("SAMPLERS", "Sampler", "Step", "StepCallback"),
    "schedule": ("CLEAN", "Node", "Schedule", "time_of_angle", "zero_snr_schedule"),
    "seeds": ("MAX_SEED", "derived_seed"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load the module of a public name."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
