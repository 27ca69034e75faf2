"""Live conversion: the offline one, in time; files that are whole at every moment; pipes in and out."""

import contextlib
import io
import os
import signal
import struct
import sys
import threading
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from test_encoding import ENCODERS, buzz, model_with, noise, voice

from audio_vq.cli import main
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.follow import Ending, ended_by_interrupt, follow_file, follow_pipe
from audio_vq.codec.incremental import LiveEncoder
from audio_vq.codec.live import convert_live, latency_of
from audio_vq.codec.melody import Melody
from audio_vq.codec.source import FixedGain, RunningGain, array_source, levelled
from audio_vq.codec.wav import HEADER_BYTES, PcmReader, WavWriter, wav_header
from audio_vq.errors import UserError
from audio_vq.loudness import LoudnessMeter


@pytest.fixture(scope="module")
def model():
    return model_with(ENCODERS["filterbank"])


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def pcm(waveform):
    return np.round(waveform * 32768).astype("<i2").tobytes()


def pieces_of(data, size):
    return [data[i : i + size] for i in range(0, len(data), size)]


def wav_bytes(waveform, rate, subtype, container="WAV"):
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, subtype=subtype, format=container)
    return file.getvalue()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_wav_in_pieces_is_what_libsndfile_reads(subtype, container, size):
    """Two channels, pieces that cut the header and samples anywhere."""
    data = wav_bytes(np.stack([noise(500), noise(500, 1)], 1), 22050, subtype, container)
    channels, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    reader = PcmReader(raw_rate=8000)
    waveform = np.concatenate([reader.feed(piece) for piece in pieces_of(data, size)])
    assert reader.format.sample_rate == rate
    np.testing.assert_allclose(waveform, channels.mean(1), rtol=0, atol=1e-7)


def test_a_growing_header_is_not_believed():
    """A recorder that still writes has said "no samples", "no end", or the length of its first block."""
    waveform = noise(300)
    for stated in (0, 100, 0xFFFFFFFF):
        reader = PcmReader(8000, grows=True)
        np.testing.assert_allclose(reader.feed(wav_header(16000, stated) + pcm(waveform)), waveform, atol=1 / 32768)
        assert reader.format.sample_rate == 16000


def test_anything_else_is_raw():
    for beginning in (b"\0\0", b"RI", b"fLaX", b"\xff\xff"):
        reader = PcmReader(11025)
        data = beginning + pcm(noise(3))
        waveform = np.concatenate([reader.feed(piece) for piece in pieces_of(data, 1)])
        np.testing.assert_array_equal(waveform, np.frombuffer(data, "<i2") / np.float32(32768))
        assert reader.format.sample_rate == 11025


@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5, 64, 1 << 20])
@pytest.mark.parametrize("samples", [300, 301])
def test_chunks_behind_the_samples_are_not_spoken(grows, size, samples):
    """Also behind an odd number of bytes, and whatever the pieces."""
    waveform = noise(samples)
    for data in (wav_bytes(waveform, 16000, "PCM_U8"), wav_bytes(waveform, 16000, "PCM_16")):
        expected = soundfile.read(io.BytesIO(data), dtype="float32")[0]
        reader = PcmReader(8000, grows=grows)
        pieces = pieces_of(data + len(data) % 2 * b"\0" + b"LIST\x10\0\0\0INFOICMT\4\0\0\0loud" * 3, size)
        np.testing.assert_array_equal(np.concatenate([reader.feed(piece) for piece in pieces]), expected)


def test_a_pipe_is_over_where_its_header_says():
    """Nothing can be added to what a pipe has said."""
    data = wav_header(16000, 200) + pcm(noise(300))
    assert len(PcmReader(8000).feed(data)) == 100


