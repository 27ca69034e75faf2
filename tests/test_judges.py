"""The judges themselves: they know voices, words and noise apart, and nothing passes by being silent."""

import importlib.util
import json

import numpy as np
import pytest
from conftest import VCTK_MINI, babble

from audio_vq.analysis.alignment.decoding import decode_utterance
from audio_vq.analysis.alignment.lexicon import spoken_words
from audio_vq.analysis.judges import panel as judges
from audio_vq.analysis.judges.panel import Clip, Impression, Marks, judge_clip, require_judges
from audio_vq.analysis.judges.scores import edit_distance
from audio_vq.audio.features import fundamental_frequency
from audio_vq.audio.files import Audio, read_audio
from audio_vq.audio.resampling import resample
from audio_vq.errors import UserError

RATE = 16000
SPEAKERS = ("p225", "p226", "p227", "p228")


@pytest.fixture(scope="module")
def installed():
    for package in ("resemblyzer", "pocketsphinx", "speechmos"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")


def test_a_missing_judge_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "speechmos" else True)
    with pytest.raises(UserError, match=r"speechmos is not installed; run pip install 'audio-vq\[judges\]'"):
        require_judges()


@pytest.mark.parametrize("waveform", [np.zeros(RATE), 1e-4 * np.random.default_rng(0).standard_normal(2 * RATE)])
def test_silence_gets_the_worst_of_everything(installed, waveform):
    heard = judge_clip(Clip(waveform.astype(np.float32), RATE))
    assert not heard.embedding.any()
    assert np.isnan(heard.f0).all()
    assert heard.words == ""
    assert heard.marks == Marks(1.0, 1.0, 1.0)


def test_a_clip_is_heard_the_same_at_another_rate_and_after_others(installed):
    waveform = babble(np.random.default_rng(1), 140.0)
    first = judge_clip(Clip(waveform, RATE))
    judge_clip(Clip(babble(np.random.default_rng(2), 200.0), RATE))
    again = judge_clip(Clip(waveform, RATE))
    assert json.dumps(first.to_json()) == json.dumps(again.to_json())
    other = judge_clip(Clip(resample(waveform, RATE, 48000), 48000, reference=True))
    assert other.words is None
    assert first.embedding @ other.embedding > 0.99


def test_impressions_survive_json():
    heard = Impression(np.eye(1, 256, 3)[0], np.array([np.nan, 112.5]), "a word", Marks(1.5, 2.5, 3.5))
    back = Impression.from_json(json.loads(json.dumps(heard.to_json())))
    np.testing.assert_array_equal(back.embedding, heard.embedding)
    np.testing.assert_array_equal(back.f0, heard.f0)
    assert (back.words, back.marks) == ("a word", heard.marks)


@pytest.mark.parametrize("hertz", [90.0, 220.0])
def test_f0_of_a_tone_with_harmonics(hertz):
    time = np.arange(RATE // 2) / RATE
    tone = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6)).astype(np.float32)
    f0 = fundamental_frequency(np.concatenate([0.2 * tone, np.zeros(RATE // 2, np.float32)]), RATE)
    assert len(f0) == 101
    middle = f0[10:40]
    assert np.abs(12 * np.log2(middle / hertz)).max() <= 0.15  # steps of 0.2 semitones: at most half of one
    assert np.isnan(f0[60:]).all()


@pytest.fixture(scope="module")
def real(installed) -> dict[str, list[tuple[Audio, str]]]:
    """Two short recordings of each of four speakers, with their texts: eight different ones."""
    if not VCTK_MINI.is_dir():
        pytest.skip("needs the real recordings of the development checkout")
    recordings: dict[str, list[tuple[Audio, str]]] = {speaker: [] for speaker in SPEAKERS}
    used = set()
    for speaker in SPEAKERS:
        files = (VCTK_MINI / "wav48_silence_trimmed" / speaker).glob("*_mic1.flac")
        for file in sorted(files, key=lambda file: file.stat().st_size):
            text = (VCTK_MINI / "txt" / speaker / f"{file.name.removesuffix('_mic1.flac')}.txt").read_text().strip()
            if text not in used and len(text) > 25 and len(recordings[speaker]) < 2:
                used.add(text)
                recordings[speaker].append((read_audio(file, RATE), text))
    return recordings


def test_real_voices_are_told_apart(real):
    first, second = (
        np.array([judges._embedding(real[speaker][number][0].waveform) for speaker in SPEAKERS]) for number in (0, 1)
    )
    similarity = first @ second.T
    same = similarity.diagonal()
    other = similarity[~np.eye(len(SPEAKERS), dtype=bool)]
    assert same.min() > other.max()


def test_real_words_are_recognised(real):
    clips = [real[speaker][0] for speaker in SPEAKERS[:3]]
    heard = [judges._words(audio.waveform) for audio, _ in clips]
    texts = [" ".join(spoken_words(text)) for _, text in clips]
    errors = sum(edit_distance(text, words) for text, words in zip(texts, heard, strict=True))
    shuffled = sum(edit_distance(text, words) for text, words in zip(texts[1:] + texts[:1], heard, strict=True))
    characters = sum(map(len, texts))
    assert errors / characters < 0.5
    assert shuffled / characters > 0.7


def test_words_do_not_depend_on_what_was_heard_before(installed):
    clips = [babble(np.random.default_rng(seed), f0) for seed, f0 in ((1, 140.0), (2, 200.0))]
    recogniser, scores = judges._recogniser(), []
    for number in (0, 1, 0, 1):
        decode_utterance(recogniser, clips[number])
        scores.append(recogniser.hyp().score)
    assert scores[:2] == scores[2:]


def test_clean_recordings_get_better_marks_than_noised_ones(real):
    rng = np.random.default_rng(0)
    for speaker in SPEAKERS[:2]:
        waveform = real[speaker][1][0].waveform
        noise = 0.3 * np.sqrt(np.mean(waveform**2)) * rng.standard_normal(len(waveform))
        clean = judges._marks(waveform)
        noised = judges._marks(np.clip(waveform + noise, -1, 1).astype(np.float32))
        assert clean.bak > noised.bak + 0.5
        assert clean.ovrl > noised.ovrl + 0.3
