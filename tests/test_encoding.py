"""Encoding: the units of a recording are its own, however it arrives and whoever else is encoded beside it."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sawtooth

from audio_vq import VQVAE
from audio_vq.audio.resampling import at_rate
from audio_vq.checkpoint import CheckpointInfo
from audio_vq.codec import source as reading
from audio_vq.codec.encode import encode_sources
from audio_vq.codec.encoder import CHUNK_UNITS, READ_AHEAD
from audio_vq.codec.incremental import IncrementalEncoder
from audio_vq.codec.source import Source, array_source, file_source, levelled
from audio_vq.codec.statistics import UNKNOWN
from audio_vq.config import EncoderConfig, ModelConfig, QuantizerConfig, WaveNetConfig, as_dict
from audio_vq.errors import UserError
from audio_vq.models.vqvae import build_vqvae

ENCODERS = {
    "filterbank": EncoderConfig(strides=[2], channels=16, residual_blocks=2, layer_norm=True, filterbank=8),
    "paper": EncoderConfig(strides=[2] * 6, channels=16),
    "one wide stride": EncoderConfig(strides=[40], channels=16, layer_norm=True),
    "voice": EncoderConfig(strides=[2], channels=16, layer_norm=True, filterbank=8, centred=True),
}
RANGES = {"ann": [210.0, 3.0], "ben": [110.0, 2.0]}  # Hz, semitones


def model_with(encoder, groups=1, pitch=0, bands=1, sample_rate=16000, **decoder):
    """Fresh weights, and a codebook of latents, so that units vary."""
    says = {"conditioning_channels": 8, "spectrum_weight": 1.0} if encoder.centred else {}
    quantizer, wavenet = QuantizerConfig(32, 8, groups=groups), WaveNetConfig(layers=1, bands=bands, **says, **decoder)
    config = ModelConfig(sample_rate, pitch=pitch, encoder=encoder, quantizer=quantizer, wavenet=wavenet)
    torch.manual_seed(0)
    network = build_vqvae(config, 2)
    with torch.no_grad():
        for name, parameter in network.encoder.named_parameters():
            if not encoder.layer_norm and name.endswith("weight"):
                parameter.mul_(3)  # or the signal would vanish beside the biases
        mean = torch.ones(1, encoder.filterbank) if encoder.centred else None
        latents = network.encoder(0.1 * torch.randn(1, 32 * network.hop_length), mean)
        network.quantizer.place(network.quantizer.parts(latents), torch.ones(groups, 32))
    data = {"loudness_db": -23.0, "pitch_ranges": RANGES, "mean_spectrum": [1.0] * encoder.filterbank}
    return VQVAE(network, config, CheckpointInfo("vqvae", as_dict(config), ("ann", "ben"), data=data))


def voice(sample_rate=16000):
    """A model that wants to know all there is to know of a recording, two groups and pitch, and says its spectrum."""
    return model_with(ENCODERS["voice"], groups=2, pitch=9, bands=4, sample_rate=sample_rate)


@pytest.fixture(scope="module")
def models():
    return {name: voice() if name == "voice" else model_with(encoder) for name, encoder in ENCODERS.items()}


@pytest.fixture(params=ENCODERS)
def model(request, models):
    return models[request.param]


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def buzz(seconds=1.0, low=100.0, high=160.0):
    """A voice's source that glides up."""
    hertz = np.linspace(low, high, round(seconds * 16000))
    return (0.1 * sawtooth(2 * np.pi * np.cumsum(hertz) / 16000)).astype(np.float32)


def source(name, waveform, block=5000):
    blocks = np.split(waveform, range(block, len(waveform), block))
    return Source(name, "", "", lambda sample_rate: at_rate(blocks, 16000, sample_rate))


def clean(waveform):
    """As the encoder hears it."""
    return np.concatenate(list(at_rate([waveform], 16000, 16000)))


def sequences_of(model, sources, **options):
    return [each.sequence for each in encode_sources(model.codec, sources, **options)]


def lengths_of(model):
    """Samples: less than a unit, not whole units, a chunk to the unit and one more, several chunks."""
    hop = model.hop_length
    return [1, 3 * hop + 1, CHUNK_UNITS * hop, (CHUNK_UNITS + 1) * hop, 3 * CHUNK_UNITS * hop + 17]


def test_units_come_with_the_latents_they_stand_for(model):
    recordings = [noise(length, seed) for seed, length in enumerate((9000, 100, 30000 * 3))]
    sources = [source(str(number), waveform) for number, waveform in enumerate(recordings)]
    both = encode_sources(model.codec, sources, with_latents=True)
    for each, alone, waveform in zip(both, sequences_of(model, sources), recordings, strict=True):
        np.testing.assert_array_equal(each.sequence.units, alone.units)
        assert (each.sequence.id, each.sequence.num_samples) == (alone.id, alone.num_samples)
        assert each.sequence.fingerprint == model.fingerprint
        assert len(np.atleast_2d(each.sequence.units)) == len(model.track_sizes)
        assert np.array_equal(each.latents, model.latents(waveform, model.sample_rate))


