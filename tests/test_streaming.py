"""A waveform spoken while its units arrive: the same as at once, from any point on, in bounded memory."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_encoding import ENCODERS, model_with
from test_sampling import DIM, HOP, make_wavenet

from audio_vq.codec.decode import BLOCK_UNITS, sample_waveforms
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.streaming import WaveformStream
from audio_vq.errors import UserError

CODES = 12


@pytest.fixture(scope="module", params=["odd channels", "plain"])  # with a conditioning network, and without
def decoder(request):
    generator = torch.Generator().manual_seed(0)
    return make_wavenet(request.param), torch.randn(CODES, DIM, generator=generator)


def units_of(count):
    return np.random.default_rng(count).integers(CODES, size=count)


def at_once(decoder, units, options):
    wavenet, codebook = decoder
    return sample_waveforms(wavenet, [codebook[torch.from_numpy(units)].T], [1], options)[0]


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 3 * BLOCK_UNITS),
    cuts=st.lists(st.integers(0, 3 * BLOCK_UNITS), max_size=6),
    kept=st.booleans(),
)
def test_streamed_equals_at_once(decoder, count, cuts, kept):
    """However the units arrive, and whether or not the stream is put away and taken up again in between."""
    wavenet, codebook = decoder
    units, options = units_of(count), SamplingOptions(temperature=0.9, top_p=0.95, seed=4)
    stream = WaveformStream(wavenet, codebook, 1, options)
    blocks = []
    for part in np.split(units, sorted(cut for cut in cuts if cut < count)):
        blocks.append(stream.push(part))
        if kept:
            state = pickle.loads(pickle.dumps(stream.state))
            stream = WaveformStream(wavenet, codebook, 0, SamplingOptions(), state=state)
    blocks.append(stream.finish())
    np.testing.assert_array_equal(np.concatenate(blocks), at_once(decoder, units, options))


def test_a_block_is_spoken_as_soon_as_its_context_is_known(decoder):
    stream = WaveformStream(*decoder, 0, SamplingOptions())
    needed = BLOCK_UNITS + decoder[0].conditioner.reach
    lengths = [len(stream.push([unit])) for unit in units_of(needed + BLOCK_UNITS)]
    spoken = {needed - 1: BLOCK_UNITS * HOP, needed + BLOCK_UNITS - 1: BLOCK_UNITS * HOP}
    assert lengths == [spoken.get(i, 0) for i in range(len(lengths))]


def test_a_state_is_a_copy(decoder):
    stream = WaveformStream(*decoder, 0, SamplingOptions())
    stream.push(units_of(20))
    state = stream.state
    before = pickle.dumps(state)
    first = stream.push(units_of(30))
    assert pickle.dumps(state) == before
    again = WaveformStream(*decoder, 0, SamplingOptions(), state=state).push(units_of(30))
    np.testing.assert_array_equal(again, first)
    assert len(first)


def test_a_stream_does_not_grow(decoder):
    stream = WaveformStream(*decoder, 0, SamplingOptions())
    sizes = set()
    for _ in range(40):
        stream.push(units_of(BLOCK_UNITS))
        sizes.add(len(pickle.dumps(stream.state)))
    assert max(sizes) - min(sizes) < 200  # bytes; numbers of more digits


def test_the_public_stream_takes_units_lazily():
    tiny_model = model_with(ENCODERS["filterbank"])
    units = np.arange(2 * BLOCK_UNITS + 3) % tiny_model.codebook_size
    taken = []

    def arriving():
        for unit in units:
            taken.append(unit)
            yield int(unit)

    voice = tiny_model.speakers[0]
    blocks = tiny_model.decode_stream(arriving(), voice, seed=2)
    first = next(blocks)
    assert len(taken) == BLOCK_UNITS + tiny_model.network.wavenet.conditioner.reach
    whole = np.concatenate([first, *blocks])
    np.testing.assert_array_equal(whole, tiny_model.decode(units, voice, seed=2))
    with pytest.raises(UserError, match="do not fit a codebook"):
        list(tiny_model.decode_stream([tiny_model.codebook_size], voice))
