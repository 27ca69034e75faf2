"""Mel-cepstral distortion is what its formula says, hears voices and words, and finds the recordings to compare."""

from dataclasses import replace

import numpy as np
import pytest

from audio_vq.analysis.judges.distortion import distortion, mel_cepstra
from audio_vq.analysis.judges.sentences import Sentences
from audio_vq.data.prepared import PreparedCorpus

RATE = 16000


@pytest.fixture(scope="module")
def corpus(spoken_corpus):
    return PreparedCorpus.open(spoken_corpus)


@pytest.fixture(scope="module")
def cepstra(corpus):
    """Of a recording, and of recordings of another speaker of the same and of another sentence."""
    sentences = Sentences(corpus, corpus.utterances)
    one, other = corpus.speakers[:2]
    clip = next(each for each in corpus.utterances if each.speaker == one and sentences.by(other, each))
    same = sentences.by(other, clip)
    different = next(each for each in corpus.utterances if each.speaker == other and each != same)
    return [mel_cepstra(corpus.waveform(each), RATE) for each in (clip, same, different)]


def test_distortion_by_hand():
    """Coefficients that differ by 0.5 and 1.2, no frame of which can be aligned better."""
    clip, reference = np.zeros((4, 13)), np.zeros((6, 13))
    clip[:, 2], clip[:, 5] = 0.5, 1.2
    assert distortion(clip, reference) == pytest.approx(10 / np.log(10) * np.sqrt(2 * 1.3**2))
    assert distortion(clip, clip) == 0


def test_distortion_is_the_distance_of_smooth_spectra():
    """Noise through a filter of ±6 dB, a cosine on the mel axis: its root mean square is 6 / √2 dB."""
    noise = np.random.default_rng(0).normal(0, 0.05, 4 * RATE).astype(np.float32)
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
    # Slaney's mel scale: linear below 1 kHz, logarithmic above
    mel = np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1) / 1000) / np.log(6.4))
    gain_db = 6 * np.cos(3 * np.pi * mel / mel[-1])
    filtered = np.fft.irfft(np.fft.rfft(noise) * 10 ** (gain_db / 20), len(noise)).astype(np.float32)
    means = [mel_cepstra(each, RATE).mean(axis=0, keepdims=True) for each in (noise, filtered)]
    assert distortion(*means) == pytest.approx(6 / np.sqrt(2), rel=0.05)


def test_neither_level_nor_pauses_matter(corpus):
    waveform, pause = corpus.waveform(corpus.utterances[0]), np.zeros(RATE // 2, np.float32)
    spoken, later = mel_cepstra(waveform, RATE), mel_cepstra(np.concatenate([pause, 0.5 * waveform, pause]), RATE)
    assert distortion(spoken, later) < 0.2


def test_same_words_lie_nearer_than_others(cepstra):
    clip, same, different = cepstra
    assert 0 < distortion(clip, same) < distortion(clip, different)


@pytest.mark.parametrize("seconds", [0.0001, 0.1, 1.0])
def test_silence_is_far_from_speech(cepstra, seconds):
    clip, _, different = cepstra
    silence = mel_cepstra(np.zeros(max(1, round(seconds * RATE)), np.float32), RATE)
    assert np.isfinite(silence).all()
    assert distortion(silence, clip) > distortion(different, clip)


# who says the same


def test_the_same_words_are_the_same_sentence(corpus):
    source, second = (next(each for each in corpus.utterances if each.speaker == name) for name in corpus.speakers[:2])
    second = replace(second, text=f"  {source.text.upper()}?! ")
    sentences = Sentences(replace(corpus, utterances=(source, second)), [second])
    assert sentences.by(second.speaker, source) is second
    assert sentences.shared(second.speaker, [source])
    assert sentences.by(source.speaker, second) is None  # not among those that may be found


def test_names_stand_for_sentences_where_no_text_does(corpus):
    named = {
        name: replace(corpus.utterances[0], id=f"{name}_e200015", speaker=name, text=None) for name in ("ann", "ben")
    }
    untold = replace(corpus, utterances=tuple(named.values()))
    assert Sentences(untold, untold.utterances).by("ben", named["ann"]) is named["ben"]
    for name, expected in (("e200015", None), ("1", named["ben"])):  # elsewhere in the corpus: p225_030, p226_030
        others = [
            replace(corpus.utterances[0], id=f"{speaker}_{name}", speaker=speaker, text=f"I am {speaker}")
            for speaker in ("cat", "dan")
        ]
        told = replace(corpus, utterances=(*named.values(), *others))
        assert Sentences(told, told.utterances).by("ben", named["ann"]) is expected


def test_a_text_is_never_taken_for_a_name(corpus):
    texted = replace(corpus.utterances[0], id="ann_1", speaker="ann", text="1")
    named = replace(corpus.utterances[0], id="ben_1", speaker="ben", text=None)
    pair = replace(corpus, utterances=(texted, named))
    assert Sentences(pair, pair.utterances).by("ben", texted) is None
