"""`audio-vq bench`: names, baselines and arithmetic; never how fast anything is."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from test_cli import call, mistake

from audio_vq import VQVAE
from audio_vq.audio.files import write_audio
from audio_vq.bench import formats, gpu, machine, measurement, prior, runner, sampling, training
from audio_vq.bench.decoder import Speech, make_decoder
from audio_vq.bench.measurement import Budget, take_turns
from audio_vq.bench.plain_wavenet import PlainWaveNet, RowsWaveNet
from audio_vq.checkpoint import CheckpointInfo
from audio_vq.codec.drawing import SamplingOptions, random_stream
from audio_vq.codec.prior import sample_units
from audio_vq.config import (
    EncoderConfig,
    ModelConfig,
    PriorConfig,
    QuantizerConfig,
    TrainConfig,
    WaveNetConfig,
    as_dict,
)
from audio_vq.errors import UserError
from audio_vq.machine import describe_machine
from audio_vq.models.prior import build_prior
from audio_vq.models.vqvae import build_vqvae

BUDGET = Budget(seconds=0.01)
CONTRACT = [
    "wavenet_plain_samples_per_s",
    "wavenet_single_samples_per_s",
    "wavenet_batched_samples_per_s",
    "wavenet_single_realtime",
    "wavenet_batched_realtime",
    "machine_gmacs",
    "wavenet_fraction_of_peak",
    "train_plain_audio_seconds_per_s",
    "train_audio_seconds_per_s",
    "encode_realtime",
    "prior_units_per_s",
    "prior_plain_units_per_s",
]


def tiny_config(bands=1):
    return ModelConfig(
        sample_rate=4000,
        mu_law_classes=64,
        encoder=EncoderConfig(strides=[2, 4], channels=16),
        quantizer=QuantizerConfig(codebook_size=8, dim=6),
        wavenet=WaveNetConfig(bands, layers=3, dilation_cycle=3, residual_channels=16, skip_channels=16),
    )


def make_vqvae(seed=0, bands=1):
    torch.manual_seed(seed)
    config = tiny_config(bands)
    network = build_vqvae(config, num_speakers=2).eval().requires_grad_(False)
    return VQVAE(network, config, CheckpointInfo("vqvae", as_dict(config), ("ann", "ben")))


def make_tiny(speech=None, seconds=0.1, trained=False, prefix="", bands=1):
    return make_decoder(make_vqvae(bands=bands), speech, seconds, prefix, {"decoder": "tiny"}, trained)


BANDS = pytest.mark.parametrize("bands", [1, 4])


def everything(_name):
    return True


class Clock:
    """Time that passes only when work is done."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def work(self, seconds, amount, calls, name):
        def run():
            calls.append(name)
            # the machine slows down as time goes by
            self.now += seconds * (1 + self.now)
            return amount

        return run


def test_contenders_take_turns_and_drift_cancels(monkeypatch):
    clock, calls = Clock(), []
    monkeypatch.setattr(measurement, "time", clock)
    contenders = {"plain": clock.work(4e-4, 1, calls, "plain"), "fast": clock.work(1e-4, 3, calls, "fast")}
    rates = take_turns(contenders, seconds=0.01)
    assert {name: len(rounds) for name, rounds in rates.rounds.items()} == {"plain": 5, "fast": 5}
    assert calls[:2] == ["plain", "fast"]  # the call that does not count
    turns = [name for i, name in enumerate(calls[2:]) if i == 0 or name != calls[1 + i]]
    assert turns == ["plain", "fast"] * 5
    assert rates.rounds["plain"][-1] < rates.rounds["plain"][0]  # it did slow down
    assert rates.ratio("fast", "plain") == pytest.approx(12, rel=0.01)
    assert rates.median("plain") == sorted(rates.rounds["plain"])[2]


def test_machine_peaks_are_of_real_multiply_adds():
    sums = np.arange(machine.SUMS, dtype=np.float32)
    machine.multiply_and_add(sums, 1)
    np.testing.assert_array_equal(sums, np.arange(machine.SUMS) / 2 + 0.5)
    machine.multiply_and_add(sums, 100)
    np.testing.assert_allclose(sums, 1)  # where x → x / 2 + 1 / 2 ends
    assert machine.burst() == machine.BURST * machine.SUMS
    rows = machine.measure_machine(0.001)
    assert [row.name for row in rows] == list(machine.NAMES)
    assert all(0 < row.value < math.inf for row in rows)
    assert describe_machine()["cpu"]


