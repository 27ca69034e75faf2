"""What training does for the codebook beside gradients: its start, moving averages and restarts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor

from audio_vq.config import QuantizerConfig
from audio_vq.models.quantizer import CodebookStatistics
from audio_vq.models.vqvae import Heard, VQVAEModel
from audio_vq.training.task import device_of
from audio_vq.units import perplexity

LATENTS_PER_CENTRE = 50  # for the k-means start


@dataclass(frozen=True)
class EncodedPart:
    """What the encoder and the quantiser made of a part of a batch."""

    latents: Tensor  # (batch, dim, units): z_e
    units: Tensor  # (batch, groups, units)


class CodebookSchedule:
    """The codebook's course: idle for a share of the budget, then started, then kept in use.

    Args:
        config: when and how.
        heard: the training's batch of a step, from whose latents k-means starts.
        seed: of k-means and of restarts.
    """

    def __init__(self, config: QuantizerConfig, heard: Callable[[int], Heard], seed: int) -> None:
        self.config, self.heard, self.seed = config, heard, seed
        self.quantizes = False
        self._asked = False  # whether the network has told that it quantises already: it may continue a run
        self._recent: Tensor | None = None  # (groups, K) unit counts, fading over some hundred steps

    def before_step(self, accelerator: Accelerator, network: VQVAEModel, progress: float, step: int) -> bool:
        """Begins to quantise when it is time; True where the codebook has jumped.

        Raises:
            FloatingPointError: the encoder's outputs are not finite.
        """
        quantizer = network.quantizer
        if not self._asked:
            self.quantizes = bool(quantizer.started)
            self._asked = True
        if self.quantizes or progress < self.config.continuous_share:
            return False
        quantizer.started.fill_(True)
        self.quantizes = True
        if self.config.kmeans_start:
            self._start_at_centres(accelerator, network, step)
        return self.config.kmeans_start

    def _start_at_centres(self, accelerator: Accelerator, network: VQVAEModel, step: int) -> None:
        """k-means over recent latents; moving averages begin as if the clusters had always been as large."""
        from sklearn.cluster import MiniBatchKMeans  # seconds to import

        quantizer = network.quantizer
        batches = list(self._recent_latents(network, step, LATENTS_PER_CENTRE * quantizer.codebook_size))
        latents = torch.cat(batches)
        if not latents.isfinite().all():
            raise FloatingPointError("the encoder's outputs are not finite numbers")
        seed = self.seed % 2**32  # scikit-learn takes no larger ones
        centres, sizes = [], []
        for part in latents.unflatten(1, (quantizer.groups, -1)).unbind(1):
            kmeans = MiniBatchKMeans(quantizer.codebook_size, random_state=seed, n_init=3, batch_size=2048)
            clusters = kmeans.fit(part.cpu().numpy())
            centres.append(torch.from_numpy(clusters.cluster_centers_).float())
            sizes.append(torch.from_numpy(clusters.labels_).long().bincount(minlength=quantizer.codebook_size))
        counts = torch.stack(sizes) / len(batches) * accelerator.num_processes  # in a step
        # all processes share the first one's codebook
        quantizer.place(*(broadcast(tensor.to(latents.device)) for tensor in (torch.stack(centres), counts)))

    @torch.no_grad()
    def _recent_latents(self, network: VQVAEModel, step: int, needed: int) -> Iterator[Tensor]:
        """At least `needed` latents of the batches before `step`, `(n, dim)` of each."""
        got = 0
        while got < needed:
            step -= 1
            heard = self.heard(abs(step)).to(device_of(network))  # where too few lie behind, those ahead serve as well
            latents = network.latents(heard, quantize=False).transpose(1, 2).flatten(0, 1)
            got += len(latents)
            yield latents

    def after_step(
        self,
        accelerator: Accelerator,
        network: VQVAEModel,
        averaged: VQVAEModel,
        parts: Sequence[EncodedPart],
        step: int,
    ) -> None:
        """Moving averages, and restarts of what has fallen out of use, from the latents of all processes."""
        if not self.quantizes:
            return
        latents = torch.cat([part.latents for part in parts])
        local = network.quantizer.statistics(latents, torch.cat([part.units for part in parts]))
        counts, sums = accelerator.reduce(local.counts), accelerator.reduce(local.sums)
        network.quantizer.update(CodebookStatistics(counts, sums))
        self._recent = counts if self._recent is None else 0.99 * self._recent + counts
        if self.config.restart_after:
            generator = torch.Generator().manual_seed(hash((self.seed, step)) % 2**63)
            moved = network.quantizer.restart(accelerator.gather(latents), self.config.restart_after, generator)
            _follow(averaged.quantizer.codebook, network.quantizer.codebook, moved)

    def status(self) -> str:
        """A few words for the progress line."""
        if self._recent is None:
            return "not yet quantised"
        recent = self._recent.cpu().numpy()
        mean = sum(map(perplexity, recent)) / len(recent)
        return f"perplexity {mean:.0f}  units {(recent > 0.5).sum()}/{recent.size}"


@torch.no_grad()
def _follow(averaged: Tensor, codebook: Tensor, moved: Tensor) -> None:
    """Takes the averaged codebook where vectors have `moved`, `(groups, K)` bool.

    Halfway between two places they would stand for nothing: in early training, with many restarts, the averaged model
    quantised with an error of 17 % of the latents' variance where the model itself had 2 %, and now has 4 %.
    """
    averaged.copy_(torch.where(moved[..., None], codebook, averaged))
