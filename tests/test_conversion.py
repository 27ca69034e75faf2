"""Many recordings at once: what each would be alone; long ones cut where nobody speaks."""

import numpy as np
import pytest
import soundfile
import torch
from test_cli import call
from test_encoding import ENCODERS, model_with, noise, voice

from audio_vq.audio.files import write_audio
from audio_vq.audio.resampling import at_rate
from audio_vq.audio.waveform import to_pcm16
from audio_vq.codec import conversion, workers
from audio_vq.codec.conversion import Conversion, convert_all, cuts_in_pauses
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.source import Source, array_source, file_source
from audio_vq.errors import UserError
from audio_vq.loudness import LoudnessMeter

RATE = 16000


def speech(pauses, seconds, seed=0):
    """Noise with silence of 0.3 s at the given seconds."""
    waveform = 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE)).astype(np.float32)
    for pause in pauses:
        waveform[int(pause * RATE) : int((pause + 0.3) * RATE)] *= 1e-4
    return waveform


@pytest.fixture(autouse=True)
def _long_is_soon(monkeypatch):
    """Recordings that are cut need not be as long as a user's."""
    monkeypatch.setattr(conversion, "LONG_SECONDS", 4)
    monkeypatch.setattr(conversion, "PIECE_SECONDS", 2)


@pytest.fixture(scope="module")
def model():
    return model_with(ENCODERS["filterbank"])


def test_cuts_lie_amid_pauses_that_are_long_enough():
    waveform = speech([2, 3, 9, 20], 30)
    waveform[6 * RATE : 6 * RATE + 1000] = 0  # 62 ms: shorter than the decoder's memory
    heard = LoudnessMeter().add(waveform)
    cuts = cuts_in_pauses(heard, 160, 3000, least_units=400)
    assert [cut * 160 / RATE for cut in cuts] == pytest.approx([9.15, 20.15], abs=0.03)
    every = cuts_in_pauses(heard, 160, 3000, least_units=10)
    assert [cut * 160 / RATE for cut in every] == pytest.approx([2.15, 3.15, 9.15, 20.15], abs=0.03)
    assert cuts_in_pauses(LoudnessMeter().add(np.zeros(50 * RATE, np.float32)), 160, 3000, 400) == []


def test_conversions_are_what_they_would_be_alone(model, tmp_path):
    durations = {"long": ([2.3, 4.6], 7.02), "short": ([], 0.5), "middle": ([1], 2)}
    for seed, (name, (pauses, seconds)) in enumerate(durations.items()):
        write_audio(tmp_path / f"{name}.wav", speech(pauses, seconds, seed), RATE)
    sources = [file_source(tmp_path / f"{name}.wav", name) for name in durations]
    options = SamplingOptions(seed=3)
    wanted = [Conversion(source, (0, 1)) for source in sources]
    together = {(each.conversion, each.speaker): each.waveform for each in convert_all(model.codec, wanted, options)}
    assert len(together) == 2 * len(sources)
    for (number, speaker), waveform in together.items():
        seconds = list(durations.values())[number][1]
        assert len(waveform) == int(seconds * RATE)
        (alone,) = convert_all(model.codec, [Conversion(sources[number], (speaker,))], options)
        np.testing.assert_array_equal(waveform, alone.waveform)
    assert (together[0, 0] != together[0, 1]).mean() > 0.01  # another voice, of a model that has learned nothing


def test_a_short_recording_is_decoded_whole(model):
    waveform = speech([1], 3)
    (made,) = convert_all(model.codec, [Conversion(array_source(waveform, RATE), (0,))], SamplingOptions(seed=5))
    decoded = model.decode(model.encode(waveform, RATE), model.speakers[0], seed=5)
    np.testing.assert_array_equal(made.waveform, decoded[: len(waveform)])


def test_the_model_converts_as_the_command_does(model, tmp_path):
    """Also long recordings, which are spoken in pieces, at another rate."""
    model.save_pretrained(tmp_path / "model")
    waveform = speech([2.3], 5)
    write_audio(tmp_path / "short.wav", waveform, 2 * RATE)
    write_audio(tmp_path / "long.wav", waveform, RATE)
    files = [tmp_path / "short.wav", tmp_path / "long.wav"]
    options = ["--to", "ben", "--seed", 3, "--temperature", 0.9, "--out", tmp_path]
    call("convert", tmp_path / "model", *files, *options)
    for file in files:
        samples, rate = soundfile.read(file, dtype="float32")
        converted = model.convert(samples, rate, "ben", seed=3, temperature=0.9)
        written, _ = soundfile.read(tmp_path / f"{file.stem}_to_ben.wav", dtype="int16")
        np.testing.assert_array_equal(written, to_pcm16(converted))


