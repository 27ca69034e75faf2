"""A training step keeps a GPU busy: batches are there when they are needed, and nothing is read back."""

import pytest
import torch
from accelerate import Accelerator
from torch.utils._python_dispatch import TorchDispatchMode

from audio_vq.config import EncoderConfig, ModelConfig, QuantizerConfig, TrainConfig, WaveNetConfig
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.models.vqvae import Heard
from audio_vq.training.average import WeightAverage
from audio_vq.training.prefetch import Prefetch
from audio_vq.training.vqvae_task import VQVAETask

CPU = torch.device("cpu")


def test_batches_are_the_same_however_they_are_asked_for():
    made = []

    def make(step, rank):
        made.append((step, rank))
        return Heard(torch.full((1, 2), float(step)), torch.tensor([rank]))

    prefetch = Prefetch(make)
    for step, rank in [(0, 0), (1, 0), (2, 0), (7, 0), (8, 0), (9, 1)]:
        batch = prefetch.batch(step, rank, CPU)
        assert (batch.waveform[0, 0], batch.speaker[0]) == (step, rank)
    assert (3, 0) in made  # one ahead


def test_a_failure_to_make_a_batch_is_told():
    def make(step, rank):
        if step == 1:
            raise OSError("the disk is gone")
        return Heard(torch.zeros(1, 2), torch.zeros(1))

    prefetch = Prefetch(make)
    prefetch.batch(0, 0, CPU)
    with pytest.raises(OSError, match="the disk is gone"):
        prefetch.batch(1, 0, CPU)


class NothingIsReadBack(TorchDispatchMode):
    """Fails where the program would wait for a GPU to learn a value or a size."""

    WAITING = ("_local_scalar_dense", "nonzero", "bincount", "masked_select", "unique")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert not any(name in str(function) for name in self.WAITING), f"{function} reads a value"
        return function(*args, **(kwargs or {}))


def test_a_step_waits_for_nothing(tiny_corpus):
    """From the batch to the average of the weights, on the path that GPUs take."""
    model = ModelConfig(
        pitch=9,
        encoder=EncoderConfig(strides=[2], channels=16, layer_norm=True, filterbank=16, centred=True),
        quantizer=QuantizerConfig(codebook_size=8, dim=8, groups=2, update="ema", restart_after=3),
        wavenet=WaveNetConfig(
            bands=2, layers=2, kernel_size=3, residual_channels=8, skip_channels=16,  # not fused
            conditioning_channels=8, spectrum_weight=1.0,
        ),
    )  # fmt: skip
    train = TrainConfig(batch_size=2, crop_length=1280, spoken_length=640, warp=0.2, equaliser_db=3.0)
    task = VQVAETask(PreparedCorpus.open(tiny_corpus), model, train, 0)
    accelerator = Accelerator(cpu=True)
    average = WeightAverage(task.network, 0.9)
    optimizer = torch.optim.Adam(task.parameter_groups(1e-3), fused=True)
    task.before_step(accelerator, task.network, 0.5, 4)
    before = task.network.quantizer.codebook.clone()
    with pytest.raises(AssertionError, match="reads a value"), NothingIsReadBack():
        bool(task.network.quantizer.started)
    with NothingIsReadBack():
        (part,) = task.losses(task.network, 5, 0)
        accelerator.backward(part.loss)
        accelerator.clip_grad_norm_(task.network.parameters(), 1.0)
        optimizer.step()
        task.after_step(accelerator, task.network, average.model, [part], 5)
        average.update(task.network)
    assert not torch.equal(task.network.quantizer.codebook, before)
    assert task.status().startswith("perplexity")
