"""Trainings that go wrong, or are unlike most: what is not finite, batches in parts, restarts, a single speaker."""

import json
import signal

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import babble
from safetensors.torch import load_file
from test_cli import call
from test_training import FULL, MODEL, PARTLY_SPOKEN, TRAIN, run_of

from audio_vq.audio.files import write_audio
from audio_vq.data.corpora.folder import find_folder
from audio_vq.data.prepare import Processing, SplitRule, complete, prepare
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.data.writer import CorpusWriter, Spoken
from audio_vq.errors import DivergenceError
from audio_vq.pitch import track
from audio_vq.pretrained import VQVAE
from audio_vq.training import processes, runs
from audio_vq.training.average import WeightAverage
from audio_vq.training.processes import interruptions
from audio_vq.training.runs import run_vqvae
from audio_vq.training.vqvae_task import VQVAETask


def spoiled_at(monkeypatch, step):
    """Spoils a weight of the encoder after a step, as a gradient that is not finite would."""
    original = VQVAETask.after_step

    def after_step(self, accelerator, network, averaged, parts, now):
        original(self, accelerator, network, averaged, parts, now)
        if now == step:
            with torch.no_grad():
                next(network.encoder.parameters()).fill_(torch.inf)

    monkeypatch.setattr(VQVAETask, "after_step", after_step)


def all_finite(folder):
    return all(
        bool(tensor.isfinite().all()) for file in folder.glob("*.safetensors") for tensor in load_file(file).values()
    )


@pytest.mark.parametrize("step", [4, 7])  # with steps in between, and just before the validation at step 8
def test_what_is_not_finite_ends_the_training_with_advice(step, tiny_corpus, tmp_path, monkeypatch):
    run = run_of(tiny_corpus, tmp_path / "run")
    spoiled_at(monkeypatch, step)
    with pytest.raises(
        DivergenceError, match=r"last keeps the last good checkpoint.*lower train.learning_rate \(now 0.002"
    ):
        run_vqvae(run)
    for name in ("last", "best"):
        assert json.loads((tmp_path / "run" / name / "training.json").read_text())["step"] == 4
        assert all_finite(tmp_path / "run" / name)
    (line,) = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["step"] == 4


@pytest.mark.parametrize(("steps", "spoiled"), [(8, 1), (40, 5)])  # at the k-means start, and ten steps before it
def test_what_is_not_finite_before_the_codebook_starts(steps, spoiled, tiny_corpus, tmp_path, monkeypatch):
    spoiled_at(monkeypatch, spoiled)
    with pytest.raises(DivergenceError, match="nothing was saved yet"):
        run_vqvae(run_of(tiny_corpus, tmp_path / "run", steps=steps, validations=1))
    assert not (tmp_path / "run/last").exists()
    assert not (tmp_path / "run/metrics.jsonl").exists()


def test_divergence_is_no_mistake_of_the_user(tiny_corpus, tmp_path, monkeypatch):
    def diverge(*_):
        raise DivergenceError("training diverged")

    monkeypatch.setattr(runs, "train", diverge)
    short = ("train.crop_length=1280", "train.spoken_length=640")
    _, err = call("train", f"data={tiny_corpus}", f"run={tmp_path / 'run'}", "train.steps=1", *short, code=1)
    assert err.splitlines()[-1] == "audio-vq: training diverged"


# ---- batches in parts


def after_steps(corpus, batch_size, parts, steps=8):
    """The task and its network after some steps of `parts` × `batch_size` crops."""
    run = run_of(corpus, "", batch_size=batch_size, gradient_accumulation=parts, mixed_precision="no")
    task = VQVAETask(PreparedCorpus.open(corpus), run.model, run.train, run.seed)
    accelerator, average = Accelerator(cpu=True), WeightAverage(task.network, 0.9)
    optimizer = torch.optim.Adam(task.parameter_groups(1e-3))
    bits = []
    for step in range(steps):
        task.before_step(accelerator, task.network, step / steps, step)
        optimizer.zero_grad()
        results = []
        for part in task.losses(task.network, step, 0):
            (part.loss / parts).backward()
            results.append(part)
        optimizer.step()
        task.after_step(accelerator, task.network, average.model, results, step)
        bits.append(np.mean([part.bits.item() for part in results]))
    return task, bits


def test_parts_of_a_batch_count_as_the_whole(tiny_corpus):
    """1 × 8 and 4 × 2 crops: the same crops, bits and codebook, k-means start and restarts included."""
    (whole, whole_bits), (parts, parts_bits) = (after_steps(tiny_corpus, *sizes) for sizes in ((8, 1), (2, 4)))
    assert whole.seconds_per_step == parts.seconds_per_step
    # sums in another order
    np.testing.assert_allclose(whole_bits, parts_bits, rtol=1e-4)
    for name in ("codebook", "ema_counts", "steps_unused"):
        values = [getattr(task.network.quantizer, name).detach() for task in (whole, parts)]
        torch.testing.assert_close(*values, rtol=1e-2, atol=1e-3)
    crops = [torch.cat([part.waveform for part in task.batches(task.network, 5, 1)]) for task in (whole, parts)]
    assert torch.equal(*crops)


