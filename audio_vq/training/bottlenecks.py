"""What training does for each bottleneck beside gradients, and how a validation measures it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from audio_vq.config import GaussianConfig, QuantizerConfig
from audio_vq.data.crops import Crops, CropSampler
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.models.gaussian import GaussianLatents
from audio_vq.models.quantizer import QuantizedLatents
from audio_vq.models.vqvae import NATS_TO_BITS, Losses, VQVAEModel
from audio_vq.units import perplexity, usage, used_units

LATENTS_PER_CENTRE = 50  # for the k-means start
USAGE_SECONDS = 300.0  # of validation recordings over which the codebook's use is counted


@dataclass(frozen=True)
class Measured:
    """Of a validation. `bits_per_sample` is what the latents themselves cost; None while they are not final."""

    strength: float
    bits_per_sample: float | None
    record: dict[str, Any]
    scalars: dict[str, float]


class Schedule(Protocol):
    """A bottleneck's course through the training."""

    strength: float  # of the bottleneck in the coming step

    def before_step(self, network: VQVAEModel, progress: float, step: int) -> bool:
        """Jumps that precede a step; True when the weight average has to begin again."""

    def after_step(self, accelerator: Accelerator, network: VQVAEModel, losses: Losses, step: int) -> None:
        """Updates that are not gradients."""

    def status(self) -> str:
        """A few words for the progress line."""

    def measure(self, network: VQVAEModel, crops: Crops) -> Measured:
        """Figures of the averaged network, on the validation crops or the split they are from."""


class QuantizerSchedule:
    """Begins to quantise, at k-means centres where wanted; moving averages and restarts of the codebook."""

    def __init__(
        self, config: QuantizerConfig, corpus: PreparedCorpus, crops: CropSampler, seed: int, device: torch.device
    ) -> None:
        self.config, self.corpus, self.crops, self.seed, self.device = config, corpus, crops, seed, device
        self.strength = 0.0
        # unit counts, fading over some hundred steps; on the device, like everything a step touches: nothing waits
        self._recent = torch.zeros(config.codebook_size, device=device)
        self._asked = False  # whether the network has told that it quantises already: it may continue a run

    def before_step(self, network: VQVAEModel, progress: float, step: int) -> bool:
        quantizer = network.quantizer
        if not self._asked:
            self.strength = float(quantizer.started)
            self._asked = True
        if self.strength or progress < self.config.continuous_share:
            return False
        quantizer.started.fill_(True)
        self.strength = 1.0
        if not self.config.kmeans_start:
            return False
        latents = torch.cat(list(self._recent_latents(network, step, LATENTS_PER_CENTRE * quantizer.codebook_size)))
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

    def after_step(self, accelerator: Accelerator, network: VQVAEModel, losses: Losses, step: int) -> None:
        """From the latents of all processes."""
        if not self.strength:
            return
        assert isinstance(losses.narrowed, QuantizedLatents)
        quantizer = network.quantizer
        statistics = quantizer.statistics(losses.outputs, losses.narrowed.units)
        counts = accelerator.reduce(statistics.counts)
        quantizer.update(type(statistics)(counts, accelerator.reduce(statistics.sums)))
        self._recent = 0.99 * self._recent + counts
        after = self.config.restart_after
        if after:
            generator = torch.Generator().manual_seed(hash((self.seed, step)) % 2**63)
            quantizer.restart(accelerator.gather(losses.outputs), after, generator)

    def status(self) -> str:
        recent = self._recent.cpu().numpy()
        if not recent.sum():
            return "not yet quantised"
        return f"perplexity {perplexity(recent):.0f}  units {(recent > 0.5).sum()}/{len(recent)}"

    def measure(self, network: VQVAEModel, crops: Crops) -> Measured:  # noqa: ARG002 - units need whole recordings
        started = bool(network.quantizer.started)
        counts = self._usage(network)
        record = {
            "quantized": started,
            "perplexity": round(perplexity(counts), 3),
            "used_units": used_units(counts),
            "codebook_size": network.quantizer.codebook_size,
        }
        scalars = {"units/perplexity": record["perplexity"], "units/used": record["used_units"]}
        return Measured(float(started), 0.0 if started else None, record, scalars)

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


class GaussianSchedule:
    """Anneals the weight of the KL: from zero, linearly, over the first share of the budget."""

    def __init__(self, config: GaussianConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.strength = 0.0 if config.anneal_share else 1.0
        self._kl = torch.zeros(())  # nats per unit in the last step

    def before_step(self, network: VQVAEModel, progress: float, step: int) -> bool:  # noqa: ARG002
        share = self.config.anneal_share
        self.strength = min(1.0, progress / share) if share else 1.0
        return False

    def after_step(self, accelerator: Accelerator, network: VQVAEModel, losses: Losses, step: int) -> None:  # noqa: ARG002
        assert isinstance(losses.narrowed, GaussianLatents)
        self._kl = nats_per_unit(losses.narrowed)

    def status(self) -> str:
        return f"KL {float(self._kl):.3f} nats per unit"

    @torch.no_grad()
    def measure(self, network: VQVAEModel, crops: Crops) -> Measured:
        """The KL; with the bits under the mean, it makes the bound by which the best checkpoint is chosen."""
        narrowed = network.bottleneck(network.encoder(crops.waveform.to(self.device)))
        assert isinstance(narrowed, GaussianLatents)
        kl = float(nats_per_unit(narrowed))
        record = {"kl_nats_per_unit": round(kl, 6), "kl_weight": round(self.config.kl_weight * self.strength, 5)}
        cost = kl * NATS_TO_BITS / network.hop_length
        return Measured(1.0, cost if self.strength == 1 else None, record, {"latents/kl_nats_per_unit": kl})


def nats_per_unit(narrowed: GaussianLatents) -> Tensor:
    """KL(q ‖ p) of all channels of a unit, averaged over units: a scalar."""
    return narrowed.kl.detach().sum(1).mean()
