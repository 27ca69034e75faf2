"""What is particular to training a VQ-VAE: crops, the codebook's schedule, validation, samples."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from audio_vq.checkpoint import CheckpointInfo
from audio_vq.config import ModelConfig, TrainConfig, as_dict, hop_length
from audio_vq.data.crops import CropSampler
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.models.filterbank import Perturbation
from audio_vq.models.vqvae import Heard, VQVAEModel, build_vqvae
from audio_vq.training.codebook import CodebookSchedule, EncodedPart
from audio_vq.training.listener import Listener
from audio_vq.training.prefetch import Prefetch
from audio_vq.training.spoken import Spoken
from audio_vq.training.task import PartResult, Validation, device_of
from audio_vq.units import perplexity, usage, used_units

BAND_BATCHES = 32  # of the training, from which the gain of bands is found
USAGE_SECONDS = 300.0  # of validation recordings over which the codebook's use is counted


class VQVAETask:
    """See `training.task.Task`."""

    bits_per = "sample"

    def __init__(self, corpus: PreparedCorpus, config: ModelConfig, train: TrainConfig, seed: int) -> None:
        """Raises UserError: a corpus without training or validation crops."""
        self.corpus, self.config, self.train_config = corpus, config, train
        self.listener = Listener(corpus, config)
        part = train.spoken_samples < train.crop_length
        self.spoken_units = train.spoken_samples // hop_length(config) if part else None
        self.perturbation = Perturbation(train.warp, train.equaliser_db)
        torch.manual_seed(seed)
        self.network: nn.Module = self.build()
        train_crops, valid_crops = (
            CropSampler(
                corpus,
                split,
                crop_length=train.crop_length,
                batch_size=train.batch_size * train.gradient_accumulation,  # of a step, drawn together
                seed=seed,
                speaker_balance=train.speaker_balance,
            )
            for split in ("train", "valid")
        )
        self.crops = train_crops
        self.validation_crops = valid_crops.fixed(train.validation_crops)
        self.validation = self.listener.heard(self.validation_crops)
        self.spoken = Spoken(corpus, self.listener, self.validation_crops.utterance)
        self.temperature = 1.0  # at which the model speaks by default
        self.seconds_per_step = train_crops.batch_size * train.spoken_samples / config.sample_rate
        self.codebook = CodebookSchedule(config.quantizer, self.heard, seed)
        self._prefetch = Prefetch(self.heard)
        self.fit_bands(self.network)
        self.fit_period(self.network)

    def build(self) -> nn.Module:
        """The network, with fresh weights."""
        network = build_vqvae(self.config, len(self.corpus.speakers))
        network.wavenet.bfloat16_products = self.train_config.mixed_precision == "auto"
        return network

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return parameter_groups(self.network, self.train_config, learning_rate)

    def before_step(self, accelerator: Accelerator, network: nn.Module, progress: float, step: int) -> bool:
        assert isinstance(network, VQVAEModel)
        return self.codebook.before_step(accelerator, network, progress, step)

    def losses(self, model: nn.Module, step: int, rank: int) -> Iterator[PartResult]:
        for part in self.batches(model, step, rank):
            losses = model(part, self.perturbation, self.codebook.quantizes, self.spoken_units)
            encoded = EncodedPart(losses.encoded, losses.quantized.units)
            yield PartResult(losses.total, losses.reconstruction, encoded)

    def batches(self, model: nn.Module, step: int, rank: int) -> Iterator[Heard]:
        """The parts of a step's batch, each `train.batch_size` crops, where the model is."""
        return self._prefetch.batch(step, rank, device_of(model)).split(self.train_config.batch_size)

    def heard(self, step: int, rank: int = 0) -> Heard:
        return self.listener.heard(self.crops.batch(step, rank))

    def fit_bands(self, network: Any) -> None:
        """The gain of the decoder's bands, from some of the training's crops."""
        waveforms = [self.crops.batch(step).waveform for step in range(BAND_BATCHES)]
        network.wavenet.bands.fit(torch.cat(waveforms))

    def fit_period(self, network: Any) -> None:
        """The range of the speakers' pitch, by which a decoder finds the period of what is asked for."""
        if network.wavenet.conditioner.period:
            ranges = [self.listener.ranges[name] for name in self.corpus.speakers]
            network.wavenet.conditioner.period.fit([(each.median_hz, each.spread_semitones) for each in ranges])

    def after_step(
        self,
        accelerator: Accelerator,
        network: nn.Module,
        averaged: nn.Module,
        parts: Sequence[PartResult],
        step: int,
    ) -> None:
        assert isinstance(network, VQVAEModel)
        assert isinstance(averaged, VQVAEModel)
        self.codebook.after_step(accelerator, network, averaged, [part.payload for part in parts], step)

    def status(self) -> str:
        return self.codebook.status()

    def validate(self, averaged: nn.Module) -> Validation:
        """The best checkpoint is the one with the fewest bits per sample, once it quantises."""
        assert isinstance(averaged, VQVAEModel)
        quantized = bool(averaged.quantizer.started)
        valid = self.conditioning_bits(averaged, quantize=quantized)
        counts = self._usage(averaged)
        codebook = {
            "perplexity": round(float(np.mean([perplexity(group) for group in counts])), 3),
            "used_units": min(used_units(group) for group in counts),
        }
        heard = self.read_aloud(averaged)
        return Validation(
            record={"valid": valid, "quantized": quantized, **codebook, "codebook_size": counts.shape[1], **heard},
            value=valid["bits_true"] if quantized else None,
            scalars={**scalars(valid), **{f"units/{key}": value for key, value in codebook.items()}, **heard},
        )

    def read_aloud(self, averaged: Any) -> dict[str, float]:
        """How near the model's own speech comes to recordings, and at which temperature: its default from now on."""
        reading = self.spoken.reading(averaged)
        self.temperature = reading.temperature
        return {"log_mel_db": round(reading.log_mel_db, 3), "temperature": reading.temperature}

    @torch.no_grad()
    def conditioning_bits(self, averaged: Any, **options: bool) -> dict[str, Any]:
        """What latents and speakers are worth on the validation crops; `options` as of the network's `latents`."""
        heard = self.validation.to(device_of(averaged))
        bits = averaged.conditioning_bits(heard, len(self.corpus.speakers), **options)
        return {key: None if value is None else round(value, 5) for key, value in vars(bits).items()}

    @torch.no_grad()
    def _usage(self, averaged: VQVAEModel) -> np.ndarray:
        """Unit counts `(groups, K)` over whole validation recordings."""
        counts = np.zeros(averaged.quantizer.ema_counts.shape, dtype=np.int64)
        seconds = 0.0
        for utterance in self.corpus.select("valid"):
            length = utterance.num_samples - utterance.num_samples % averaged.hop_length
            if length and seconds < USAGE_SECONDS:
                heard = self.listener.whole(utterance, length).to(device_of(averaged))
                units = averaged.encode(heard)[0].cpu().numpy()
                counts += np.stack([usage([track], counts.shape[1]) for track in units[: len(counts)]])
                seconds += length / self.corpus.sample_rate
        return counts

    def write_samples(self, averaged: Any, folder: Path) -> None:
        """Two validation utterances: original, reconstruction, conversion to another speaker."""
        self.spoken.write(averaged, folder, self.temperature)

    def info(self, record: dict[str, Any]) -> CheckpointInfo:
        corpus = self.corpus
        return CheckpointInfo(
            kind="vqvae",
            config=as_dict(self.config),
            speakers=corpus.speakers,
            data={
                "corpus": corpus.header.corpus,
                "hours": round(corpus.hours, 4),
                "speakers": len(corpus.speakers),
                "loudness_db": corpus.header.settings.get("loudness_db"),
                "voices": {name: corpus.header.speaker_info.get(name, {}) for name in corpus.speakers},
                "temperature": record.get("temperature", self.temperature),
                "emphasis": self.train_config.emphasis,
                **self.listener.description(),
            },
            training=record,
        )


def scalars(valid: dict[str, Any]) -> dict[str, float]:
    """What TensorBoard shows of a validation's bits."""
    return {f"valid/{key}": value for key, value in valid.items() if value is not None}


def parameter_groups(network: nn.Module, train: TrainConfig, learning_rate: float) -> list[dict[str, Any]]:
    """Filterbank, encoder, matrices of the decoder's layers, all else: what learns at a rate or in a way of its own."""
    scales = {
        "encoder.filterbank.": train.filterbank_rate_scale,
        "encoder.": train.encoder_rate_scale,
        **{f"wavenet.{part}.": 1.0 for part in ("layers", "skip", "hidden") if train.optimizer == "muon"},
        "": 1.0,
    }
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            prefix = next(prefix for prefix in scales if name.startswith(prefix))
            matrices = prefix.startswith("wavenet.") and parameter.ndim > 1
            groups.setdefault((prefix, matrices), []).append(parameter)
    return [
        {"params": parameters, "lr": learning_rate * scales[prefix], "matrices": matrices}
        for (prefix, matrices), parameters in groups.items()
    ]
