"""Samplers: from noise to a clean latent along a grid of diffusion steps.

To add one: write a file with a generator function like those here, and add a line to `SAMPLERS`.
"""

from types import MappingProxyType

from ezaudio.diffusion.samplers.base import Sampler, Step, StepCallback, StepFunction
from ezaudio.diffusion.samplers.ddim import ddim_steps
from ezaudio.diffusion.samplers.dpm_solver import dpm_solver_2m_steps
from ezaudio.diffusion.samplers.heun import heun_steps

SAMPLERS: MappingProxyType[str, Sampler] = MappingProxyType(
    {
        "ddim": Sampler(ddim_steps, "the authors' sampler; first order", stochastic=True),
        "dpmpp-2m": Sampler(dpm_solver_2m_steps, "DPM-Solver++(2M); second order, as fast as ddim"),
        "heun": Sampler(heun_steps, "second order, two calls a step", evaluations_per_step=2),
    }
)
"""Samplers by the name that users write."""

__all__ = ["SAMPLERS", "Sampler", "Step", "StepCallback", "StepFunction"]
