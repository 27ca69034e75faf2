"""Crops of a corpus with what a model wants to know of their recordings: mean spectra and pitch."""

from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from audio_vq.config import ModelConfig, hop_length
from audio_vq.data.crops import Crops
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.models.filterbank import mean_spectrum
from audio_vq.models.vqvae import Heard, build_filterbank
from audio_vq.pitch import at_units, classes_of

RECORDINGS_PER_SPEAKER = 4  # of which the typical spectrum is the mean


class Listener:
    """Makes `Heard` of crops; what is known of a recording as a whole is found when it is first asked for."""

    def __init__(self, corpus: PreparedCorpus, config: ModelConfig) -> None:
        self.corpus, self.config = corpus, config
        self.hop_length = hop_length(config)
        self.filterbank = build_filterbank(config) if config.encoder.centred else None  # which does not learn then
        self.ranges = corpus.pitch_ranges() if config.pitch else {}
        self._mean = cache(self._mean_spectrum)

    def heard(self, crops: Crops) -> Heard:
        utterances = [self.corpus.utterances[index] for index in crops.utterance]
        return self._heard(crops.waveform, crops.speaker, utterances, crops.start)

    def whole(self, utterance: Utterance, num_samples: int) -> Heard:
        """The beginning of an utterance; the number of samples is a multiple of the hop length."""
        waveform = torch.from_numpy(self.corpus.waveform(utterance, 0, num_samples))[None]
        speaker = torch.tensor([self.corpus.speakers.index(utterance.speaker)])
        return self._heard(waveform, speaker, [utterance], (0,))

    def description(self) -> dict[str, Any]:
        """What a checkpoint says of its corpus, so that recordings can be heard, and pitch spoken, as in training."""
        described: dict[str, Any] = {}
        if self.config.pitch:
            described["pitch_ranges"] = {
                name: [round(each.median_hz, 3), round(each.spread_semitones, 4)] for name, each in self.ranges.items()
            }
        if self.config.encoder.centred:
            described["mean_spectrum"] = [round(value, 5) for value in self._typical_spectrum.tolist()]
        return described

    @cached_property
    def _typical_spectrum(self) -> Tensor:
        """Mean `(filters,)` of some recordings of every speaker."""
        means = []
        for speaker in self.corpus.speakers:
            own = [each for each in self.corpus.select("train") if each.speaker == speaker]
            means.append(torch.stack([self._mean(each) for each in own[:RECORDINGS_PER_SPEAKER]]).mean(0))
        return torch.stack(means).mean(0)

    def _heard(self, waveform: Tensor, speaker: Tensor, utterances: list[Utterance], starts: tuple[int, ...]) -> Heard:
        mean = torch.stack([self._mean(each) for each in utterances]) if self.config.encoder.centred else None
        pitch = None
        if self.config.pitch:
            units = waveform.shape[1] // self.hop_length
            found = [self._pitch(*each, units) for each in zip(utterances, starts, strict=True)]
            pitch = torch.stack(found)
        return Heard(waveform, speaker, mean, pitch)

    def _pitch(self, utterance: Utterance, start: int, units: int) -> Tensor:
        f0 = at_units(self.corpus.pitch(utterance), units, self.hop_length, self.corpus.sample_rate, start)
        return torch.from_numpy(classes_of(f0, self.ranges[utterance.speaker], self.config.pitch))

    @torch.inference_mode()
    def _mean_spectrum(self, utterance: Utterance) -> Tensor:
        assert self.filterbank is not None
        waveform = self.corpus.waveform(utterance)
        whole = waveform[: len(waveform) - len(waveform) % self.filterbank.hop_length]
        return mean_spectrum(self.filterbank(torch.from_numpy(whole)[None])[0]).clone()
