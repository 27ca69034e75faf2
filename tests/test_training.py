import dataclasses
import errno
import json
import shutil
import signal
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from audio_vq import checkpoint
from audio_vq.config import EncoderConfig, ModelConfig, QuantizerConfig, TrainConfig, TrainRun, WaveNetConfig
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError
from audio_vq.models.vqvae import Heard
from audio_vq.pretrained import VQVAE
from audio_vq.training.average import WeightAverage
from audio_vq.training.runs import run_vqvae
from audio_vq.training.schedule import Budget, due, learning_rate_factor
from audio_vq.training.vqvae_task import VQVAETask

MODEL = ModelConfig(
    encoder=EncoderConfig(strides=[2], channels=16, residual_blocks=1, layer_norm=True, filterbank=16),
    quantizer=QuantizerConfig(
        codebook_size=8, dim=8, update="ema", continuous_share=0.3, kmeans_start=True, restart_after=3
    ),
    wavenet=WaveNetConfig(
        layers=4, dilation_cycle=4, residual_channels=16, skip_channels=16, speaker_channels=4,
        conditioning_channels=8, conditioning_frames=2,
    ),
)  # fmt: skip
TRAIN = TrainConfig(steps=8, batch_size=2, crop_length=1280, warmup_steps=2, validations=2, validation_crops=4)
# with bands, groups, pitch, an encoder that is centred, and a spectrum to say
FULL = dataclasses.replace(
    MODEL,
    pitch=9,
    encoder=dataclasses.replace(MODEL.encoder, centred=True),
    quantizer=dataclasses.replace(MODEL.quantizer, groups=2),
    wavenet=dataclasses.replace(MODEL.wavenet, bands=2, spectrum_weight=0.5, pitch_taps=1),
)
PARTLY_SPOKEN = {"spoken_length": 640, "warp": 0.2, "equaliser_db": 3.0, "optimizer": "muon"}


def run_of(corpus, folder, model=MODEL, init="", **changes):
    train = dataclasses.replace(TRAIN, **changes)
    return TrainRun(data=str(corpus), run=str(folder), init=str(init), model=model, train=train, seed=3, device="cpu")