@pytest.mark.parametrize(
    ("container", "subtype", "named"),
    [
        ("FLAC", "PCM_16", "FLAC"),
        ("OGG", "VORBIS", "Ogg"),
        ("MP3", "MPEG_LAYER_III", "MP3"),
        ("AIFF", "PCM_16", "AIFF"),
        ("RF64", "PCM_16", "RF64"),
        ("W64", "PCM_16", "Wave64"),
        ("CAF", "PCM_16", "CAF"),
        ("AU", "PCM_16", "AU"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_other_kinds_of_files_are_refused_by_their_beginning(container, subtype, named, size):
    data = wav_bytes(noise(2000), 16000, subtype, container)
    reader = PcmReader(8000)
    with pytest.raises(UserError, match=f"{named}.* not read live"):
        for piece in pieces_of(data, size):
            reader.feed(piece)


def test_riff_of_other_kinds_is_refused_too():
    for data, named in [(b"RIFX\0\0\0\0WAVE", "RIFX"), (b"RIFF\0\0\0\0AVI LIST", "RIFF"), (b"\0\0\0 ftypM4A ", "MP4")]:
        with pytest.raises(UserError, match=named):
            PcmReader(8000).feed(data)


def test_what_cannot_be_read_live():
    with pytest.raises(UserError, match="uncompressed"):
        PcmReader(8000).feed(wav_bytes(noise(500), 16000, "MS_ADPCM"))
    with pytest.raises(UserError, match="NaN"):
        PcmReader(8000).feed(wav_bytes(np.array([0, np.nan]), 16000, "FLOAT"))


def test_a_written_file_is_whole_after_every_block(tmp_path):
    waveform = noise(1000)
    with WavWriter(tmp_path / "out" / "a.wav", 16000) as writer:
        for end in range(100, 1001, 100):
            writer.write(waveform[end - 100 : end])
            heard, rate = soundfile.read(tmp_path / "out" / "a.wav", dtype="float32")
            assert rate == 16000
            np.testing.assert_allclose(heard, waveform[:end], atol=1 / 65536)


def test_a_file_is_followed_while_it_grows(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(b"begin")

    def grow():
        for part in (b"middle", b"end"):
            time.sleep(0.1)
            with path.open("ab") as file:
                file.write(part)

    thread = threading.Thread(target=grow)
    thread.start()
    began = time.monotonic()
    pieces = list(follow_file(path, 0.4, Ending()))
    thread.join()
    assert b"".join(pieces) == b"beginmiddleend"
    assert len(pieces) == 3  # as it grew
    assert 0.6 <= time.monotonic() - began < 2


def test_a_pipe_is_read_as_it_fills():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        pieces = follow_pipe(source, Ending())
        for part in (b"one", b"two"):
            sink.write(part)
            assert next(pieces) == part
        sink.close()
        assert list(pieces) == []


@pytest.fixture
def interruptible():
    """As in a terminal: what a shell starts in the background ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_first_interrupt_ends_the_input_the_second_interrupts(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"all")
    with ended_by_interrupt() as ending:
        pieces = follow_file(tmp_path / "a.raw", 1000, ending)
        assert next(pieces) == b"all"
        os.kill(os.getpid(), signal.SIGINT)
        assert list(pieces) == []
        assert ending.wanted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_running_gain_waits_for_speech_and_settles():
    target = -23.0
    gain = RunningGain(target)
    hiss = 0.001 * noise(16000) / 0.1  # 60 dB below full scale
    np.testing.assert_array_equal(gain.apply(hiss), hiss)
    speech = 0.05 * noise(16000, 1) / 0.1  # 26 dB below
    for block in np.split(speech, 10):
        levelled = gain.apply(block)
    offline = LoudnessMeter().add(speech).whole_decibel_gain(target)
    np.testing.assert_allclose(levelled, block * np.float32(offline), rtol=1e-6)
    np.testing.assert_array_equal(RunningGain(None).apply(speech), speech)


@settings(deadline=None, max_examples=8)
@given(
    size=st.sampled_from([2, 777, 5000, 100_000]), rate=st.sampled_from([16000, 44100]), samples=st.integers(1, 40000)
)
def test_live_is_offline(model, size, rate, samples):
    """With the gain that the whole recording gets: the same waveform, to the bit, whatever the pieces."""
    if size == 2:
        samples = min(samples, 2000)
    recording = np.frombuffer(pcm(noise(samples)), "<i2") / np.float32(32768)
    decibels = 20 * np.log10(levelled(array_source(recording, rate), 16000, model.loudness_db).gain)
    expected = model.convert(recording, rate, "ben", seed=3)
    said = []
    pieces = pieces_of(wav_header(rate, 0) + pcm(recording), size)
    options, reader = SamplingOptions(seed=3), PcmReader(8000)
    encoder = LiveEncoder(model.codec, FixedGain.of_decibels(decibels))
    blocks = list(convert_live(model.codec, pieces, 1, options, encoder, reader, said.append))
    np.testing.assert_array_equal(np.concatenate(blocks), expected)
    assert len(said) == 1
    assert f"latency {latency_of(model.codec, rate, options).total:.0f} ms" in said[0]


def test_live_is_offline_with_all_that_is_known():
    """Also with pitch: what is decoded are the live codes, all of them, in the melody that is wanted."""
    model, recording = voice(), pcm(np.concatenate([buzz(), noise(8123)]))
    waveform = np.frombuffer(recording, "<i2") / np.float32(32768)
    known, options, melody = model.statistics(waveform, 16000, match_level=False), SamplingOptions(seed=3), Melody(2.0)
    encoder = LiveEncoder(model.codec, FixedGain(1.0), known)
    blocks = convert_live(
        model.codec, pieces_of(recording, 999), 1, options, encoder, PcmReader(16000), lambda _: None, melody
    )
    codes = np.stack(list(model.encode_stream([waveform], 1.0, known)), 1)
    np.testing.assert_array_equal(codes[:-1], model.encode(waveform, 16000, match_level=False)[:-1])
    expected = model.decode(melody.of(model.codec, codes, 1), "ben", seed=3)
    np.testing.assert_array_equal(np.concatenate(list(blocks)), expected[: len(waveform)])
    streamed = model.decode_stream(model.encode_stream([waveform], 1.0, known), "ben", seed=3)
    np.testing.assert_array_equal(np.concatenate(list(streamed)), model.decode(codes, "ben", seed=3))


@pytest.mark.parametrize("make", [lambda: model_with(ENCODERS["filterbank"]), voice, lambda: voice(22050)])
def test_blocks_come_within_the_stated_latency(make):
    """Fed a hundredth of a second at a time, the conversion never lags further behind than was said."""
    model, heard, written, worst = make(), 0, 0, 0
    rate = model.sample_rate

    def pieces():
        nonlocal heard, worst
        for piece in pieces_of(pcm(noise(3 * rate)), rate // 50):
            heard += len(piece) // 2
            worst = max(worst, heard - written)
            yield piece

    options, reader = SamplingOptions(), PcmReader(rate)
    encoder = LiveEncoder(model.codec, FixedGain(1.0))
    for block in convert_live(model.codec, pieces(), 0, options, encoder, reader, lambda _: None):
        written += len(block)
    latency = latency_of(model.codec, rate, options)
    bound = latency.total / 1000 * rate + rate / 100  # the piece itself
    assert 0.5 * bound < worst <= bound
    assert latency_of(model.codec, 48000, options).total > latency.total


def test_no_input_is_a_mistake(model):
    with pytest.raises(UserError, match="no samples"):
        encoder = LiveEncoder(model.codec, FixedGain(1.0))
        list(convert_live(model.codec, [], 0, SamplingOptions(), encoder, PcmReader(16000), lambda _: None))


def run(arguments, code, stdin=b"", interrupt=False):
    """The command in this process with real pipes; returns (stdout bytes, stderr)."""
    reading, writing = os.pipe()
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    before = sys.argv, sys.stdin
    sys.argv = ["audio-vq", *map(str, arguments)]
    sys.stdin = os.fdopen(reading, "r")
    threads = [threading.Thread(target=feed, args=(writing, stdin))]
    if interrupt:
        threads.append(threading.Thread(target=interrupt_when_listening, args=(err,)))
    status = 0
    try:
        for thread in threads:
            thread.start()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main.main()
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.stdin.close()
        sys.argv, sys.stdin = before
        for thread in threads:
            thread.join()
    assert status == code, f"exit {status}: {err.getvalue()}"
    out.flush()
    return out.buffer.getvalue(), err.getvalue()


def interrupt_when_listening(err):
    while "latency" not in err.getvalue():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def feed(descriptor, data):
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as pipe:
        pipe.write(data)


def test_pipe_to_pipe(folder):
    """As between `arecord` and `aplay`: WAV in, WAV of unknown length out, and nothing else on stdout."""
    waveform = noise(20000)
    arguments = ["convert", folder, "-", "--live", "--to", "ben", "--out", "-", "--gain-db", 0]
    out, err = run(arguments, 0, wav_header(16000, 0xFFFFFFFF) + pcm(waveform))
    assert out[:4] == b"RIFF"
    assert struct.unpack("<I", out[HEADER_BYTES - 4 : HEADER_BYTES]) == (0xFFFFFFFF,)
    assert len(out) == HEADER_BYTES + 2 * len(waveform)
    assert "latency" in err
    raw, _ = run([*arguments, "--sample-rate", 16000], 0, pcm(waveform))
    assert raw == out


def test_a_growing_file_becomes_a_file(folder, tmp_path):
    soundfile.write(tmp_path / "hello.wav", noise(20000), 16000)
    arguments = ["convert", folder, tmp_path / "hello.wav", "--live", "--to", "ben", "--out", tmp_path, "--idle", 0.2]
    out, err = run(arguments, 0)
    assert out.decode().split() == [str(tmp_path / "hello_to_ben.wav")]
    assert soundfile.info(tmp_path / "hello_to_ben.wav").frames == 20000
    assert "1.2 seconds converted" in err
    _, err = run(arguments, 2)
    assert "--force" in err


def test_ctrl_c_ends_a_growing_file(folder, tmp_path):
    soundfile.write(tmp_path / "hello.wav", noise(20000), 16000)
    arguments = ["convert", folder, tmp_path / "hello.wav", "--live", "--to", "ben", "--out", tmp_path]
    run([*arguments, "--idle", 1000], 130, interrupt=True)
    assert soundfile.info(tmp_path / "hello_to_ben.wav").frames == 20000


def test_users_mistakes(folder, tmp_path):
    live = ["convert", folder, "-", "--live"]
    for arguments, fault in [
        ([*live, "--to", "ben", "--to", "ann", "--out", "-"], "one voice"),
        ([*live, tmp_path, "--to", "ben", "--out", "-"], "one input"),
        ([*live, "--to", "bob", "--out", "-"], "known: ann, ben"),
        ([*live, "--to", "ben", "--out", tmp_path / "out"], "no samples"),
        ([*live, "--to", "ben", "--out", "-", "--idle", 0], "--idle"),
        (["convert", folder, tmp_path / "no.wav", "--live", "--to", "ben", "--out", "-"], "no such file"),
        (["convert", folder, "-", "--to", "ben", "--out", "-"], "stdin is not audio"),  # read whole, and nothing came
    ]:
        out, err = run(arguments, 2)
        assert fault in err
        assert len(err.splitlines()) == 1
        assert out == b""
    assert not (tmp_path / "out").exists()
