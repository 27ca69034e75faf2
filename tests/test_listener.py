"""What a model is told of crops: the mean spectrum of their recordings, and the pitch at their place."""

import dataclasses

import numpy as np
import pytest
import torch
from test_training import FULL, MODEL

from audio_vq.data.crops import Crops, CropSampler
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.models.filterbank import mean_spectrum
from audio_vq.models.vqvae import build_filterbank
from audio_vq.pitch import at_units, classes_of
from audio_vq.training.listener import Listener

HOP = 320


@pytest.fixture
def corpus(sung_corpus):
    return PreparedCorpus.open(sung_corpus)


def crops_at(corpus, places, length):
    """Crops of `(utterance, start)`."""
    chosen = [corpus.utterances[index] for index, _ in places]
    waveforms = [corpus.waveform(each, start, length) for each, (_, start) in zip(chosen, places, strict=True)]
    speakers = [corpus.speakers.index(each.speaker) for each in chosen]
    indices, starts = zip(*places, strict=True)
    return Crops(torch.from_numpy(np.stack(waveforms)), torch.tensor(speakers), indices, starts)


def test_crops_are_told_what_the_whole_recording_is_told(corpus):
    """At starts on the grid of units: the same mean, and the classes at the same place."""
    listener = Listener(corpus, FULL)
    places = [(0, 0), (3, 5 * HOP), (7, 11 * HOP), (3, 20 * HOP)]
    heard = listener.heard(crops_at(corpus, places, 8 * HOP))
    assert heard.mean.shape == (4, FULL.encoder.filterbank)
    assert heard.pitch.shape == (4, 8)
    for row, (index, start) in enumerate(places):
        utterance = corpus.utterances[index]
        whole = listener.whole(utterance, utterance.num_samples // HOP * HOP)
        unit = start // HOP
        assert torch.equal(heard.mean[row], whole.mean[0])
        assert torch.equal(heard.pitch[row], whole.pitch[0, unit : unit + 8])
        assert torch.equal(heard.waveform[row], whole.waveform[0, start : start + 8 * HOP])
        assert heard.speaker[row] == whole.speaker[0]
    assert (heard.pitch > 0).any()
    assert (heard.pitch == 0).any()


def test_the_mean_is_that_of_the_whole_recording(corpus):
    listener, filterbank = Listener(corpus, FULL), build_filterbank(FULL)
    heard = listener.heard(crops_at(corpus, [(2, 777)], 4 * HOP))
    waveform = corpus.waveform(corpus.utterances[2])
    whole = torch.from_numpy(waveform[: len(waveform) // 160 * 160])[None]
    torch.testing.assert_close(heard.mean[0], mean_spectrum(filterbank(whole)[0]).detach())
    (2 * heard.mean.clone().requires_grad_()).sum().backward()  # it may take part in training


def test_pitch_lies_in_the_speakers_own_range(corpus):
    """At any start, at the centres of the crop's units."""
    listener = Listener(corpus, FULL)
    crops = CropSampler(corpus, "train", 6 * HOP, 5, seed=1).batch(0)
    heard = listener.heard(crops)
    for row, (index, start) in enumerate(zip(crops.utterance, crops.start, strict=True)):
        utterance = corpus.utterances[index]
        f0 = at_units(corpus.pitch(utterance), 6, HOP, 16000, start)
        expected = classes_of(f0, corpus.pitch_ranges()[utterance.speaker], FULL.pitch)
        assert heard.pitch[row].tolist() == expected.tolist()


def test_models_that_ask_for_nothing_are_told_nothing(corpus):
    listener = Listener(corpus, MODEL)
    heard = listener.heard(crops_at(corpus, [(0, 0)], HOP))
    assert heard.mean is None
    assert heard.pitch is None
    assert listener.description() == {}


def test_a_checkpoint_knows_its_speakers_ranges_and_a_typical_spectrum(corpus):
    listener = Listener(corpus, FULL)
    described = listener.description()
    ranges = corpus.pitch_ranges()
    assert described["pitch_ranges"].keys() == set(corpus.speakers)
    for name, (median, spread) in described["pitch_ranges"].items():
        assert median == pytest.approx(ranges[name].median_hz, abs=1e-3)
        assert spread == pytest.approx(ranges[name].spread_semitones, abs=1e-4)
    means = listener.heard(crops_at(corpus, [(i, 0) for i in range(len(corpus.utterances))], HOP)).mean
    spectrum = torch.tensor(described["mean_spectrum"])
    assert spectrum.shape == means[0].shape
    assert ((means.amin(0) <= spectrum + 1e-4) & (spectrum <= means.amax(0) + 1e-4)).all()
    only_pitch = dataclasses.replace(FULL, encoder=MODEL.encoder)
    assert Listener(corpus, only_pitch).description().keys() == {"pitch_ranges"}