def test_resumed_equals_uninterrupted_bit_for_bit(sung_corpus, tmp_path, capsys):
    """Weights, averages, moments and validation of a run of 8 steps, in one go and stopped at step 5."""
    run_vqvae(run_of(sung_corpus, tmp_path / "whole", FULL, **PARTLY_SPOKEN))

    stopped = run_of(sung_corpus, tmp_path / "parts", FULL, **PARTLY_SPOKEN)
    with pytest.MonkeyPatch.context() as patch:
        original = VQVAETask.after_step

        def after_step(self, accelerator, network, averaged, parts, step):
            original(self, accelerator, network, averaged, parts, step)
            if step == 4:
                signal.raise_signal(signal.SIGTERM)

        patch.setattr(VQVAETask, "after_step", after_step)
        with pytest.raises(KeyboardInterrupt):
            run_vqvae(stopped)
    told = f"interrupted; {tmp_path / 'parts'} keeps step 5, and the same command goes on from there"
    assert told in capsys.readouterr().err
    assert json.loads((tmp_path / "parts/last/training.json").read_text())["step"] == 5
    (tmp_path / "parts/checkpoints/.partial-killed").mkdir()  # as a kill in the middle of a save leaves it
    run_vqvae(stopped)
    assert not list((tmp_path / "parts/checkpoints").glob(".*"))
    for name in ("model.safetensors", "training.safetensors"):
        whole, parts = (load_file(tmp_path / run / "last" / name) for run in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        for key in whole:
            assert torch.equal(whole[key], parts[key]), key
    metrics = [
        [json.loads(line)["valid"] for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("whole", "parts")
    ]
    assert metrics[0] == metrics[1]


@pytest.fixture(scope="module")
def finished(tiny_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    run_vqvae(run_of(tiny_corpus, folder))
    return folder


def test_run_folder_holds_what_the_contract_names(finished):
    for name in ("checkpoints", "best", "last", "config.yaml", "metrics.jsonl", "tensorboard", "samples"):
        assert (finished / name).exists(), name
    assert list(finished.glob("samples/*/*.wav"))
    assert {path.name for path in (finished / "best/").iterdir()} >= {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
    for line in lines:
        assert line.keys() >= {
            "step", "seconds", "audio_hours_seen", "audio_seconds_per_second", "train_bits_per_sample", "valid",
            "perplexity", "used_units", "codebook_size",
        }  # fmt: skip
        assert line["valid"].keys() == {"bits_true", "bits_shuffled", "bits_zero", "bits_wrong_speaker"}
    assert lines[-1]["audio_hours_seen"] == pytest.approx(8 * 2 * 1280 / 16000 / 3600, abs=1e-6)


def test_a_finished_run_stays_as_it_is_and_a_larger_budget_continues_it(finished, tiny_corpus, tmp_path):
    before = {file: file.read_bytes() for file in finished.glob("*/*/*.*") if "tensorboard" not in file.parts}
    metrics = (finished / "metrics.jsonl").read_text()
    run_vqvae(run_of(tiny_corpus, finished))
    assert {file: file.read_bytes() for file in before} == before
    assert (finished / "metrics.jsonl").read_text() == metrics

    longer = tmp_path / "longer"
    shutil.copytree(finished, longer, symlinks=True)
    run_vqvae(run_of(tiny_corpus, longer, steps=12, validations=3))
    assert (longer / "metrics.jsonl").read_text().startswith(metrics)
    assert [json.loads(line)["step"] for line in (longer / "metrics.jsonl").read_text().splitlines()] == [4, 8, 12]
    assert json.loads((longer / "last/training.json").read_text())["step"] == 12


def test_another_configuration_is_refused(finished, tiny_corpus):
    other = run_of(tiny_corpus, finished, learning_rate=0.5)
    with pytest.raises(UserError, match=r"another configuration .*learning_rate 0.002 → 0.5"):
        run_vqvae(other)


def test_checkpoint_alone_encodes_and_decodes(finished, tiny_corpus):
    model = VQVAE.from_pretrained(finished)
    prepared = PreparedCorpus.open(tiny_corpus)
    waveform = prepared.waveform(prepared.utterances[0])
    units = model.encode(waveform, 16000)
    assert len(units) == -(-len(waveform) // model.hop_length)
    audio = model.decode(units[:10], prepared.speakers[1])
    assert audio.shape == (10 * model.hop_length,)
    assert np.abs(audio).max() <= 1
    assert np.array_equal(audio, model.decode(units[:10], prepared.speakers[1]))
    assert not np.array_equal(audio, model.decode(units[:10], prepared.speakers[0]))
    assert not np.array_equal(audio, model.decode(units[:10], prepared.speakers[1], seed=1))


def test_encoding_does_not_depend_on_padding_or_repetition(finished, tiny_corpus):
    """Equal units, but for those within the encoder's reach of the recording's ends."""
    model = VQVAE.from_pretrained(finished)
    prepared = PreparedCorpus.open(tiny_corpus)
    waveform = prepared.waveform(prepared.utterances[0])
    units = model.encode(waveform, 16000)
    assert np.array_equal(units, model.encode(waveform, 16000))
    edge = -(-model.network.encoder.reach // model.hop_length)
    padded = np.pad(waveform, (5 * model.hop_length, 9 * model.hop_length))
    inside = model.encode(padded, 16000)[5 : 5 + len(units)]
    assert np.array_equal(inside[edge:-edge], units[edge:-edge])


def test_codebook_moves_in_training_and_stays_in_use(finished, tiny_corpus):
    before = load_file(finished / "best/model.safetensors")["quantizer.codebook"]
    model = VQVAE.from_pretrained(finished)
    model.network(Heard(torch.randn(2, 1280), torch.tensor([0, 1])))
    assert torch.equal(model.network.quantizer.codebook, before)
    state = load_file(finished / "last/training.safetensors")
    assert state["model.quantizer.started"]
    assert state["model.quantizer.ema_counts"].sum() > 0


def test_a_full_disk_leaves_the_last_checkpoint(tiny_corpus, tmp_path, monkeypatch):
    """The second save fails; the run stands at the first and goes on from there."""
    run = run_of(tiny_corpus, tmp_path / "run")
    saves = []

    def save(tensors):
        saves.append(tensors)
        if len(saves) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(tensors)

    original = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(OSError, match="No space left"):
        run_vqvae(run)
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000004"]
    monkeypatch.setattr(checkpoint, "save", original)
    run_vqvae(run)
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert steps == [4, 8]


def test_a_step_counts_what_is_spoken(tiny_corpus):
    """Not what is only heard: hours of audio compare between runs."""
    run = run_of(tiny_corpus, "", FULL, **PARTLY_SPOKEN)
    task = VQVAETask(PreparedCorpus.open(tiny_corpus), run.model, run.train, run.seed)
    assert task.seconds_per_step == pytest.approx(2 * 640 / 16000)


def test_bands_use_all_of_their_classes(tiny_corpus):
    """The gain is found from the corpus when training begins, and published with the model."""
    run = run_of(tiny_corpus, "", FULL)
    task = VQVAETask(PreparedCorpus.open(tiny_corpus), run.model, run.train, run.seed)
    bands = task.network.wavenet.bands
    assert bands.gain.shape == (2,)
    assert "wavenet.bands.gain" in task.network.state_dict()
    crops = torch.cat([task.crops.batch(step).waveform for step in range(32)])
    signals = (bands.split(crops) * bands.gain[:, None]).abs()
    beyond = (signals > 0.8).double().mean((0, 2))
    assert beyond.tolist() == pytest.approx([0.0005, 0.0005], abs=2e-4)


def test_speakers_kept_for_testing_are_no_voices(spoken_corpus, tmp_path):
    """A model must not offer a voice it never heard."""
    corpus = PreparedCorpus.open(spoken_corpus)
    kept = corpus.speakers[-1]
    moved = [dataclasses.replace(u, split="test") if u.speaker == kept else u for u in corpus.utterances]
    trainable = dataclasses.replace(corpus, utterances=tuple(moved)).trainable()
    assert trainable.speakers == corpus.speakers[:-1]
    assert {u.speaker for u in trainable.utterances} == set(trainable.speakers)


def test_crops_that_do_not_fit_the_hop_are_refused(tiny_corpus, tmp_path):
    with pytest.raises(UserError, match=r"crop_length=1000 is not a multiple .* 320 .*give train.crop_length=960"):
        run_vqvae(run_of(tiny_corpus, tmp_path / "run", crop_length=1000))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("budget", [{"steps": -1}, {"steps": None}, {"steps": None, "minutes": -2.0}])
def test_budgets_that_are_none_are_refused(tiny_corpus, tmp_path, budget):
    with pytest.raises(UserError, match=r"no budget|train\.(steps|minutes)=-"):
        run_vqvae(run_of(tiny_corpus, tmp_path / "run", **budget))


def test_progress_is_the_larger_share():
    budget = Budget(steps=100, minutes=2.0)
    assert budget.progress(50, 30) == 0.5
    assert budget.progress(10, 90) == 0.75


def test_learning_rate_rises_stays_and_falls():
    factors = [learning_rate_factor(p, round(1000 * p), 100, 0.4) for p in (0, 0.05, 0.1, 0.5, 0.6, 0.8, 1)]
    assert factors == pytest.approx([0.01, 0.51, 1, 1, 1, 0.5, 0])


def test_marks_are_met_once_each():
    steps = np.linspace(0, 1, 38)
    met = [due(a, b, 10) for a, b in pairwise(steps)]
    assert sum(met) == 10
    assert met[-1]


def test_weight_average_equals_its_formula():
    model = torch.nn.Linear(2, 2)
    average = WeightAverage(model, decay=0.5)
    expected = model.weight.detach().clone()
    for update in range(12):
        with torch.no_grad():
            model.weight.add_(1.0)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * model.weight.detach()
        average.update(model)
    torch.testing.assert_close(average.model.weight.detach(), expected)
