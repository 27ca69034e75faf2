"""Sounds to begin with, made by the model itself: nobody ever said them."""

from dataclasses import dataclass

import numpy as np

from audio_vq.audio.waveform import Waveform
from audio_vq.codec.threads import torch_threads
from audio_vq.demo.service import Service
from audio_vq.pretrained import VQVAE
from audio_vq.units import Units

SECONDS = 4.0
COUNT = 3
HELD_SECONDS = 0.08  # of a unit that was drawn at random: about as long as a phone
SEED = 3


@dataclass(frozen=True)
class Example:
    name: str
    waveform: Waveform


def make_examples(service: Service) -> list[Example]:
    """In as many voices: of units that the prior draws, or else of random ones."""
    model, step = service.model, max(1, len(service.model.speakers) // COUNT)
    examples = []
    for number, speaker in enumerate(model.speakers[::step][:COUNT]):
        units = _drawn(service, speaker, SEED + number)
        with torch_threads(1):
            examples.append(Example(speaker, model.decode(units, speaker, seed=SEED + number)))
    return examples


def _drawn(service: Service, speaker: str, seed: int) -> Units:
    prior = service.prior
    if prior is not None and speaker in prior.info.speakers:
        with torch_threads(1):
            return prior.sample(speaker, SECONDS, seed=seed)[0]
    return _babble(service.model, seed)


def _babble(model: VQVAE, seed: int) -> Units:
    random, held = np.random.default_rng(seed), max(1, round(HELD_SECONDS * model.unit_rate_hz))
    count = max(1, round(SECONDS * model.unit_rate_hz / held))
    tracks = np.stack([random.integers(0, size, count) for size in model.track_sizes])
    units = np.repeat(tracks, held, axis=1)
    return units if len(units) > 1 else units[0]
