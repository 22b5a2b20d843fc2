"""Recordings on their way to training: a manifest of clips, and stores that hand out waveforms and
latents.
"""
