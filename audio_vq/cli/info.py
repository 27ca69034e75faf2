"""`audio-vq info`."""

import json
from typing import Any

from audio_vq.cli.options import Checkpoint, Json


def info(checkpoint: Checkpoint, json_output: Json = False) -> None:
    """Tell what a checkpoint is: rates, sizes, speakers.

    Example: audio-vq info runs/vctk
    """
    from audio_vq.pretrained import VQVAE

    model = VQVAE.from_pretrained(checkpoint)
    network = model.network
    has_units = model.config.bottleneck == "quantized"
    facts: dict[str, Any] = {
        "sample_rate": model.sample_rate,
        "hop_length": model.hop_length,
        "unit_rate_hz": model.unit_rate_hz,
        "bottleneck": model.config.bottleneck,
        "codebook_size": model.codebook_size if has_units else None,
        "bits_per_second": model.bits_per_second if has_units else None,
        "speakers": list(model.speakers),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "receptive_field_samples": network.wavenet.receptive_field,
        "encoder_reach_samples": network.encoder.reach,
        "data": model.info.data,
        "training": model.info.training,
    }
    if json_output:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        print(f"{key:24} {', '.join(value) if key == 'speakers' else value}")
