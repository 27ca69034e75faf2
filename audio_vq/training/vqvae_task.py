"""What is particular to training a VQ-VAE: crops, the bottleneck's schedule, validation, samples."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from audio_vq.audio import write_audio
from audio_vq.checkpoint import CheckpointInfo
from audio_vq.codec.decode import SamplingOptions, sample_waveforms
from audio_vq.config import ModelConfig, TrainConfig, as_dict, hop_length
from audio_vq.data.crops import CropSampler
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError
from audio_vq.models.vqvae import VQVAEModel, build_vqvae
from audio_vq.training.bottlenecks import GaussianSchedule, QuantizerSchedule, Schedule
from audio_vq.training.loop import StepResult, Validation
from audio_vq.training.prefetch import Batch, Prefetch

SAMPLE_SECONDS = 2.0


class VQVAETask:
    """See `training.loop.Task`."""

    bits_per = "sample"

    def __init__(
        self, corpus: PreparedCorpus, config: ModelConfig, train: TrainConfig, seed: int, device: torch.device
    ) -> None:
        check_model(config, train)
        self.corpus, self.config, self.train_config, self.seed, self.device = (
            corpus,
            config,
            train,
            seed,
            device,
        )
        torch.manual_seed(seed)
        self.network: nn.Module = build_vqvae(config, len(corpus.speakers))
        train_crops, valid_crops = (
            CropSampler(
                corpus,
                split,
                crop_length=train.crop_length,
                batch_size=train.batch_size,
                seed=seed,
                speaker_balance=train.speaker_balance,
            )
            for split in ("train", "valid")
        )
        self.crops = train_crops
        self.validation = valid_crops.fixed(train.validation_crops)
        self.seconds_per_batch = train.batch_size * train.crop_length / config.sample_rate
        self.schedule: Schedule
        if config.bottleneck == "gaussian":
            self.schedule = GaussianSchedule(config.gaussian, device)
        else:
            self.schedule = QuantizerSchedule(config.quantizer, corpus, train_crops, seed, device)
        self._prefetch = Prefetch(self._batch, device)
        assert isinstance(self.network, VQVAEModel)
        self.network.wavenet.bfloat16_products = train.mixed_precision == "auto"

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Decoder, encoder, filterbank: a rate each, so that a decoder in a hurry does not drag the encoder along."""
        assert isinstance(self.network, VQVAEModel)
        scales = {
            "encoder.filterbank.": self.train_config.filterbank_rate_scale,
            "encoder.": self.train_config.encoder_rate_scale,
            "": 1.0,
        }
        groups: dict[str, list[nn.Parameter]] = {prefix: [] for prefix in scales}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                groups[next(prefix for prefix in scales if name.startswith(prefix))].append(parameter)
        return [
            {"params": parameters, "lr": learning_rate * scales[prefix]}
            for prefix, parameters in groups.items()
            if parameters
        ]

    def before_step(self, network: nn.Module, progress: float, step: int) -> bool:
        assert isinstance(network, VQVAEModel)
        return self.schedule.before_step(network, progress, step)

    def loss(self, model: nn.Module, step: int, rank: int) -> StepResult:
        batch = self._prefetch.batch(step, rank)
        losses = model(batch.waveform, batch.speaker, strength=self.schedule.strength)
        return StepResult(losses.total, losses.reconstruction, losses)

    def _batch(self, step: int, rank: int) -> Batch:
        crops = self.crops.batch(step, rank)
        return Batch(crops.waveform, crops.speaker)

    def after_step(self, accelerator: Accelerator, network: nn.Module, result: StepResult, step: int) -> None:
        assert isinstance(network, VQVAEModel)
        self.schedule.after_step(accelerator, network, result.payload, step)

    def status(self) -> str:
        return self.schedule.status()

    def validate(self, network: nn.Module) -> Validation:
        """The best checkpoint is the one with the fewest bits per sample, latents included."""
        assert isinstance(network, VQVAEModel)
        measured = self.schedule.measure(network, self.validation)
        bits = network.conditioning_bits(
            self.validation.waveform.to(self.device),
            self.validation.speaker.to(self.device),
            len(self.corpus.speakers),
            measured.strength,
        )
        valid = {key: None if value is None else round(value, 5) for key, value in as_dict(bits).items()}
        scalars = {f"valid/{key}": value for key, value in valid.items() if value is not None}
        cost = measured.bits_per_sample
        return Validation(
            record={"valid": valid, **measured.record},
            value=None if cost is None else bits.bits_true + cost,
            scalars=scalars | measured.scalars,
        )

    @torch.no_grad()
    def write_samples(self, network: nn.Module, folder: Path) -> None:
        """Two validation crops: original, reconstruction, conversion to another speaker."""
        assert isinstance(network, VQVAEModel)
        rate, speakers = self.corpus.sample_rate, self.corpus.speakers
        for index in sorted({self.validation.utterance[0], self.validation.utterance[-1]}):
            utterance = self.corpus.utterances[index]
            length = min(int(SAMPLE_SECONDS * rate), utterance.num_samples)
            length -= length % network.hop_length
            waveform = self.corpus.waveform(utterance, 0, length)
            latents = network.latents(torch.from_numpy(waveform)[None].to(self.device))
            own = speakers.index(utterance.speaker)
            voices = [own, (own + 1) % len(speakers)]
            decoded = sample_waveforms(network.wavenet, latents.expand(len(voices), -1, -1), voices, SamplingOptions())
            write_audio(folder / f"{utterance.id}_original.wav", waveform, rate)
            for voice, audio in zip(voices, decoded, strict=True):
                write_audio(folder / f"{utterance.id}_to_{speakers[voice]}.wav", audio, rate)

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
            },
            training=record,
        )


def check_model(config: ModelConfig, train: TrainConfig) -> None:
    """Raises UserError where sizes do not fit together."""
    hop = hop_length(config)
    if min([*config.encoder.strides, train.crop_length, train.batch_size], default=0) < 1:
        raise UserError("model.encoder.strides, train.crop_length and train.batch_size must be positive numbers")
    if train.crop_length % hop:
        near = max(hop, train.crop_length // hop * hop)
        raise UserError(
            f"train.crop_length={train.crop_length} is not a multiple of the model's hop length {hop} "
            f"(strides {list(config.encoder.strides)}); give train.crop_length={near} or other strides"
        )
    if hop % config.wavenet.conditioning_frames:
        raise UserError(
            f"model.wavenet.conditioning_frames={config.wavenet.conditioning_frames} does not divide hop length {hop}"
        )
    if config.wavenet.conditioning_frames > 1 and not config.wavenet.conditioning_channels:
        raise UserError("model.wavenet.conditioning_frames needs model.wavenet.conditioning_channels above zero")
    if config.bottleneck not in ("quantized", "gaussian"):
        raise UserError(f"model.bottleneck={config.bottleneck}: expected quantized or gaussian")
    gaussian = config.gaussian
    if min(gaussian.kl_weight, gaussian.free_bits) < 0 or not 0 <= gaussian.anneal_share < 1:
        raise UserError(
            f"model.gaussian: kl_weight={gaussian.kl_weight} and free_bits={gaussian.free_bits} must not be negative, "
            f"anneal_share={gaussian.anneal_share} must be at least 0 and below 1"
        )
    if config.quantizer.update not in ("loss", "ema"):
        raise UserError(f"model.quantizer.update={config.quantizer.update}: expected loss or ema")