# ---- the codebook


def test_k_means_start_knows_how_large_its_clusters_are(tiny_corpus):
    task = VQVAETask(PreparedCorpus.open(tiny_corpus), MODEL, TRAIN, seed=2**64 - 1)
    assert not task.before_step(Accelerator(cpu=True), task.network, 0.2, 1)
    assert task.before_step(Accelerator(cpu=True), task.network, 0.5, 1)
    quantizer = task.network.quantizer
    assert quantizer.ema_counts.sum() == pytest.approx(2 * 1280 / task.network.hop_length)  # latents of a batch
    assert quantizer.ema_counts.std() > 0
    torch.testing.assert_close(quantizer.ema_sums, quantizer.codebook * quantizer.ema_counts[..., None])


def test_the_averaged_codebook_follows_restarts(tiny_corpus):
    """A restarted vector is the same at once in the model that is validated and published; others are averaged."""
    task, _ = after_steps(tiny_corpus, 2, 1)
    accelerator, average = Accelerator(cpu=True), WeightAverage(task.network, 0.999)
    average.updates = 10_000
    quantizer = task.network.quantizer
    with torch.no_grad():
        quantizer.codebook[:, 3:5] = 100.0  # so far away that nothing chooses them
        quantizer.ema_sums[:, 3:5] = 100.0 * quantizer.ema_counts[:, 3:5, None]
    average.model.load_state_dict(task.network.state_dict())
    quantizer.steps_unused[:, 3:5] = 10
    (part,) = task.losses(task.network, 9, 0)
    task.after_step(accelerator, task.network, average.model, [part], 9)
    average.update(task.network)
    averaged = average.model.quantizer.codebook
    assert quantizer.codebook[:, 3:5].abs().max() < 50
    torch.testing.assert_close(averaged[:, 3:5], quantizer.codebook[:, 3:5])
    others = [0, 1, 2, 5, 6, 7]
    assert not torch.equal(averaged[:, others], quantizer.codebook[:, others])


# ---- interrupts


def test_a_second_interrupt_is_immediate_but_not_its_echo(monkeypatch):
    """Launchers pass on a Ctrl-C that the terminal has already sent: the state is saved nevertheless."""
    clock = [100.0]
    monkeypatch.setattr(processes.time, "monotonic", lambda: clock[0])
    with interruptions() as interrupted:
        assert not interrupted
        signal.raise_signal(signal.SIGINT)
        clock[0] += 0.2
        signal.raise_signal(signal.SIGTERM)
        assert interrupted
        clock[0] += 2.0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


# ---- one speaker


def test_one_speaker_trains_with_figures_that_need_two_left_out(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        write_audio(tmp_path / "recordings" / "ann" / f"{number}.wav", babble(rng, 200.0), 16000)
    prepare(find_folder(tmp_path / "recordings"), tmp_path / "corpus", Processing(), SplitRule(), workers=1)
    run_vqvae(run_of(tmp_path / "corpus", tmp_path / "run", steps=4))
    for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines():
        valid = json.loads(line)["valid"]
        assert valid["bits_wrong_speaker"] is None
        assert valid["bits_true"] > 0
    (sample,) = (tmp_path / "run/samples/step-00000004").glob("*_to_ann.wav")
    assert sample.stat().st_size > 1000
    assert VQVAE.from_pretrained(tmp_path / "run").speakers == ("ann",)


# ---- recordings without voice


def silence(rng):
    return np.zeros(16000)


def hiss(rng):
    return 0.05 * rng.standard_normal(16000)


@pytest.mark.parametrize("sound", [silence, hiss])
def test_recordings_without_voice_train(sound, tmp_path):
    """Nothing is voiced, and of silence all frames are alike: no range, mean or scale may break on that."""
    rng = np.random.default_rng(0)
    with CorpusWriter(tmp_path / "corpus", {"sample_rate": 16000}, force=False) as writer:
        for number in range(8):
            waveform = sound(rng).astype(np.float32)
            samples, pitch = np.round(waveform * 32767).astype(np.int16), track(waveform, 16000)
            assert (pitch > 0).mean() < 0.05
            writer.add(Spoken(f"u{number}", "ab"[number % 2], samples, pitch, f"{number}.wav", f"sentence {number}"))
        complete(writer, SplitRule(), corpus="folder", source="x", settings={"sample_rate": 16000}, speaker_info={})
    run_vqvae(run_of(tmp_path / "corpus", tmp_path / "run", FULL, steps=4, validations=1, **PARTLY_SPOKEN))
    (line,) = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["valid"]["bits_true"] > 0
    assert all_finite(tmp_path / "run/last")
