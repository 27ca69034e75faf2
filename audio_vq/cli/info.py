"""`audio-vq info`."""

import json
from typing import Any

from audio_vq.cli.options import Checkpoint, Json


def info(checkpoint: Checkpoint, json_output: Json = False) -> None:
    """Tell what a checkpoint is: rates, sizes, speakers.

    Example: audio-vq info runs/vctk
    """
    from audio_vq.checkpoint import config_from, read_info, resolve_checkpoint
    from audio_vq.config import ModelConfig
    from audio_vq.models.gaussian import build_gaussian_vae
    from audio_vq.models.vqvae import build_vqvae
    from audio_vq.units import bits_per_second

    folder = resolve_checkpoint(checkpoint)
    about = read_info(folder, kind="vqvae")
    config = config_from(ModelConfig, about.config, folder / "config.json")
    has_units = config.bottleneck == "quantized"
    network = (build_vqvae if has_units else build_gaussian_vae)(config, len(about.speakers))
    unit_rate, codebook_size = config.sample_rate / network.hop_length, config.quantizer.codebook_size
    facts: dict[str, Any] = {
        "sample_rate": config.sample_rate,
        "hop_length": network.hop_length,
        "unit_rate_hz": unit_rate,
        "bottleneck": config.bottleneck,
        "codebook_size": codebook_size if has_units else None,
        "bits_per_second": bits_per_second(codebook_size, unit_rate) if has_units else None,
        "speakers": list(about.speakers),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "receptive_field_samples": network.wavenet.receptive_field,
        "encoder_reach_samples": network.encoder.reach,
        "data": about.data,
        "training": about.training,
    }
    if json_output:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        print(f"{key:24} {', '.join(value) if key == 'speakers' else value}")
