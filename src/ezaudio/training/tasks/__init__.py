"""What the loop trains: diffusion networks, adapters of them, autoencoders."""
