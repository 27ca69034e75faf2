"""A waveform spoken while its units arrive: the same as at once, from any point on, in bounded memory."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_vq import VQVAE
from audio_vq.checkpoint import CheckpointInfo
from audio_vq.codec.decode import block_units, sample_waveforms
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.streaming import WaveformStream
from audio_vq.config import EncoderConfig, ModelConfig, QuantizerConfig, WaveNetConfig, as_dict
from audio_vq.errors import UserError
from audio_vq.models.vqvae import build_vqvae

HOP = 40  # samples per unit, 100 of which are a second
BLOCK = 8  # units
CONFIGS = {
    "plain": ModelConfig(
        sample_rate=4000,
        mu_law_classes=64,
        encoder=EncoderConfig(strides=[HOP], channels=4),
        quantizer=QuantizerConfig(codebook_size=12, dim=6),
        wavenet=WaveNetConfig(layers=3, dilation_cycle=3, residual_channels=8, skip_channels=8),
    ),
    "groups in two bands": ModelConfig(
        sample_rate=4000,
        mu_law_classes=64,
        encoder=EncoderConfig(strides=[HOP], channels=4),
        quantizer=QuantizerConfig(codebook_size=12, dim=6, groups=2),
        wavenet=WaveNetConfig(2, 3, 3, 2, 8, 8, conditioning_channels=6, conditioning_frames=2),
    ),
    "groups and pitch in four bands": ModelConfig(
        sample_rate=4000,
        mu_law_classes=64,
        pitch=9,
        encoder=EncoderConfig(strides=[HOP], channels=4),
        quantizer=QuantizerConfig(codebook_size=12, dim=6, groups=3),
        wavenet=WaveNetConfig(4, 3, 3, 2, 11, 13, conditioning_channels=6, pitch_taps=3),
    ),
    "with a postfilter": ModelConfig(
        sample_rate=4000,
        mu_law_classes=64,
        encoder=EncoderConfig(strides=[1], channels=4, filterbank=16),
        quantizer=QuantizerConfig(codebook_size=12, dim=6),
        wavenet=WaveNetConfig(4, 3, 3, 2, 11, 13, conditioning_channels=6, spectrum_weight=1.0),
    ),
}


def make_model(config):
    """As decided as a trained one, with a codebook whose vectors differ."""
    torch.manual_seed(0)
    model = build_vqvae(config, 2).eval().requires_grad_(False)
    model.quantizer.codebook.normal_()
    model.wavenet.output.weight.mul_(8)
    model.wavenet.embedding.weight.normal_(std=0.5)  # those of pitch taps begin at zero
    return model


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    return make_model(CONFIGS[request.param])


def units_of(model, count):
    """`(tracks, count)`, of a model with one track `(count,)`."""
    rng = np.random.default_rng(count)
    units = np.stack([rng.integers(size, size=count) for size in model.track_sizes])
    return units if len(units) > 1 else units[0]


def at_once(model, units, options):
    latents = model.lookup(torch.from_numpy(units.reshape(1, len(model.track_sizes), -1)))
    return sample_waveforms(model.wavenet, latents, [1], options, block=BLOCK, postfilter=model.said_filterbank)[0]


@settings(max_examples=12, deadline=None)
@given(
    count=st.integers(1, 3 * BLOCK),
    cuts=st.lists(st.integers(0, 3 * BLOCK), max_size=6),
    kept=st.booleans(),
)
def test_streamed_equals_at_once(model, count, cuts, kept):
    """However the units arrive, and whether or not the stream is put away and taken up again in between."""
    units, options = units_of(model, count), SamplingOptions(temperature=0.9, top_p=0.95, seed=4)
    stream = WaveformStream(model, 1, options)
    blocks = []
    for part in np.split(units, sorted(cut for cut in cuts if cut < count), axis=-1):
        blocks.append(stream.push(part))
        if kept:
            state = pickle.loads(pickle.dumps(stream.state))
            stream = WaveformStream(model, 0, SamplingOptions(), state=state)
    blocks.append(stream.finish())
    np.testing.assert_array_equal(np.concatenate(blocks), at_once(model, units, options))


def test_a_block_is_spoken_as_soon_as_its_context_is_known(model):
    """But for the last samples, which the steps to come have a say in."""
    stream = WaveformStream(model, 0, SamplingOptions())
    assert stream.block == BLOCK
    bands = {1: 0, 2: 20, 4: 40}[model.wavenet.bands.bands]
    assert stream.delay == (HOP * 5 // 2 if model.said_filterbank else bands)
    assert WaveformStream(model, 0, SamplingOptions(postfilter=False)).delay == bands
    needed = BLOCK + model.wavenet.conditioner.reach
    units = units_of(model, needed + BLOCK)
    lengths = [len(stream.push(units[..., i : i + 1])) for i in range(units.shape[-1])]
    spoken = {needed - 1: BLOCK * HOP - stream.delay, needed + BLOCK - 1: BLOCK * HOP}
    assert lengths == [spoken.get(i, 0) for i in range(len(lengths))]


def test_blocks_take_units_one_by_one(model):
    units = units_of(model, 3 * BLOCK)
    stream = WaveformStream(model, 1, SamplingOptions(seed=2))
    blocks = [*stream.blocks(units.T), stream.finish()]
    assert len(blocks) > 2
    np.testing.assert_array_equal(np.concatenate(blocks), at_once(model, units, SamplingOptions(seed=2)))


def test_a_block_lasts_as_long_at_any_unit_rate():
    assert [block_units(rate) for rate in (250, 100, 50, 25, 5)] == [20, 8, 4, 2, 1]


def test_a_state_is_a_copy(model):
    stream = WaveformStream(model, 0, SamplingOptions())
    stream.push(units_of(model, 20))
    state = stream.state
    before = pickle.dumps(state)
    first = stream.push(units_of(model, 30))
    assert pickle.dumps(state) == before
    again = WaveformStream(model, 0, SamplingOptions(), state=state).push(units_of(model, 30))
    np.testing.assert_array_equal(again, first)
    assert len(first)


def test_a_stream_does_not_grow(model):
    stream = WaveformStream(model, 0, SamplingOptions())
    sizes = set()
    for _ in range(20):
        stream.push(units_of(model, BLOCK))
        sizes.add(len(pickle.dumps(stream.state)))
    # the numbers of the random generator have more or fewer digits; the first block waits for those after it
    assert len(sizes) < 6
    assert max(sizes) < 2 * min(sizes)


def test_the_public_stream_takes_units_lazily():
    config = CONFIGS["plain"]
    model = VQVAE(make_model(config), config, CheckpointInfo("vqvae", as_dict(config), ("ann", "ben")))
    units = np.arange(2 * BLOCK + 3) % model.codebook_size
    taken = []

    def arriving():
        for unit in units:
            taken.append(unit)
            yield int(unit)

    blocks = model.decode_stream(arriving(), "ann", seed=2)
    first = next(blocks)
    assert len(taken) == BLOCK
    whole = np.concatenate([first, *blocks])
    np.testing.assert_array_equal(whole, model.decode(units, "ann", seed=2))
    with pytest.raises(UserError, match="do not fit a codebook"):
        list(model.decode_stream([model.codebook_size], "ann"))
