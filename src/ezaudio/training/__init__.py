"""Training: the autoencoder, then the diffusion transformer on its latents."""
