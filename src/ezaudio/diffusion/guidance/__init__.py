"""Guidance: from a positive and a negative velocity to the one that a sampler follows."""

from ezaudio.diffusion.guidance.classifier_free import cfg, rescale_guidance
from ezaudio.diffusion.guidance.guide import VelocityPair, guide

__all__ = ["VelocityPair", "cfg", "guide", "rescale_guidance"]
