"""Sampling sample by sample: equal to the WaveNet's forward pass, draws that follow its probabilities."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch_stepper import TorchStepper

from audio_vq.codec import workers
from audio_vq.codec.bands import joined
from audio_vq.codec.decode import conditioning_chunks, sample_waveforms, teacher_forced_logits
from audio_vq.codec.drawing import SamplingOptions, draw, random_steps, random_stream
from audio_vq.codec.graph import sample_on_gpu
from audio_vq.codec.sampler import Sampler
from audio_vq.errors import UserError
from audio_vq.models.bands import Bands
from audio_vq.models.conditioner import Conditioner
from audio_vq.models.period import PitchPeriod
from audio_vq.models.wavenet import WaveNet

DIM, SPEAKERS = 5, 3
SHAPES = {  # bands, layers, cycle, kernel, R, S, conditioning channels, frames per unit; pitch taps
    "plain": (1, 4, 4, 2, 16, 32, 0, 1),
    "two cycles": (1, 6, 3, 2, 8, 16, 0, 1),
    "odd channels": (1, 4, 3, 2, 11, 13, 6, 2),
    "kernel 3": (1, 4, 3, 3, 7, 9, 6, 1),
    "kernel 1": (1, 3, 3, 1, 8, 8, 0, 1),
    "one layer": (1, 1, 1, 2, 12, 10, 0, 1),
    "one channel": (1, 2, 2, 2, 1, 1, 4, 4),
    "wide skip": (1, 2, 2, 2, 4, 160, 0, 1),  # its hidden layer makes more sums than any other product
    "two bands": (2, 4, 3, 2, 11, 13, 6, 2),
    "two bands, kernel 3": (2, 3, 3, 3, 8, 8, 0, 1),
    "four bands": (4, 4, 4, 2, 16, 32, 6, 1),
    "four bands, kernel 1": (4, 2, 2, 1, 16, 40, 0, 1),
    "a pitch tap": (1, 3, 3, 2, 11, 13, 0, 1, 1),
    "pitch taps in four bands": (4, 4, 4, 2, 16, 32, 6, 2, 3),
}
IN_BANDS = ["odd channels", "two bands", "four bands", "pitch taps in four bands"]
HOP = 8  # samples per unit
FORMATS = pytest.mark.parametrize("precision", ["float32", "int8"])


def make_wavenet(shape="plain", classes=64, seed=0):
    bands, layers, cycle, kernel, residual, skip, channels, frames, taps = (*SHAPES[shape], 0)[:9]
    torch.manual_seed(seed)
    period = PitchPeriod(SPEAKERS, step_rate=1000, shortest=1 + taps // 2) if taps else None  # of some 7 steps
    conditioner = Conditioner(DIM, SPEAKERS, layers, residual, channels, frames, speaker_channels=2, period=period)
    split = Bands(bands, classes)
    if bands > 1:  # one band has no gain
        split.gain.copy_(torch.linspace(3, 1.5, bands))
    wavenet = WaveNet(split, layers, cycle, kernel, residual, skip, HOP // (bands * frames), conditioner, taps)
    with torch.no_grad():  # as decided as a trained network: fresh ones give all classes nearly the same logits
        wavenet.embedding.weight[bands * classes :].normal_(std=0.5)
        wavenet.output.weight.mul_(8)
        wavenet.hidden.weight.mul_(2)
    return wavenet.eval().requires_grad_(False)


def make_inputs(units, batch=2, classes=64, seed=1, bands=1):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (batch, bands, units * HOP // bands), generator=generator)
    latents = torch.randn(batch, DIM, units, generator=generator)
    return targets, latents, torch.arange(batch) % SPEAKERS


def all_conditioning(wavenet, latents, speaker):
    """`(batch, frames, layers, 2R)`, of whole clips at once."""
    return wavenet.conditioner(latents, speaker).transpose(1, 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_logits_equal_the_forward_pass(shape):
    wavenet = make_wavenet(shape)
    units = 2 * wavenet.receptive_field // HOP + 3  # every ring goes round
    targets, latents, speaker = make_inputs(units, bands=wavenet.bands.bands)
    fast = teacher_forced_logits(wavenet, targets, latents, speaker, "float32")
    exact = wavenet.double()(targets, latents.double(), speaker)
    # float32 rounds a sum of n products to about n · 2^-24 of the sum of their sizes, here at worst a few
    # tens per matrix; the errors of the layers add up
    bound = 2**-24 * 64 * len(wavenet.layers) * exact.abs().max()
    assert (fast.double() - exact).abs().max() < bound
    assert exact.std() > 1e3 * bound  # an error of substance would be seen


@pytest.mark.parametrize("shape", ["plain", "two cycles", "odd channels", "kernel 3", "wide skip", "four bands"])
def test_rounded_weights_stay_near_float32(shape):
    """The Kullback–Leibler divergence in nats per sample that a format may cost to be the default."""
    wavenet = make_wavenet(shape)
    inputs = make_inputs(units=60, bands=wavenet.bands.bands)
    exact = torch.log_softmax(wavenet(*inputs).double(), 1)
    rounded = torch.log_softmax(teacher_forced_logits(wavenet, *inputs, "int8").double(), 1)
    divergence = (exact.exp() * (exact - rounded)).sum(1).mean()
    assert 0 < divergence < 1e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_torch_stepper_equals_the_forward_pass_in_float64(shape):
    wavenet = make_wavenet(shape).double()
    bands, units = wavenet.bands.bands, wavenet.receptive_field // HOP + 3
    targets, latents, speaker = make_inputs(units, bands=bands)
    latents = latents.double()
    conditioning = all_conditioning(wavenet, latents, speaker)
    stepper = TorchStepper(wavenet, len(targets))
    previous, steps = torch.full((len(targets), bands), wavenet.silence), []
    for t in range(targets.shape[2]):
        steps.append(stepper.step(previous, conditioning[:, t // wavenet.frame_length]))
        previous = targets[..., t]
    torch.testing.assert_close(
        torch.stack(steps, 3).transpose(1, 2), wavenet(targets, latents, speaker), rtol=0, atol=1e-9
    )


def test_conditioning_in_chunks_equals_that_of_the_whole_clip():
    for shape in ("plain", "odd channels", "one channel"):
        wavenet = make_wavenet(shape).double()
        _, latents, speaker = make_inputs(units=11, batch=1)
        chunks = list(conditioning_chunks(wavenet.conditioner, latents[0].double(), 0, block=3))
        assert len(chunks) == 4
        torch.testing.assert_close(
            torch.cat(chunks), all_conditioning(wavenet, latents.double(), speaker)[0], rtol=0, atol=1e-12
        )


@FORMATS
@pytest.mark.parametrize("shape", IN_BANDS)
def test_a_clip_is_the_same_alone_and_in_company(precision, shape, monkeypatch):
    monkeypatch.setattr(workers, "ROWS", 3)  # some clips wait
    wavenet = make_wavenet(shape)
    _, latents, _ = make_inputs(units=13, batch=8)
    clips = [latents[i, :, :units] for i, units in enumerate([13, 5, 9, 4, 12, 1, 13, 8])]
    speakers, streams = [0, 1, 2, 0, 1, 2, 0, 1], [7, 0, 2, 9, 0, 1, 3, 4]
    options = SamplingOptions(seed=3)
    for threads in (1, 2):
        together = sample_waveforms(wavenet, clips, speakers, options, streams, precision, threads)
        for clip, speaker, stream, batched in zip(clips, speakers, streams, together, strict=True):
            (alone,) = sample_waveforms(wavenet, [clip], [speaker], options, [stream], precision)
            assert len(batched) == clip.shape[1] * HOP
            np.testing.assert_array_equal(alone, batched)


@FORMATS
@pytest.mark.parametrize("shape", ["kernel 3", "two bands", "four bands"])
def test_continued_sampling_equals_uninterrupted(precision, shape):
    wavenet = make_wavenet(shape)
    sampler, options = Sampler(wavenet, precision), SamplingOptions(temperature=0.8, top_p=0.9)
    _, latents, speaker = make_inputs(units=12, batch=1)
    frames = all_conditioning(wavenet, latents, speaker).contiguous().numpy()

    def run(cuts):
        states, random, drawn = sampler.streams(1), random_stream(0, 0), []
        for part in np.split(frames, cuts, axis=1):
            uniforms = random_steps(random, sampler.bands, part.shape[1] * sampler.frame_length)
            drawn.append(sampler.sample(states, np.zeros(1, int), part, uniforms[None], options))
        return np.concatenate(drawn, 2)

    np.testing.assert_array_equal(run([]), run([1, 2, 7]))


@pytest.mark.parametrize("shape", IN_BANDS)
def test_the_gpu_path_draws_what_the_kernel_draws(shape):
    wavenet = make_wavenet(shape)
    _, latents, _ = make_inputs(units=9, batch=3)
    clips = [latents[0], latents[1, :, :3], latents[2, :, :6]]
    each = tuple(np.linspace(0.6, 1.2, wavenet.bands.bands))
    for options in (SamplingOptions(seed=1), SamplingOptions(temperature=each, top_p=0.8, seed=2)):
        compiled = sample_waveforms(wavenet, clips, [0, 1, 2], options, precision="float32")
        chunks = [conditioning_chunks(wavenet.conditioner, clip, i, 8) for i, clip in enumerate(clips)]
        recorded = sample_on_gpu(wavenet, chunks, [random_stream(options.seed, i) for i in range(3)], options, slots=2)
        for one, classes in zip(compiled, recorded, strict=True):
            # a draw could differ where float32 rounding moves a class' edge over the random number: about one
            # in a million, and none with these seeds
            np.testing.assert_array_equal(one, joined(wavenet.bands, classes))


def kernel_draws(logits, uniforms, options):
    """The kernel's classes for independent draws from the same logits: a WaveNet whose output is its bias."""
    wavenet = make_wavenet("kernel 1", classes=len(logits))
    wavenet.output.weight.zero_()
    wavenet.output.bias.copy_(torch.from_numpy(logits))
    sampler = Sampler(wavenet, "float32")
    frames = np.zeros((1, 1, 3, 16), np.float32)
    return sampler.sample(sampler.streams(1), np.zeros(1, int), frames, uniforms[None, None], options)[0, 0]


