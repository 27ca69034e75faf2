"""What training a VAE with Gaussian latents does otherwise than training a VQ-VAE."""

from collections.abc import Iterator, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from audio_vq.models.gaussian import GaussianVAE, build_gaussian_vae
from audio_vq.models.vqvae import NATS_TO_BITS
from audio_vq.training.task import PartResult, Validation, device_of
from audio_vq.training.vqvae_task import VQVAETask, scalars


class GaussianTask(VQVAETask):
    """The weight of the KL rises from zero, linearly, over the first share of the budget; nothing jumps."""

    annealing = 0.0  # of the KL's weight in the coming step, 0 to 1
    _kl: Tensor | None = None  # nats per unit in the last step

    def build(self) -> nn.Module:
        network = build_gaussian_vae(self.config, len(self.corpus.speakers))
        network.wavenet.bfloat16_products = self.train_config.mixed_precision == "auto"
        return network

    def before_step(self, accelerator: Accelerator, network: nn.Module, progress: float, step: int) -> bool:  # noqa: ARG002
        share = self.config.gaussian.anneal_share
        self.annealing = min(1.0, progress / share) if share else 1.0
        return False

    def losses(self, model: nn.Module, step: int, rank: int) -> Iterator[PartResult]:
        for part in self.batches(model, step, rank):
            losses = model(part, self.perturbation, self.annealing, self.spoken_units)
            yield PartResult(losses.total, losses.reconstruction, losses.latents.nats_per_unit)

    def after_step(
        self,
        accelerator: Accelerator,  # noqa: ARG002
        network: nn.Module,  # noqa: ARG002
        averaged: nn.Module,  # noqa: ARG002
        parts: Sequence[PartResult],
        step: int,  # noqa: ARG002
    ) -> None:
        self._kl = torch.stack([part.payload for part in parts]).mean()

    def status(self) -> str:
        return "" if self._kl is None else f"KL {float(self._kl):.3f} nats per unit"

    @torch.no_grad()
    def validate(self, averaged: nn.Module) -> Validation:
        """The best checkpoint is that of the lowest bound: bits under the mean plus the KL, once it has its weight."""
        assert isinstance(averaged, GaussianVAE)
        valid = self.conditioning_bits(averaged)
        heard = self.validation.to(device_of(averaged))
        outputs = averaged.encoder(heard.waveform, heard.mean)
        kl = float(averaged.bottleneck(outputs).nats_per_unit)
        weight = self.config.gaussian.kl_weight * self.annealing
        bound = valid["bits_true"] + kl * NATS_TO_BITS / averaged.hop_length
        return Validation(
            record={
                "valid": valid,
                "kl_nats_per_unit": round(kl, 6),
                "kl_weight": round(weight, 5),
                **self.read_aloud(averaged),
            },
            value=bound if self.annealing == 1 else None,
            scalars={**scalars(valid), "latents/kl_nats_per_unit": kl},
        )
