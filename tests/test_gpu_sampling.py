"""The GPU sampler: equal to the WaveNet's forward pass, clips that know nothing of each other; with and without GPU."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from test_sampling import DIM, HOP, IN_BANDS, SHAPES, all_conditioning, make_inputs, make_wavenet
from torch_stepper import TorchStepper

from audio_vq.codec import graph
from audio_vq.codec.drawing import SamplingOptions, draw, random_stream
from audio_vq.codec.graph import sample_on_gpu
from audio_vq.codec.slots import empty_slots, shifted, stack_weights, step

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
    ),
]


def make_clips(wavenet, units, seed=2):
    """Conditioning `(frames, layers, 2R)` of one clip for each number of units."""
    generator = torch.Generator().manual_seed(seed)
    like = wavenet.embedding.weight
    clips = []
    for i, number in enumerate(units):
        latents = torch.randn(1, DIM, number, generator=generator, dtype=torch.float64).to(like)
        clips.append(all_conditioning(wavenet, latents, torch.tensor([i % 3], device=like.device))[0])
    return clips


def sample(wavenet, clips, options, slots, chunk=5, streams=None):
    conditioning = [iter(clip.split(chunk)) for clip in clips]
    randoms = [random_stream(options.seed, i) for i in (streams or range(len(clips)))]
    return sample_on_gpu(wavenet, conditioning, randoms, options, slots)


def sample_plainly(wavenet, clip, random, options):
    """One clip, step by step, with the readable stepper."""
    bands = wavenet.bands.bands
    stepper, previous, classes = TorchStepper(wavenet, 1), torch.full((1, bands), wavenet.silence), []
    for frame in clip.unbind():
        for _ in range(wavenet.frame_length):
            uniforms = torch.tensor([[random.random() for _ in range(bands)]], dtype=torch.float64)
            previous = draw(stepper.step(previous, frame[None]), uniforms, options)
            classes.append(previous[0].numpy())
    return np.stack(classes, 1)


def forced_logits(wavenet, targets, conditioning):
    """Logits `(slots, classes, bands, time)` of the steps after the targets.

    Conditioning is `(slots, frames, layers, 2R)`.
    """
    weights = stack_weights(wavenet)
    slots = empty_slots(weights, len(targets), 1)
    slots.past.copy_(weights.silence[:, None].expand_as(slots.past))
    slots.previous.fill_(wavenet.silence)
    logits = []
    for t in range(targets.shape[2]):
        frame = shifted(weights, conditioning[:, t // wavenet.frame_length]).transpose(0, 1)
        logits.append(step(weights, slots, frame))
        slots.previous.copy_(targets[..., t])
    return torch.stack(logits, 3).transpose(1, 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_step_equals_the_forward_pass_in_float64(shape):
    wavenet = make_wavenet(shape).double()
    targets, latents, speaker = make_inputs(wavenet.receptive_field // HOP + 3, batch=3, bands=wavenet.bands.bands)
    latents = latents.double()
    logits = forced_logits(wavenet, targets, all_conditioning(wavenet, latents, speaker))
    torch.testing.assert_close(logits, wavenet(targets, latents, speaker), rtol=0, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_step_in_float32_is_within_rounding(device):
    wavenet = make_wavenet("two cycles").to(device)
    targets, latents, speaker = (x.to(device) for x in make_inputs(2 * wavenet.receptive_field // HOP + 3))
    fast = forced_logits(wavenet, targets, all_conditioning(wavenet, latents, speaker)).double()
    exact = wavenet.double()(targets, latents.double(), speaker)
    # as in test_sampling: n · 2^-24 per sum of n products, over the layers
    bound = 2**-24 * 64 * len(wavenet.layers) * exact.abs().max()
    assert (fast - exact).abs().max() < bound
    assert exact.std() > 1e3 * bound


@pytest.mark.parametrize("shape", ["plain", "kernel 3", "kernel 1", "one layer", "one channel", *IN_BANDS])
def test_clips_of_unequal_length_equal_the_plain_stepper(shape, monkeypatch):
    """More clips than slots, several blocks, pieces that end before and with their clip: every way a slot is filled."""
    monkeypatch.setattr(graph, "PIECE_FRAMES", 3)
    wavenet = make_wavenet(shape).double()
    options = SamplingOptions(temperature=0.9, top_p=0.9, seed=5)
    clips = make_clips(wavenet, [7, 1, 3, 2, 6, 1, 1])
    drawn = sample(wavenet, clips, options, slots=2)
    for i, (clip, classes) in enumerate(zip(clips, drawn, strict=True)):
        assert classes.dtype == np.int64
        np.testing.assert_array_equal(classes, sample_plainly(wavenet, clip, random_stream(5, i), options))
    assert len(np.unique(np.concatenate(drawn, 1))) > 5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", ["plain", "four bands"])
def test_a_clip_is_the_same_alone_and_in_company(device, shape):
    wavenet = make_wavenet(shape).to(device)
    options = SamplingOptions(top_p=0.95, seed=3)
    clips = make_clips(wavenet, [20, 3, 9, 1, 14, 2, 30])
    together = sample(wavenet, clips, options, slots=4)
    for i in (0, 3, 6):
        (alone,) = sample(wavenet, [clips[i]], options, slots=4, chunk=7, streams=[i])
        np.testing.assert_array_equal(alone, together[i])
    assert [classes.shape for classes in together] == [
        (wavenet.bands.bands, wavenet.frame_length * len(clip)) for clip in clips
    ]


def test_conditioning_is_taken_as_it_is_needed():
    wavenet = make_wavenet()
    (clip,) = make_clips(wavenet, [40])
    taken = []

    def chunks():
        for i, chunk in enumerate(clip.split(4)):
            taken.append((i, len(uniforms)))
            yield chunk

    class Random:
        """Counts what is drawn from it."""

        def random(self, size):
            uniforms.extend([0.5] * math.prod(size))
            return np.full(size, 0.5)

    uniforms = []
    sample_on_gpu(wavenet, [chunks()], [Random()], SamplingOptions(), slots=1)
    assert taken == [(i, i * 4 * wavenet.frame_length) for i in range(10)]


def test_clips_without_frames_and_no_clips():
    wavenet = make_wavenet()
    clips = make_clips(wavenet, [2, 2, 2])
    empty = clips[1][:0]
    drawn = sample(wavenet, [clips[0], empty, clips[2]], SamplingOptions(), slots=1)
    assert [classes.shape[1] for classes in drawn] == [2 * HOP, 0, 2 * HOP]
    assert sample(wavenet, [], SamplingOptions(), slots=1) == []
    assert [classes.shape[1] for classes in sample(wavenet, [empty], SamplingOptions(), slots=2)] == [0]


@pytest.mark.parametrize("device", DEVICES)
def test_frequencies_follow_the_probabilities(device):
    """The first samples of many clips are draws from one distribution."""
    wavenet = make_wavenet(classes=16).to(device)
    clip = make_clips(wavenet, [1])[0]
    drawn = sample(wavenet, [clip] * 2000, SamplingOptions(seed=1), slots=1000)
    first = np.array([classes[0, 0] for classes in drawn])
    previous = torch.tensor([[wavenet.silence]], device=device)
    logits = TorchStepper(wavenet, 1).step(previous, clip[:1])
    expected = torch.softmax(logits[0, 0].double(), 0).cpu().numpy()
    _, p = stats.chisquare(np.bincount(first, minlength=16), 2000 * expected)
    assert p > 1e-3
    assert stats.chisquare(np.bincount(first, minlength=16)).pvalue < 1e-6  # not simply even


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("shape", ["plain", "kernel 3", "kernel 1", *IN_BANDS])
def test_recorded_steps_on_a_gpu_equal_the_plain_stepper(shape):
    """Blocks side by side, each with a graph of its own, in float64: draws are the same unless something is wrong."""
    wavenet = make_wavenet(shape).double()
    options = SamplingOptions(temperature=0.9, top_p=0.9, seed=5)
    units = [70, 1, 33, 2, 64, 1, 1, 17, 16, 15]
    clips = make_clips(wavenet, units)
    plain = [sample_plainly(wavenet, clip, random_stream(5, i), options) for i, clip in enumerate(clips)]
    for repeat in range(2):
        drawn = sample(wavenet.cuda(), [clip.cuda() for clip in clips], options, slots=3)
        for i, (expected, classes) in enumerate(zip(plain, drawn, strict=True)):
            np.testing.assert_array_equal(classes, expected, err_msg=f"clip {i}, repeat {repeat}")