@pytest.mark.parametrize(
    ("option", "given"), [({"postfilter": False}, "--no-postfilter"), ({"emphasis": 0.5}, "--emphasis=0.5")]
)
def test_how_to_speak_can_be_said_in_every_way(tmp_path, option, given):
    """What is spoken is the same in each, and not what it would be otherwise."""
    model, waveform = voice(), noise(8000)
    model.save_pretrained(tmp_path / "model")
    write_audio(tmp_path / "in.wav", waveform, RATE)
    waveform, _ = soundfile.read(tmp_path / "in.wav", dtype="float32")
    units = model.encode(waveform, RATE)
    spoken = model.decode(units, "ben", **option)
    assert not np.array_equal(spoken, model.decode(units, "ben"))
    np.testing.assert_array_equal(model.convert(waveform, RATE, "ben", **option), spoken)
    streamed = model.decode_stream(iter(units.T), "ben", **option)
    np.testing.assert_array_equal(np.concatenate(list(streamed)), spoken)
    call("convert", tmp_path / "model", tmp_path / "in.wav", given, "--to", "ben", "--out", tmp_path)
    written, _ = soundfile.read(tmp_path / "in_to_ben.wav", dtype="int16")
    np.testing.assert_array_equal(written, to_pcm16(spoken))


def test_a_checkpoint_says_with_which_emphasis_its_model_speaks():
    model, units = voice(), np.arange(30).reshape(3, 10) % 9
    assert model.emphasis == 0
    expected = model.decode(units, "ann", emphasis=0.4)
    model.info.data["emphasis"] = 0.4
    np.testing.assert_array_equal(model.decode(units, "ann"), expected)


def test_a_recording_is_read_once(model):
    """What its level needs to know, its units and its pauses all come from one pass."""
    readings = 0

    def read(sample_rate):
        nonlocal readings
        readings += 1
        return at_rate(np.array_split(speech([2.3], 5), 7), RATE, sample_rate)

    (made,) = convert_all(model.codec, [Conversion(Source("long", "", "", read), (0,))], SamplingOptions())
    assert readings == 1
    assert len(made.waveform) == 5 * RATE


def test_every_batch_is_decoded_on_all_threads(model, monkeypatch):
    """Also those decoded while later recordings wait to be encoded; and torch's own setting never changes."""
    monkeypatch.setattr(conversion, "BATCH_SECONDS", 2)
    threads = []
    original = workers.sample_side_by_side

    def watched(sampler, clips, options, count):
        threads.append(count)
        return original(sampler, clips, options, count)

    monkeypatch.setattr("audio_vq.codec.decode.sample_side_by_side", watched)
    wanted = [Conversion(array_source(speech([], 1.2, seed), RATE), (0,)) for seed in range(6)]
    torch.set_num_threads(2)
    try:
        for _ in convert_all(model.codec, wanted, SamplingOptions()):
            assert torch.get_num_threads() == 2
        assert threads == [2, 2, 2]
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("threads", [1, 3])
def test_unreadable_recordings_are_left_out_where_that_is_wanted(model, threads):
    wanted = [Conversion(array_source(speech([], 1, seed), RATE), (seed,)) for seed in (0, 1)]
    broken = Conversion(Source("broken", "", "", lambda _: iter(())), (0,))
    faults = []
    made = convert_all(
        model.codec,
        [wanted[0], broken, wanted[1]],
        SamplingOptions(),
        threads=threads,
        on_fault=lambda source, fault: faults.append((source.id, str(fault))),
    )
    assert sorted((each.conversion, each.speaker) for each in made) == [(0, 0), (2, 1)]
    assert faults == [("broken", "broken holds no samples; expected recorded audio")]
    with pytest.raises(UserError, match="broken"):
        list(convert_all(model.codec, [broken], SamplingOptions(), threads=threads))


def test_progress_is_told_within_a_recording(model):
    """All of it in the end: each second once for hearing, and once for each voice."""
    wanted = Conversion(array_source(speech([], 2), RATE), (0, 1))
    heard, spoken = [], []
    list(convert_all(model.codec, [wanted], SamplingOptions(), on_heard=heard.append, on_spoken=spoken.append))
    assert wanted.source.seconds == sum(heard) == pytest.approx(2)
    assert sum(spoken) == pytest.approx(4)
    assert max(spoken) < 0.2
    assert len(heard) > 2
