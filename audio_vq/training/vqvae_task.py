"""What is particular to training a VQ-VAE: crops, the start of quantisation, the codebook's updates, validation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from audio_vq.audio import write_audio
from audio_vq.checkpoint import CheckpointInfo
from audio_vq.config import ModelConfig, TrainConfig, as_dict, hop_length
from audio_vq.data.crops import CropSampler
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError
from audio_vq.generation.waveform import SamplingOptions, sample_waveforms
from audio_vq.models.vqvae import VQVAEModel, build_vqvae
from audio_vq.training.loop import StepResult, Validation
from audio_vq.training.prefetch import Batch, Prefetch
from audio_vq.units import perplexity, usage, used_units

LATENTS_PER_CENTRE = 50  # for the k-means start
USAGE_SECONDS = 300.0  # of validation recordings over which the codebook's use is counted
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
        # unit counts, fading over some hundred steps; on the device, like everything a step touches: nothing waits
        self._recent = torch.zeros(config.quantizer.codebook_size, device=device)
        self._quantizing: bool | None = None  # the network's own flag; unknown until the first step
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
        """Places the codebook at k-means centres of encoder outputs when quantisation begins."""
        assert isinstance(network, VQVAEModel)
        quantizer = network.quantizer
        if self._quantizing is None:
            self._quantizing = bool(quantizer.started)
        if self._quantizing or progress < self.config.quantizer.continuous_share:
            return False
        quantizer.started.fill_(True)
        self._quantizing = True
        if not self.config.quantizer.kmeans_start:
            return False
        needed = LATENTS_PER_CENTRE * quantizer.codebook_size
        latents = torch.cat(list(self._recent_latents(network, step, needed)))
        kmeans = MiniBatchKMeans(quantizer.codebook_size, random_state=self.seed, n_init=3, batch_size=2048)
        centres = torch.from_numpy(kmeans.fit(latents.cpu().numpy()).cluster_centers_).float()
        centres = broadcast(centres.to(self.device))  # all processes share the first one's codebook
        quantizer.place(torch.arange(quantizer.codebook_size, device=self.device), centres)
        return True

    @torch.no_grad()
    def _recent_latents(self, network: VQVAEModel, step: int, needed: int) -> Iterator[Tensor]:
        """At least `needed` latents `(n, dim)` of the batches before `step`."""
        got = 0
        while got < needed:
            step -= 1
            crops = self.crops.batch(abs(step))  # where too few lie behind, those ahead serve as well
            latents = network.encoder(crops.waveform.to(self.device)).transpose(1, 2).flatten(0, 1)
            got += len(latents)
            yield latents

    def loss(self, model: nn.Module, step: int, rank: int) -> StepResult:
        batch = self._prefetch.batch(step, rank)
        losses = model(batch.waveform, batch.speaker, quantize=bool(self._quantizing))
        return StepResult(losses.total, losses.reconstruction, losses)

    def _batch(self, step: int, rank: int) -> Batch:
        crops = self.crops.batch(step, rank)
        return Batch(crops.waveform, crops.speaker)

    def after_step(self, accelerator: Accelerator, network: nn.Module, result: StepResult, step: int) -> None:
        """The codebook's moving averages and restarts, from the latents of all processes."""
        assert isinstance(network, VQVAEModel)
        quantizer, losses = network.quantizer, result.payload
        if not self._quantizing:
            return
        statistics = quantizer.statistics(losses.latents, losses.units)
        counts = accelerator.reduce(statistics.counts)
        quantizer.update(type(statistics)(counts, accelerator.reduce(statistics.sums)))
        self._recent = 0.99 * self._recent + counts
        after = self.config.quantizer.restart_after
        if after:
            generator = torch.Generator().manual_seed(hash((self.seed, step)) % 2**63)
            quantizer.restart(accelerator.gather(losses.latents), after, generator)

    def status(self) -> str:
        recent = self._recent.cpu().numpy()
        if not recent.sum():
            return "not yet quantised"
        return f"perplexity {perplexity(recent):.0f}  units {(recent > 0.5).sum()}/{len(recent)}"

    def validate(self, network: nn.Module) -> Validation:
        assert isinstance(network, VQVAEModel)
        quantize = bool(network.quantizer.started)
        bits = network.conditioning_bits(
            self.validation.waveform.to(self.device),
            self.validation.speaker.to(self.device),
            len(self.corpus.speakers),
            quantize,
        )
        counts = self._usage(network)
        valid = {key: None if value is None else round(value, 5) for key, value in as_dict(bits).items()}
        record = {
            "valid": valid,
            "quantized": quantize,
            "perplexity": round(perplexity(counts), 3),
            "used_units": used_units(counts),
            "codebook_size": network.quantizer.codebook_size,
        }
        scalars = {f"valid/{key}": value for key, value in valid.items() if value is not None}
        scalars |= {"units/perplexity": record["perplexity"], "units/used": record["used_units"]}
        return Validation(record, bits.bits_true if quantize else None, scalars)

    @torch.no_grad()
    def _usage(self, network: VQVAEModel) -> np.ndarray:
        """Unit counts `(K,)` over whole validation recordings."""
        counts = np.zeros(network.quantizer.codebook_size, dtype=np.int64)
        seconds = 0.0
        for utterance in self.corpus.select("valid"):
            length = utterance.num_samples - utterance.num_samples % network.hop_length
            if length and seconds < USAGE_SECONDS:
                waveform = torch.from_numpy(self.corpus.waveform(utterance, 0, length))[None]
                units = network.encode(waveform.to(self.device))[0].cpu().numpy()
                counts += usage([units], len(counts))
                seconds += length / self.corpus.sample_rate
        return counts

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
            latents = network.quantizer.lookup(network.encode(torch.from_numpy(waveform)[None].to(self.device)))
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
    if config.quantizer.update not in ("loss", "ema"):
        raise UserError(f"model.quantizer.update={config.quantizer.update}: expected loss or ema")
