"""Validation that can be heard: some recordings, spoken again from their codes, beside what was said."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audio_vq.audio.features import log_mel
from audio_vq.audio.files import write_audio
from audio_vq.audio.waveform import Waveform
from audio_vq.codec.decode import SamplingOptions, sample_waveforms
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.models.vqvae import Heard
from audio_vq.training.listener import Listener
from audio_vq.training.task import device_of

SECONDS = 2.0  # of each recording
RECORDINGS = 4  # as many voices as possible
TEMPERATURES = (0.85, 0.9, 0.95, 1.0)  # colder speech falls silent
RANGE_DB = 60.0  # below a recording's loudest mel band; what is softer counts as that


@dataclass(frozen=True)
class Reading:
    """How near to the recordings a model's own speech of them comes."""

    temperature: float  # the one of `TEMPERATURES` that comes nearest
    log_mel_db: float  # mean distance of log-mel spectrograms at that temperature


class Spoken:
    """Speaks the same validation recordings each time."""

    def __init__(self, corpus: PreparedCorpus, listener: Listener, utterances: tuple[int, ...]) -> None:
        """`utterances`: candidates, by their number; speakers take turns in them."""
        self.corpus, self.listener = corpus, listener
        chosen = list(dict.fromkeys(utterances))[:RECORDINGS]
        self.utterances = [corpus.utterances[index] for index in chosen]

    @cached_property
    def heard(self) -> list[Heard]:
        rate, hop = self.corpus.sample_rate, self.listener.hop_length
        return [
            self.listener.whole(each, min(int(SECONDS * rate), each.num_samples) // hop * hop)
            for each in self.utterances
        ]

    def reading(self, averaged: Any) -> Reading:
        """Of the averaged network, in the recordings' own voices."""
        found = [Reading(each, self._distance(averaged, each)) for each in TEMPERATURES]
        return min(found, key=lambda each: each.log_mel_db)

    def _distance(self, averaged: Any, temperature: float) -> float:
        voices = [int(each.speaker) for each in self.heard]
        spoken = self._speak(averaged, self.heard, voices, temperature)
        return float(
            np.mean(
                [
                    log_mel_distance(each.waveform[0].numpy(), audio, self.corpus.sample_rate)
                    for each, audio in zip(self.heard, spoken, strict=True)
                ]
            )
        )

    @torch.no_grad()
    def _speak(self, averaged: Any, heard: list[Heard], voices: list[int], temperature: float) -> list[Waveform]:
        read = [averaged.read(each.to(device_of(averaged)))[0] for each in heard]
        options = SamplingOptions(temperature=temperature)
        return sample_waveforms(averaged.wavenet, read, voices, options, postfilter=averaged.said_filterbank)

    def write(self, averaged: Any, folder: Path, temperature: float) -> None:
        """Two of the recordings: original, reconstruction, conversion to another speaker."""
        speakers, rate = self.corpus.speakers, self.corpus.sample_rate
        for utterance, heard in list(zip(self.utterances, self.heard, strict=True))[:2]:
            own = int(heard.speaker)
            voices = sorted({own, (own + 1) % len(speakers)})  # one, where there is nobody else
            write_audio(folder / f"{utterance.id}_original.wav", heard.waveform[0].numpy(), rate)
            spoken = self._speak(averaged, [heard] * len(voices), voices, temperature)
            for voice, audio in zip(voices, spoken, strict=True):
                write_audio(folder / f"{utterance.id}_to_{speakers[voice]}.wav", audio, rate)


def log_mel_distance(original: Waveform, spoken: Waveform, sample_rate: int) -> float:
    """Mean absolute difference in dB of log-mel spectrograms, 80 bands every 10 ms."""
    decibels = [
        log_mel(each, sample_rate, round(0.01 * sample_rate)) * (20 / np.log(10)) for each in (original, spoken)
    ]
    floor = decibels[0].max() - RANGE_DB
    one, other = (np.maximum(each, floor) for each in decibels)
    return float(np.abs(one - other).mean())