def torch_draws(logits, uniforms, options):
    rows = torch.from_numpy(logits).expand(len(uniforms), -1)
    return draw(rows, torch.from_numpy(uniforms), options).numpy()


def nucleus(logits, options):
    """Plain oracle: probabilities `(classes,)` after temperature and top-p, float64."""
    p = np.exp(logits.astype(np.float64) / options.temperature)
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    kept = order[: int(np.searchsorted(np.cumsum(p[order]), options.top_p)) + 1]
    out = np.zeros_like(p)
    out[kept] = p[kept]
    return out / out.sum()


DRAWERS = pytest.mark.parametrize("draws", [kernel_draws, torch_draws])


@DRAWERS
@pytest.mark.parametrize(
    "options",
    [SamplingOptions(), SamplingOptions(temperature=1.7), SamplingOptions(temperature=0.6, top_p=0.8)],
)
def test_classes_are_drawn_as_often_as_their_probability(draws, options):
    rng = np.random.default_rng(5)
    logits = rng.standard_normal(40).astype(np.float32)
    expected = nucleus(logits, options) * 40_000
    counts = np.bincount(draws(logits, rng.random(40_000), options), minlength=40)
    inside = expected > 0
    assert counts[~inside].sum() == 0
    assert stats.chisquare(counts[inside], expected[inside]).pvalue > 0.001


