"""VQ-VAE for speech."""