def test_chunks_have_the_latents_of_the_whole(model):
    """In float64, where rounding cannot hide a wrong margin: at the ends of recordings and of chunks too."""
    network = model_with(model.config.encoder, model.groups, model.pitch_classes).network
    network.encoder.double()
    exact = VQVAE(network, model.config, model.info)
    for samples in lengths_of(model):
        waveform = noise(samples)
        padded = np.pad(clean(waveform), (0, -samples % model.hop_length)).astype(np.float64)
        mean = exact.statistics(waveform, 16000, match_level=False).mean_spectrum
        mean = None if mean is None else torch.from_numpy(mean)[None]
        expected = network.encoder(torch.from_numpy(padded)[None], mean)[0].numpy()
        latents = exact.latents(waveform, 16000, match_level=False)
        np.testing.assert_allclose(latents, expected, rtol=1e-12, atol=1e-12)


def test_units_are_those_of_the_plain_encoder(model):
    """But for near ties, where the two nearest vectors are as far away as rounding can tell."""
    waveform = noise(5 * CHUNK_UNITS * model.hop_length)
    mean = model.statistics(waveform, 16000, match_level=False).mean_spectrum
    mean = None if mean is None else torch.from_numpy(mean)[None]
    plain, quantizer = model.network.encoder(torch.from_numpy(clean(waveform))[None], mean), model.network.quantizer
    ours = torch.from_numpy(model.latents(waveform, 16000, match_level=False))[None]
    units = np.atleast_2d(model.encode(waveform, 16000, match_level=False))[: model.groups]
    expected = quantizer.nearest(plain)[0].numpy()
    assert (ours - plain).abs().max() < 1e-4 * plain.abs().max()
    for group, (latents, moved) in enumerate(zip(quantizer.parts(plain), quantizer.parts(ours), strict=True)):
        clear = is_clear(latents, moved - latents, quantizer.codebook[group])
        assert clear.mean() > 0.9
        assert len(np.unique(units[group])) > 5
        np.testing.assert_array_equal(units[group][clear], expected[group][clear])


def is_clear(latents, difference, codebook):
    """Of latents `(time, dim)`, whether their nearest vector stays so when they move by a difference."""
    squares, _ = torch.cdist(latents.double(), codebook.double()).square().sort(1)
    # |d²(z + δ, e) − d²(z, e)| ≤ 2 |δ| |z − e| + |δ|², once for each of the two vectors
    moved = 2 * difference.norm(dim=1) * squares[:, 1].sqrt() + difference.norm(dim=1) ** 2
    # the search's own rounding, of |e|² − 2 z·e with dim products each
    largest = codebook.norm(dim=1).max()
    search = (len(codebook[0]) + 2) * torch.finfo(torch.float32).eps * (largest**2 + 2 * latents.norm(dim=1) * largest)
    return (squares[:, 1] - squares[:, 0] > 2 * (moved + search)).numpy()


