"""Many recordings at once: what each would be alone; long ones cut where nobody speaks."""

import numpy as np
import pytest
from test_encoding import ENCODERS, model_with

from audio_vq.audio import write_audio
from audio_vq.codec.conversion import Wish, convert_all, cuts_in_pauses
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.source import file_sources

RATE = 16000


def speech(pauses, seconds, seed=0):
    """Noise with silence of 0.3 s at the given seconds."""
    waveform = 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE)).astype(np.float32)
    for pause in pauses:
        waveform[int(pause * RATE) : int((pause + 0.3) * RATE)] *= 1e-4
    return waveform


@pytest.fixture(scope="module")
def model():
    return model_with(ENCODERS["filterbank"])


def test_cuts_lie_amid_pauses_that_are_long_enough():
    waveform = speech([2, 3, 9, 20], 30)
    waveform[6 * RATE : 6 * RATE + 1000] = 0  # 62 ms: shorter than the decoder's memory
    blocks = np.array_split(waveform, 7)
    cuts = cuts_in_pauses(blocks, 160, 3000, least_units=400)
    assert [cut * 160 / RATE for cut in cuts] == pytest.approx([9.15, 20.15], abs=0.03)
    every = cuts_in_pauses(blocks, 160, 3000, least_units=10)
    assert [cut * 160 / RATE for cut in every] == pytest.approx([2.15, 3.15, 9.15, 20.15], abs=0.03)
    assert cuts_in_pauses([np.zeros(50 * RATE, np.float32)], 160, 3000, 400) == []


def test_conversions_are_what_they_would_be_alone(model, tmp_path):
    durations = {"long": ([11, 23], 35.02), "short": ([], 1.5), "middle": ([2], 4)}
    for seed, (name, (pauses, seconds)) in enumerate(durations.items()):
        write_audio(tmp_path / f"{name}.wav", speech(pauses, seconds, seed), RATE)
    sources = file_sources([tmp_path / f"{name}.wav" for name in durations], RATE)
    voices = tuple(model.speakers[:2])
    options = SamplingOptions(seed=3)
    together = {
        (wish, speaker): waveform
        for wish, speaker, waveform in convert_all(model, [Wish(source, voices) for source in sources], options)
    }
    assert len(together) == len(sources) * len(voices)
    for (wish, speaker), waveform in together.items():
        seconds = list(durations.values())[wish][1]
        assert len(waveform) == int(seconds * RATE)
        ((_, _, alone),) = convert_all(model, [Wish(sources[wish], (speaker,))], options)
        np.testing.assert_array_equal(waveform, alone)
    first, second = (together[0, voice] for voice in voices)
    assert (first != second).mean() > 0.1  # another voice


def test_a_short_recording_is_decoded_whole(model, tmp_path):
    write_audio(tmp_path / "a.wav", speech([1], 3), RATE)
    (source,) = file_sources([tmp_path / "a.wav"], RATE)
    ((_, _, converted),) = convert_all(model, [Wish(source, model.speakers[:1])], SamplingOptions(seed=5))
    waveform = np.concatenate(list(source.blocks()))
    decoded = model.decode(model.encode(waveform, RATE), model.speakers[0], seed=5)
    np.testing.assert_array_equal(converted, decoded[: len(converted)])
