"""`audio-vq info`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_vq.cli.options import Checkpoint, Json

OF_VOICES = ("voices", "pitch_ranges", "mean_spectrum")  # of what a checkpoint says of its data

if TYPE_CHECKING:
    from torch import nn

    from audio_vq.checkpoint import CheckpointInfo


def info(checkpoint: Checkpoint, json_output: Json = False) -> None:
    """Tell what a checkpoint is, a VQ-VAE or a prior: rates, sizes, speakers.

    With --json: kind, speakers, sample_rate, hop_length, unit_rate_hz, codebook_size, bits_per_second, parameters,
    receptive_field_samples, data, training; of a VQ-VAE also bottleneck, groups, pitch, bands, temperature, emphasis,
    encoder_reach_samples.

    Example: audio-vq info runs/vctk
    """
    from audio_vq.checkpoint import read_info, resolve_checkpoint

    folder = resolve_checkpoint(checkpoint)
    about = read_info(folder)
    facts = {
        "kind": about.kind,
        "speakers": list(about.speakers),
        **(_prior if about.kind == "prior" else _vqvae)(folder, about),
        "data": about.data,
        "training": about.training,
    }
    if json_output:
        print(json.dumps(facts))
        return
    facts["speakers"] = ", ".join(about.speakers)
    facts["data"] = {key: value for key, value in about.data.items() if key not in OF_VOICES}
    for key, value in facts.items():
        print(f"{key:24} {value}")
    for line in _voices(about):
        print(line)


def _voices(about: "CheckpointInfo") -> Iterator[str]:
    """A line for each speaker of whom something is known."""
    ranges = about.data.get("pitch_ranges", {})
    for name in about.speakers:
        told = about.data.get("voices", {}).get(name, {})
        median = f"{ranges[name][0]:.0f} Hz" if name in ranges else ""
        parts = [part for part in (told.get("gender"), median, told.get("corpus"), told.get("accent")) if part]
        if parts:
            yield f"  {name:22} {'  '.join(parts)}"


def _vqvae(folder: Path, about: "CheckpointInfo") -> dict[str, Any]:
    from audio_vq.checkpoint import config_from
    from audio_vq.config import ModelConfig
    from audio_vq.models.gaussian import build_gaussian_vae
    from audio_vq.models.vqvae import VQVAEModel, build_vqvae
    from audio_vq.units import bits_per_second

    config = config_from(ModelConfig, about.config, folder / "config.json")
    has_units = config.bottleneck == "quantized"
    network = (build_vqvae if has_units else build_gaussian_vae)(config, len(about.speakers))
    unit_rate = config.sample_rate / network.hop_length
    sizes = network.track_sizes if isinstance(network, VQVAEModel) else ()
    return {
        "sample_rate": config.sample_rate,
        "hop_length": network.hop_length,
        "unit_rate_hz": unit_rate,
        "bottleneck": config.bottleneck,
        "codebook_size": config.quantizer.codebook_size if has_units else None,
        "groups": config.quantizer.groups if has_units else None,
        "pitch": config.pitch,
        "bits_per_second": bits_per_second(sizes, unit_rate) if has_units else None,
        "bands": config.wavenet.bands,
        "temperature": about.data.get("temperature", 1.0),
        "emphasis": about.data.get("emphasis", 0.0),
        "parameters": _parameters(network),
        "receptive_field_samples": network.wavenet.receptive_field,
        "encoder_reach_samples": network.encoder.reach,
    }


def _prior(folder: Path, about: "CheckpointInfo") -> dict[str, Any]:
    """Of the units that the prior models; it looks back on so many of them."""
    from audio_vq.checkpoint import config_from
    from audio_vq.config import PriorConfig
    from audio_vq.models.prior import build_prior
    from audio_vq.units import bits_per_second

    config, units = config_from(PriorConfig, about.config, folder / "config.json"), about.data
    return {
        "sample_rate": units["sample_rate"],
        "hop_length": units["hop_length"],
        "unit_rate_hz": units["unit_rate_hz"],
        "codebook_size": units["codebook_size"],
        "bits_per_second": bits_per_second(units["track_sizes"], units["unit_rate_hz"]),
        "parameters": _parameters(build_prior(config, units["track_sizes"], len(about.speakers))),
        "receptive_field_samples": config.context * units["hop_length"],
    }


def _parameters(network: "nn.Module") -> int:
    return sum(parameter.numel() for parameter in network.parameters())