def test_company_and_cores_change_no_bit(model, monkeypatch):
    """Recordings of all lengths together, on two threads: each as alone on one."""
    waveforms = [noise(samples, seed) for seed, samples in enumerate(lengths_of(model) * 2)]
    alone = [model.encode(waveform, 16000) for waveform in waveforms]
    latents = model.latents(waveforms[-1], 16000)
    torch.set_num_threads(2)
    try:
        together = sequences_of(model, [source(str(i), waveform) for i, waveform in enumerate(waveforms)])
        np.testing.assert_array_equal(model.latents(waveforms[-1], 16000), latents)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert [each.id for each in together] == [str(i) for i in range(len(waveforms))]
    assert [each.num_samples for each in together] == [len(waveform) for waveform in waveforms]
    for one, many in zip(alone, together, strict=True):
        np.testing.assert_array_equal(many.units, one)
        assert one.shape[-1] == -(-many.num_samples // model.hop_length)


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_live_units_are_the_offline_ones(models, data):
    """Any blocks, any gain; and none comes later than the encoder's reach."""
    model = models[data.draw(st.sampled_from(sorted(models)))]
    hop, reach = model.hop_length, model.network.encoder.reach
    longest = data.draw(st.sampled_from([hop // 3, 2 * hop, 80 * hop]))
    lengths = data.draw(st.lists(st.integers(0, longest), max_size=12))
    gain = data.draw(st.sampled_from([1.0, 0.25]))  # exact in binary: before or after the filter is the same
    waveform = noise(sum(lengths), seed=len(lengths))
    heard = waveform * np.float32(gain)
    known = model.statistics(heard, 16000, match_level=False) if len(waveform) else UNKNOWN
    encoder = IncrementalEncoder(model.codec.chunk_encoder, lambda _: known.mean_spectrum)
    pieces, received = [], 0
    for block in np.split(clean(waveform) * np.float32(gain), np.cumsum(lengths)):
        pieces.append(encoder.feed(block))
        received += len(block)
        assert sum(piece.shape[1] for piece in pieces) == max(0, received - reach) // hop
    pieces.append(encoder.finish())
    assert encoder.finish().size == 0
    units = np.concatenate(pieces, 1)
    if len(waveform):
        offline = model.encode(heard, 16000, match_level=False)
        np.testing.assert_array_equal(units, np.atleast_2d(offline)[: model.groups])
    streamed = list(model.encode_stream(np.split(waveform, np.cumsum(lengths)), gain, known))
    assert len(streamed) == units.shape[1]
    if streamed:
        np.testing.assert_array_equal(np.atleast_2d(np.stack(streamed, -1))[: model.groups], units)


def test_a_batch_of_chunks_has_one_shape(models):
    """As on a GPU: what is missing is silence, and a chunk's place in the batch does not matter."""
    model = model_with(ENCODERS["filterbank"])
    waveforms = [noise(samples, seed) for seed, samples in enumerate(lengths_of(model))]
    expected = [model.encode(waveform, 16000) for waveform in waveforms]
    model.codec.chunk_encoder.batch = 3
    shapes = set()
    model.network.encoder.register_forward_pre_hook(lambda _, inputs: shapes.add(tuple(inputs[0].shape)))
    sources = [source(str(i), waveform) for i, waveform in enumerate(waveforms)]
    for sequence, units in zip(sequences_of(model, sources), expected, strict=True):
        np.testing.assert_array_equal(sequence.units, units)
    assert shapes == {(3, len(model.codec.chunk_encoder.buffer().waveform))}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(model):
    """Latents as on the CPU, in float32 and not in TF32; live units the offline ones to the bit."""
    fresh = model_with(model.config.encoder, model.groups, model.pitch_classes)
    on_gpu = VQVAE(fresh.network, model.config, model.info, "cuda")
    waveform = noise(5 * CHUNK_UNITS * model.hop_length + 7)
    latents = model.latents(waveform, 16000)
    np.testing.assert_allclose(on_gpu.latents(waveform, 16000), latents, atol=1e-4 * np.abs(latents).max())
    offline = on_gpu.encode(waveform, 16000, match_level=False)
    known = on_gpu.statistics(waveform, 16000, match_level=False)
    live = np.stack(list(on_gpu.encode_stream(np.split(waveform, 3 * [0] + [999, 5000]), statistics=known)), -1)
    np.testing.assert_array_equal(np.atleast_2d(live)[: model.groups], np.atleast_2d(offline)[: model.groups])


@pytest.mark.parametrize("name", ["filterbank", "voice"])
def test_files_are_encoded_as_their_waveforms(models, tmp_path, name):
    """Two channels at another rate; a float file above full scale; one longer than is kept in memory."""
    model = models[name]
    soundfile.write(tmp_path / "a.flac", np.stack([noise(44100 * 2), noise(44100 * 2, 1)], 1), 44100)
    soundfile.write(tmp_path / "b.wav", 30 * noise(16000 * 2), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "c.wav", noise(16000 * 25) + np.tile(buzz(), 25), 16000)
    paths = sorted(tmp_path.iterdir())
    for kept in (reading.KEPT_SAMPLES, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "KEPT_SAMPLES", kept)
            sequences = sequences_of(model, [file_source(path, path.stem) for path in paths])
        for path, sequence in zip(paths, sequences, strict=True):
            channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
            assert (sequence.id, sequence.num_samples) == (path.stem, -(-len(channels) * 16000 // rate))
            np.testing.assert_array_equal(sequence.units, model.encode(channels.mean(1, dtype=np.float32), rate))


@pytest.mark.parametrize("offset", [0.125, -0.5])
def test_an_offset_changes_neither_level_nor_units(models, tmp_path, offset):
    """Of an array, a file, and live input; at another rate too."""
    model = models["filterbank"]
    waveform = np.round(32768 * noise(40000)) / np.float32(32768)
    shifted = waveform + np.float32(offset)
    for rate in (16000, 22050):
        units = model.encode(waveform, rate)
        np.testing.assert_array_equal(model.encode(shifted, rate), units)
        soundfile.write(tmp_path / "a.wav", shifted, rate)
        (sequence,) = sequences_of(model, [file_source(tmp_path / "a.wav", "a")])
        np.testing.assert_array_equal(sequence.units, units)
        heard = levelled(array_source(shifted, rate), 16000, -23.0)
        assert heard.gain == levelled(array_source(waveform, rate), 16000, -23.0).gain
    live = list(model.encode_stream(np.array_split(shifted, 9)))
    assert live == model.encode(waveform, 16000, match_level=False).tolist()


def test_near_silence_is_raised_by_thirty_decibels_and_said(models):
    quiet, speech = source("quiet", noise(30000) * 1e-3), source("speech", noise(30000))
    first, second = encode_sources(models["paper"].codec, [quiet, speech])
    assert "quiet is almost silent; raised by 30 dB" in first.remark
    assert second.remark is None
    assert levelled(quiet, 16000, -23.0).gain == pytest.approx(10 ** (30 / 20))
    assert levelled(source("zero", np.zeros(30000, np.float32)), 16000, -23.0).gain == 1


def test_what_is_no_recording_is_the_users_mistake(models):
    model = models["paper"]
    good = noise(1000)
    for wrong, rate in [
        (good[None], 16000),
        (good[:0], 16000),
        (np.where(good > 0, np.nan, good), 16000),
        (np.where(good > 0, np.inf, good), 16000),
        (["a"], 16000),
        (good, 0),
        (good, -16000),
        (good, float("nan")),
    ]:
        for call in (model.encode, model.latents, lambda *given: model.convert(*given, "ann")):
            with pytest.raises(UserError):
                call(wrong, rate)
    integers = np.round(32768 * good).astype(np.int16)
    np.testing.assert_array_equal(model.encode(integers, 16000), model.encode(integers / 32768, 16000))
    np.testing.assert_array_equal(model.encode(torch.from_numpy(good), 16000), model.encode(good, 16000))


def test_what_are_no_units_is_the_users_mistake(models):
    model = models["paper"]
    for wrong in ([], [[1, 2]], [0.5], [-1], [32], ["a"], [None]):
        with pytest.raises(UserError, match="units"):
            model.decode(wrong, "ann")
    several = models["voice"]
    for wrong, said in [
        ([1, 2], r"units of shape \(2,\); this model's are \(3 tracks, time\)"),
        ([[1], [2]], "3 tracks"),
        ([[], [], []], "3 tracks"),
        ([[1], [32], [0]], "units from 32 to 32 do not fit a codebook of 32"),
        ([[1], [2], [9]], "pitch classes from 9 to 9 do not fit a pitch of 9"),
    ]:
        with pytest.raises(UserError, match=said):
            several.decode(wrong, "ann")
    with pytest.raises(UserError, match="2 unit sequences, 1 speakers"):
        model.decode_many([[1], [2]], ["ann"])
    with pytest.raises(UserError, match="known: ann, ben"):
        model.decode([1], "bob")
    for wrong in ({"seed": 2**64}, {"seed": -1}, {"temperature": float("nan")}, {"top_p": 0}):
        with pytest.raises(UserError):
            model.decode([1], "ann", **wrong)


def test_memory_does_not_grow_with_a_recording(models, monkeypatch):
    """Ten times as long, the same peak but for the results themselves: units and a loudness per 25 ms."""
    monkeypatch.setattr(reading, "KEPT_SAMPLES", 16000)
    model = models["filterbank"]
    block = noise(16000)

    def peak(seconds):
        def blocks(_):
            for _ in range(seconds):
                yield block.copy()

        tracemalloc.start()
        (sequence,) = sequences_of(model, [Source("long", "", "", blocks)])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(sequence.units) == seconds * 50
        return most

    peak(20)
    short, long = peak(20), peak(200)
    per_second = 3 * 8 * 50 + 2 * 8 * 40 + 200  # units, loudness (each with a copy), objects that hold them
    assert long - short < 180 * per_second
    assert 180 * per_second < 180 * block.nbytes / 20  # far less than the waveform


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_resident_memory_does_not_grow_either(models):
    """What the other measure does not see: tensors."""

    def resident_after(seconds):
        block = noise(16000)
        source = Source("long", "", "", lambda _: (block.copy() for _ in range(seconds)))
        sequences_of(models["filterbank"], [source])
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    resident_after(60)
    before = resident_after(60)  # bytes
    # a quarter of what the samples take: allocators have their moods
    assert resident_after(660) - before < 0.25 * 600 * 16000 * 4


def test_reading_waits_for_computing(models):
    """Only a few chunks are read ahead, however fast the disk is."""
    encoder = models["paper"].codec.chunk_encoder
    read = 0

    def blocks():
        nonlocal read
        for _ in range(50):
            read += 1
            yield noise(CHUNK_UNITS * 64)

    torch.set_num_threads(2)
    try:
        for done, _ in enumerate(encoder.encode(encoder.cut(blocks()))):
            # beside those that wait: one that is handed out, one that is cut, one whose margin is
            assert read <= done + 2 * READ_AHEAD + 3
    finally:
        torch.set_num_threads(1)
