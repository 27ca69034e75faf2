"""How fast one optimiser step is, against the same model with its decoder in plain torch.

Two baselines: a stack of `nn.Conv1d`, which one would write first, and the best of what else plain torch offers here.
"""

import subprocess
from collections.abc import Callable

import torch
from torch import nn

from audio_vq.bench.measurement import Budget, Measurement, take_turns
from audio_vq.bench.plain_wavenet import PlainWaveNet, RowsWaveNet, with_decoder
from audio_vq.config import ModelConfig, TrainConfig, hop_length
from audio_vq.kernels import cpu
from audio_vq.models.filterbank import Perturbation
from audio_vq.models.vqvae import Heard, VQVAEModel, build_vqvae
from audio_vq.training.average import WeightAverage
from audio_vq.training.muon import MuonAdam
from audio_vq.training.runs import keep_freed_memory
from audio_vq.training.vqvae_task import parameter_groups

PLAIN, BEST_PLAIN, OURS, FLOAT32 = (
    "train_plain_audio_seconds_per_s",
    "train_best_plain_audio_seconds_per_s",
    "train_audio_seconds_per_s",
    "train_float32_audio_seconds_per_s",
)
NAMES = (PLAIN, BEST_PLAIN, FLOAT32, OURS)
SPEAKERS = 8
COMPILE_FROM = 1.0  # seconds of measuring from which a minute of compiling is worth while


def measure_training(config: ModelConfig, budget: Budget, train: TrainConfig | None = None) -> list[Measurement]:
    """Steps on noise: how long they take does not depend on what is heard. Crops are cut to whole units."""
    train = train or TrainConfig()
    keep_freed_memory()
    models = _contenders(config, compiled=budget.seconds >= COMPILE_FROM)
    length = train.crop_length - train.crop_length % hop_length(config)
    heard = _noise(config, train.batch_size, length)
    steps = {name: _step(model, heard, train) for name, model in models.items()}
    for name in [name for name in steps if "compile" in name]:
        if not _works(steps[name]):
            del steps[name]
    rates = take_turns(steps, budget.seconds)
    context = {
        "batch": f"{train.batch_size} × {length} samples",
        "decoder": f"{config.wavenet.layers} layers, {config.wavenet.residual_channels} channels",
        "bands": config.wavenet.bands,
    }
    best = max((name for name in steps if name not in (OURS, FLOAT32)), key=rates.median)

    def row(name: str, measured: str, baseline: str, others: dict[str, object]) -> Measurement:
        ratio = rates.ratio(measured, best if baseline == BEST_PLAIN else baseline)
        return Measurement(name, rates.median(measured), "s/s", ratio, baseline, {**context, **others})

    return [
        Measurement(PLAIN, rates.median(PLAIN), "s/s", context={**context, "loss": "a stack of nn.Conv1d, float32"}),
        row(BEST_PLAIN, best, PLAIN, {"loss": best, "tried": [name for name in steps if name not in NAMES]}),
        *(
            row(name, name, BEST_PLAIN, {"best_plain": best, "times_nn_conv1d": rates.ratio(name, PLAIN)})
            for name in (FLOAT32, OURS)
        ),
    ]


def _contenders(config: ModelConfig, *, compiled: bool) -> dict[str, VQVAEModel]:
    """Models by name; those of plain torch other than `nn.Conv1d` by what they are."""

    def fresh() -> VQVAEModel:
        return build_vqvae(config, SPEAKERS)

    models = {name: fresh() for name in (PLAIN, FLOAT32, OURS)}
    models[PLAIN] = with_decoder(models[PLAIN], PlainWaveNet(models[PLAIN].wavenet))
    models[OURS].wavenet.bfloat16_products = True
    if config.wavenet.kernel_size != 2:
        return models
    for bfloat16 in (False, True) if cpu.HAS_BFLOAT16 else (False,):
        for compile_it in (False, True) if compiled else (False,):
            model = fresh()
            precision = "bfloat16" if bfloat16 else "float32"
            name = f"F.linear over rows, {precision}{', torch.compile' if compile_it else ''}"
            models[name] = with_decoder(model, RowsWaveNet(model.wavenet, bfloat16=bfloat16, compiled=compile_it))
    return models


def _works(step: Callable[[], float]) -> bool:
    """Whether it runs: `torch.compile` needs a C++ compiler, which many machines lack."""
    try:
        step()
    except (RuntimeError, OSError, subprocess.SubprocessError):
        return False
    return True


def _noise(config: ModelConfig, crops: int, length: int) -> Heard:
    return Heard(
        waveform=0.1 * torch.randn(crops, length),
        speaker=torch.arange(crops) % SPEAKERS,
        mean=torch.zeros(crops, config.encoder.filterbank) if config.encoder.centred else None,
        pitch=torch.randint(config.pitch, (crops, length // hop_length(config))) if config.pitch else None,
    )


def _step(model: VQVAEModel, heard: Heard, train: TrainConfig) -> Callable[[], float]:
    """One step as in `training/loop.py`, which returns the seconds of audio that the decoder has said."""
    optimizer = MuonAdam(parameter_groups(model, train, train.learning_rate), fused=True)
    average = WeightAverage(model, train.weight_average)
    perturbation = Perturbation(train.warp, train.equaliser_db)
    spoken_units = train.spoken_samples // model.hop_length

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        losses = model(heard, perturbation, spoken_units=spoken_units)
        losses.total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), train.max_grad_norm)
        optimizer.step()
        model.quantizer.update(model.quantizer.statistics(losses.encoded, losses.quantized.units))
        average.update(model)
        return len(heard.waveform) * spoken_units * model.hop_length / model.sample_rate

    return step
