"""Waveforms: what they are, their files, their sample rates, what is seen in them."""
