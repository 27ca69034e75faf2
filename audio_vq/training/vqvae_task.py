"""What is particular to training a VQ-VAE: crops, the codebook's schedule, validation, samples."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from audio_vq.audio import write_audio
from audio_vq.checkpoint import CheckpointInfo
from audio_vq.codec.decode import SamplingOptions, sample_waveforms
from audio_vq.config import ModelConfig, TrainConfig, as_dict
from audio_vq.data.crops import CropSampler
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.models.vqvae import VQVAEModel, build_vqvae, conditioning_bits
from audio_vq.training.codebook import CodebookSchedule, EncodedPart
from audio_vq.training.prefetch import Batch, Prefetch
from audio_vq.training.task import PartResult, Validation, device_of
from audio_vq.units import perplexity, usage, used_units

SAMPLE_SECONDS = 2.0
USAGE_SECONDS = 300.0  # of validation recordings over which the codebook's use is counted


class VQVAETask:
    """See `training.task.Task`."""

    bits_per = "sample"

    def __init__(self, corpus: PreparedCorpus, config: ModelConfig, train: TrainConfig, seed: int) -> None:
        """Raises UserError: a corpus without training or validation crops."""
        self.corpus, self.config, self.train_config = corpus, config, train
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
        self.validation = valid_crops.fixed(train.validation_crops)
        self.seconds_per_step = train_crops.batch_size * train.crop_length / config.sample_rate
        self.codebook = CodebookSchedule(config.quantizer, train_crops, seed)
        self._prefetch = Prefetch(self._crops_of)

    def build(self) -> nn.Module:
        """The network, with fresh weights."""
        network = build_vqvae(self.config, len(self.corpus.speakers))
        network.wavenet.bfloat16_products = self.train_config.mixed_precision == "auto"
        return network

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Decoder, encoder, filterbank: a rate each, so that a decoder in a hurry does not drag the encoder along."""
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

    def before_step(self, accelerator: Accelerator, network: nn.Module, progress: float, step: int) -> bool:
        assert isinstance(network, VQVAEModel)
        return self.codebook.before_step(accelerator, network, progress, step)

    def losses(self, model: nn.Module, step: int, rank: int) -> Iterator[PartResult]:
        for part in self.batches(model, step, rank):
            losses = model(part.waveform, part.speaker, quantize=self.codebook.quantizes)
            encoded = EncodedPart(losses.encoded, losses.quantized.units)
            yield PartResult(losses.total, losses.reconstruction, encoded)

    def batches(self, model: nn.Module, step: int, rank: int) -> Iterator[Batch]:
        """The parts of a step's batch, each `train.batch_size` crops, where the model is."""
        return self._prefetch.batch(step, rank, device_of(model)).split(self.train_config.batch_size)

    def _crops_of(self, step: int, rank: int) -> Batch:
        crops = self.crops.batch(step, rank)
        return Batch(crops.waveform, crops.speaker)

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
        codebook = {"perplexity": round(perplexity(counts), 3), "used_units": used_units(counts)}
        return Validation(
            record={"valid": valid, "quantized": quantized, **codebook, "codebook_size": len(counts)},
            value=valid["bits_true"] if quantized else None,
            scalars={**scalars(valid), **{f"units/{key}": value for key, value in codebook.items()}},
        )

    @torch.no_grad()
    def conditioning_bits(self, averaged: Any, **options: bool) -> dict[str, Any]:
        """What latents and speakers are worth on the validation crops; `options` as of the network's `latents`."""
        crops = self.validation
        waveform, speaker = (tensor.to(device_of(averaged)) for tensor in (crops.waveform, crops.speaker))
        latents = averaged.latents(waveform, **options)
        bits = conditioning_bits(averaged.wavenet, waveform, latents, speaker, len(self.corpus.speakers))
        return {key: None if value is None else round(value, 5) for key, value in vars(bits).items()}

    @torch.no_grad()
    def _usage(self, averaged: VQVAEModel) -> np.ndarray:
        """Unit counts `(K,)` over whole validation recordings."""
        counts = np.zeros(averaged.quantizer.codebook_size, dtype=np.int64)
        seconds = 0.0
        for utterance in self.corpus.select("valid"):
            length = utterance.num_samples - utterance.num_samples % averaged.hop_length
            if length and seconds < USAGE_SECONDS:
                waveform = torch.from_numpy(self.corpus.waveform(utterance, 0, length))[None]
                units = averaged.encode(waveform.to(device_of(averaged)))[0].cpu().numpy()
                counts += usage([units], len(counts))
                seconds += length / self.corpus.sample_rate
        return counts

    @torch.no_grad()
    def write_samples(self, averaged: Any, folder: Path) -> None:
        """Two validation utterances: original, reconstruction, conversion to another speaker."""
        rate, speakers = self.corpus.sample_rate, self.corpus.speakers
        for index in sorted({self.validation.utterance[0], self.validation.utterance[-1]}):
            utterance = self.corpus.utterances[index]
            length = min(int(SAMPLE_SECONDS * rate), utterance.num_samples)
            length -= length % averaged.hop_length
            waveform = self.corpus.waveform(utterance, 0, length)
            latents = averaged.latents(torch.from_numpy(waveform)[None].to(device_of(averaged)))
            own = speakers.index(utterance.speaker)
            voices = sorted({own, (own + 1) % len(speakers)})  # one, where there is nobody else
            decoded = sample_waveforms(averaged.wavenet, latents.expand(len(voices), -1, -1), voices, SamplingOptions())
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


def scalars(valid: dict[str, Any]) -> dict[str, float]:
    """What TensorBoard shows of a validation's bits."""
    return {f"valid/{key}": value for key, value in valid.items() if value is not None}