@DRAWERS
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.0, 0.1, 1.0, 5.0, 40.0]),
    top_p=st.sampled_from([1e-6, 0.1, 0.5, 0.9, 0.999, 1.0]),
    temperature=st.sampled_from([0.01, 0.5, 1.0, 3.0]),
)
def test_draws_stay_inside_the_nucleus(draws, seed, scale, top_p, temperature):
    rng = np.random.default_rng(seed)
    options = SamplingOptions(temperature=temperature, top_p=top_p)
    logits = (scale * rng.standard_normal(32)).astype(np.float32)
    edges = np.array([0.0, 1e-12, 1 - 2**-53])
    classes = draws(logits, np.concatenate([edges, rng.random(200)]), options)
    p = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    more_likely = np.array([p[p > p[c]].sum() for c in range(32)]) / p.sum()
    # a class belongs where the more likely ones hold less than top_p; the margin is float32 rounding
    assert (more_likely[classes] < top_p + 1e-5).all()


def test_temperature_lowers_the_entropy_of_what_is_drawn():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal(40).astype(np.float32)
    uniforms = rng.random(5000)
    entropies = [
        stats.entropy(np.bincount(kernel_draws(logits, uniforms, SamplingOptions(temperature=t))))
        for t in (2.0, 1.0, 0.5, 0.1)
    ]
    assert all(warm > cold + 0.1 for warm, cold in itertools.pairwise(entropies))


def test_an_almost_zero_temperature_takes_the_most_likely_class():
    logits = np.random.default_rng(0).standard_normal(40).astype(np.float32)
    classes = kernel_draws(logits, np.random.default_rng(1).random(100), SamplingOptions(temperature=1e-4))
    assert (classes == logits.argmax()).all()