@BANDS
def test_a_fresh_decoder_is_made_as_decided_as_a_trained_one(bands):
    decoder = make_tiny(bands=bands)
    targets = torch.randint(64, (1, bands, 64 // bands), generator=torch.Generator().manual_seed(0))
    logits = decoder.wavenet(targets, decoder.latents[None, :, :8], decoder.voice)
    entropy = torch.distributions.Categorical(logits=logits.movedim(1, 3)).entropy().mean() / math.log(2)
    assert entropy == pytest.approx(4.0, abs=1e-3)


def test_multiply_adds_are_counted():
    decoder = make_tiny()
    # 3 layers: 2 taps of 16 × 32; 2 residuals; skips 48 × 16; hidden; output
    assert decoder.multiply_adds == 3 * 2 * 16 * 32 + 2 * 16 * 16 + 48 * 16 + 16 * 16 + 16 * 64
    assert decoder.hop_length == 8
    assert make_tiny(bands=4).hop_length == 8
    # per sample, of which a step has four
    assert make_tiny(bands=4).multiply_adds == decoder.multiply_adds / 4 + 16 * 64 * 3 / 4


def test_recorded_speech_is_what_a_trained_decoder_is_given():
    model = make_vqvae()
    waveform = np.sin(np.arange(803) / 5).astype(np.float32)
    before = model.network.wavenet.output.weight.clone()
    decoder = make_decoder(model, Speech(waveform, 1), 9.0, "", {}, trained=True)
    assert torch.equal(model.network.wavenet.output.weight, before)
    assert decoder.targets.shape == (1, 800)
    assert decoder.voice.tolist() == [1]
    units = model.encode(waveform[:800], 4000, match_level=False)
    torch.testing.assert_close(decoder.latents, model.codec.lookup(units))
    assert make_tiny(Speech(waveform), seconds=0.1).targets.shape == (1, 400)
    assert make_tiny(Speech(waveform), seconds=0.1, bands=4).targets.shape == (4, 100)


@BANDS
def test_sampling_rows_have_their_baselines(bands):
    decoder = make_tiny(prefix="p_", bands=bands)
    rows = {row.name: row for row in sampling.measure_sampling(decoder, BUDGET, everything)}
    assert {f"p_{name}" for name in sampling.NAMES if "two_threads" not in name} <= set(rows)
    for row in rows.values():
        assert 0 < row.value < math.inf
        assert row.baseline is None or row.ratio > 0
        assert row.context["decoder"] == "tiny"
        assert row.context["bands"] == bands
    single = rows["p_wavenet_single_samples_per_s"]
    assert single.baseline == "p_wavenet_plain_samples_per_s"
    assert rows["p_wavenet_single_realtime"].value == pytest.approx(single.value / 4000)
    assert rows["p_wavenet_fraction_of_peak"].value < 1


def test_only_what_is_asked_for_is_sampled():
    rows = sampling.measure_sampling(make_tiny(), BUDGET, lambda name: name == "wavenet_single_realtime")
    names = {"wavenet_plain_samples_per_s", "wavenet_single_samples_per_s", "wavenet_single_realtime"}
    assert {row.name for row in rows} == names


def test_plain_sampler_counts_its_samples():
    assert sampling.plain_sampler(make_tiny(), streams=3)() == sampling.PLAIN_STEPS * 3
    assert sampling.plain_sampler(make_tiny(bands=4), streams=3)() == sampling.PLAIN_STEPS * 3 * 4


@BANDS
def test_formats_diverge_a_little_on_own_and_on_recorded_speech(bands):
    waveform = np.sin(np.arange(803) / 5).astype(np.float32)
    for speech, said in ((None, "the decoder's own"), (Speech(waveform), "recorded")):
        rows = formats.measure_formats(make_tiny(speech, seconds=0.2, bands=bands))
        assert [row.name for row in rows] == list(formats.NAMES)
        for row in rows:
            assert 0 <= row.value < 0.05
            assert row.context["speech"] == said
            assert row.context["samples"] == 800


@BANDS
def test_gpu_rows(bands):
    """With the CPU in its place."""
    rows = gpu.measure_gpu(make_tiny(bands=bands), BUDGET, device="cpu", streams=(3,))
    assert [row.name for row in rows] == [name.replace("256", "3") for name in gpu.NAMES[:3]]
    assert all(0 < row.value < math.inf for row in rows)
    assert rows[1].baseline == rows[0].name


@BANDS
def test_plain_decoders_have_the_loss_of_the_wavenet(bands):
    decoder = make_tiny(bands=bands)
    targets = torch.randint(64, (1, bands, 64 // bands), generator=torch.Generator().manual_seed(0))
    arguments = targets, decoder.latents[None, :, :8], decoder.voice
    expected = decoder.wavenet.loss(*arguments)
    for plain in (PlainWaveNet(decoder.wavenet), RowsWaveNet(decoder.wavenet)):
        torch.testing.assert_close(plain.loss(*arguments), expected, rtol=1e-5, atol=0)


def test_training_is_measured_of_models_that_hear_more_than_the_waveform():
    config = ModelConfig(
        sample_rate=4000,
        mu_law_classes=16,
        pitch=5,
        encoder=EncoderConfig(strides=[1], channels=8, filterbank=8, centred=True),
        quantizer=QuantizerConfig(codebook_size=8, dim=6, groups=2),
        wavenet=WaveNetConfig(2, 2, 2, 2, 16, 16, conditioning_channels=8, spectrum_weight=1.0),
    )
    rows = training.measure_training(config, BUDGET, TrainConfig(batch_size=2, crop_length=320, spoken_length=160))
    assert {row.name for row in rows} == set(training.NAMES)
    assert all(row.context["bands"] == 2 for row in rows)


@pytest.mark.parametrize("sizes", [(12,), (12, 12, 5)])
def test_the_priors_baseline_draws_the_same_units(sizes):
    torch.manual_seed(0)
    network = build_prior(PriorConfig(layers=2, heads=2, channels=16, context=20), sizes, 2).eval().double()
    speaker = torch.tensor([1])
    uniforms = torch.from_numpy(random_stream(3, 0).random((19, len(sizes))))[None]
    plain = prior.plain_units(network, speaker, uniforms)
    np.testing.assert_array_equal(plain, sample_units(network, speaker, 19, SamplingOptions(seed=3)))


def test_prior_rows():
    rows = prior.measure_prior(PriorConfig(layers=1, heads=2, channels=16, context=8), (12, 5), BUDGET)
    assert tuple(row.name for row in rows) == prior.NAMES
    assert rows[1].baseline == rows[0].name
    assert all(0 < row.value < math.inf for row in rows)


def make_subjects():
    tiny, other = runner.Model(make_vqvae(), "tiny", False), runner.Model(make_vqvae(1, 4), "other", False, "other_")
    train = TrainConfig(batch_size=2, crop_length=160)
    return runner.Subjects([tiny, other], tiny, train, PriorConfig(layers=1, heads=2, channels=16, context=8))


def test_all_names_of_the_contract_are_measured():
    rows = runner.run_benchmark(make_subjects(), BUDGET)
    names = [row.name for row in rows]
    assert set(CONTRACT) <= set(names)
    assert {f"other_{name}" for name in CONTRACT if name.startswith("wavenet")} <= set(names)
    assert len(names) == len(set(names))
    for row in rows:
        assert math.isfinite(row.value)
        assert row.baseline in {None, "real time", "float32 weights", *names}
        assert row.ratio is None or math.isfinite(row.ratio)


def test_runner_measures_what_is_asked_for():
    before = torch.get_num_threads()
    rows = runner.run_benchmark(
        make_subjects(), dataclasses.replace(BUDGET, threads=2), ["prior_units", "other_wavenet_single_r"]
    )
    assert [row.name for row in rows] == ["other_wavenet_single_realtime", "prior_units_per_s"]
    assert rows[0].context["decoder"] == "other"
    assert rows[0].context["threads"] == 2
    assert rows[0].context["cpu"]
    assert torch.get_num_threads() == before
    with pytest.raises(UserError, match="nothing measured is called xyz"):
        runner.run_benchmark(make_subjects(), BUDGET, ["xyz"])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "tiny"
    make_vqvae().save_pretrained(folder)
    return folder


def test_json(checkpoint):
    out, _ = call("bench", checkpoint, "--seconds", 0.01, "--only", "wavenet_single,machine", "--json")
    found = json.loads(out)
    assert found["context"]["cpu"]
    assert found["context"]["checkpoint"] == str(checkpoint)
    rows = {row["name"]: row for row in found["results"]}
    assert {"wavenet_single_samples_per_s", "wavenet_single_realtime", "machine_gmacs"} <= set(rows)
    for row in rows.values():
        assert {"name", "value", "unit", "ratio", "baseline", "context"} == set(row)
    assert rows["wavenet_single_samples_per_s"]["context"]["weights"] == "trained"


def test_table_and_speech_of_a_corpus(checkpoint, tmp_path):
    write_audio(tmp_path / "a.wav", np.sin(np.arange(1600) / 9).astype(np.float32), 1600)
    out, err = call("bench", checkpoint, "--seconds", 0.1, "--only", "int8_kl, single_real", "--speech", tmp_path)
    assert "wavenet_int8_kl_nats_per_sample" in out
    assert "wavenet_single_realtime" in out
    assert not any(line.startswith("│ wavenet_single_samples") for line in out.splitlines())
    assert "weight formats" in err


def test_presets_are_measured_without_a_checkpoint():
    out, _ = call("bench", "--seconds", 0.01, "--only", "wavenet_single_float32", "--json")
    names = {row["name"]: row["context"]["decoder"] for row in json.loads(out)["results"]}
    assert names == {
        "wavenet_single_float32_samples_per_s": "wavenet_reference",
        "small_wavenet_single_float32_samples_per_s": "small",
    }


def test_mistakes_and_help(tmp_path):
    assert "--seconds 0" in mistake("bench", "--seconds", 0)
    assert "--threads 0" in mistake("bench", "--threads", 0)
    assert "nothing" in mistake("bench", tmp_path / "nothing")
    out, _ = call("bench", "--help")
    assert "Example: audio-vq bench" in out
    assert "[default: 2.0]" in out
