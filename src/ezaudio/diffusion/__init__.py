"""Diffusion: schedule, prediction, guidance and samplers.

This room knows the network only as a callable `(x_t, t) -> v`.
"""

from ezaudio.diffusion.grids import TIME_GRIDS, TimeGrid
from ezaudio.diffusion.guidance import VelocityPair, cfg, guide, rescale_guidance
from ezaudio.diffusion.noise import MAX_SEED, NoiseSource, SeededNoise
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
    "eps_from_v",
    "guide",
    "rescale_guidance",
    "time_of_angle",
    "v_from_x0_eps",
    "velocity_target",
    "x0_from_v",
    "zero_snr_schedule",
]