def test_seed_units_and_speaker_decide_the_audio():
    wavenet = make_wavenet()
    _, latents, _ = make_inputs(units=20, batch=1)

    def audio(clip=latents, speaker=0, seed=0):
        return sample_waveforms(wavenet, clip, [speaker], SamplingOptions(seed=seed))[0]

    np.testing.assert_array_equal(audio(), audio())
    others = {
        "seed": audio(seed=1),
        "units": audio(clip=latents.roll(1, 2)),
        "speaker": audio(speaker=1),
    }
    for what, other in others.items():
        assert (audio() != other).mean() > 0.1, what
    assert np.abs(audio()).max() <= 1


@FORMATS
@pytest.mark.parametrize("shape", ["two cycles", "four bands"])
def test_free_running_audio_has_the_likelihood_the_forward_pass_expects(precision, shape):
    """The mean surprise of what was drawn equals the mean entropy: an error in feeding back would show."""
    wavenet = make_wavenet(shape)
    _, latents, speaker = make_inputs(units=500, batch=1)
    sampler, frames = Sampler(wavenet, precision), all_conditioning(wavenet, latents, speaker).contiguous().numpy()
    uniforms = random_steps(random_stream(0, 0), sampler.bands, frames.shape[1] * sampler.frame_length)
    classes = sampler.sample(sampler.streams(1), np.zeros(1, int), frames, uniforms[None], SamplingOptions())
    classes = torch.from_numpy(classes)
    log_p = torch.log_softmax(wavenet.double()(classes, latents.double(), speaker), 1)
    surprise = -log_p.gather(1, classes[:, None])[:, 0]
    difference = surprise - -(log_p.exp() * log_p).sum(1)
    standard_error = difference.std() / difference.numel() ** 0.5
    assert difference.mean().abs() < 3 * standard_error
    assert standard_error < 0.05  # nats


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": ()},
        {"temperature": (0.8, -1.0)},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_impossible_options_are_the_users_mistake(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        SamplingOptions(**wrong)


def test_nothing_to_sample():
    assert sample_waveforms(make_wavenet(), [], [], SamplingOptions()) == []


@pytest.mark.parametrize("shape", IN_BANDS)
def test_a_clip_of_one_unit(shape):
    wavenet = make_wavenet(shape)
    _, latents, _ = make_inputs(units=1, batch=1)
    (waveform,) = sample_waveforms(wavenet, latents, [0], SamplingOptions())
    assert waveform.shape == (HOP,)
    assert waveform.any()


@pytest.mark.parametrize("shape", IN_BANDS)
def test_a_decoder_that_says_silence_is_digitally_silent(shape):
    wavenet = make_wavenet(shape)
    wavenet.output.weight.zero_()
    wavenet.output.bias.zero_().view(-1, wavenet.classes)[:, wavenet.silence] = 100
    _, latents, _ = make_inputs(units=9, batch=1)
    (waveform,) = sample_waveforms(wavenet, latents, [0], SamplingOptions())
    assert not waveform.any()


def test_every_band_has_its_temperature():
    wavenet = make_wavenet("four bands")
    _, latents, speaker = make_inputs(units=30, batch=1)
    sampler, frames = Sampler(wavenet, "float32"), all_conditioning(wavenet, latents, speaker).contiguous().numpy()
    uniforms = random_steps(random_stream(0, 0), 4, frames.shape[1] * sampler.frame_length)[None]

    def drawn(temperature):
        options = SamplingOptions(temperature=temperature)
        return sampler.sample(sampler.streams(1), np.zeros(1, int), frames, uniforms, options)[0]

    np.testing.assert_array_equal(drawn(0.7), drawn((0.7,) * 4))
    classes = drawn((1.0, 1e-4, 1.0, 1e-4))
    likely = teacher_forced_logits(wavenet, torch.from_numpy(classes[None]), latents, speaker, "float32").argmax(1)[0]
    assert ((classes == likely.numpy()).mean(1) == 1).tolist() == [False, True, False, True]


def test_temperatures_are_of_as_many_bands():
    options = SamplingOptions(temperature=(0.8, 0.9, 1.0))
    for shape, bands in (("plain", 1), ("four bands", 4)):
        with pytest.raises(UserError, match=f"3 temperatures for a model of {bands} band"):
            sample_waveforms(make_wavenet(shape), make_inputs(1, 1)[1], [0], options)
