"""What is particular to training a prior: the corpus as units, and validation against n-grams."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from torch import nn
from torch.nn import functional as F

from audio_vq.checkpoint import CheckpointInfo
from audio_vq.codec.encode import encode_to_file, units_digest
from audio_vq.codec.prior import track_bits
from audio_vq.config import PriorConfig, TrainConfig, as_dict
from audio_vq.data.prepared import PreparedCorpus, corpus_sources
from audio_vq.errors import UserError
from audio_vq.models.prior import PriorModel, build_prior
from audio_vq.pretrained import VQVAE
from audio_vq.training.ngrams import ngram_bits
from audio_vq.training.task import PartResult, Validation, device_of
from audio_vq.training.unit_crops import NOT_SCORED, UnitCrops
from audio_vq.unit_files.files import read_units
from audio_vq.units import UnitSequence


class PriorTask:
    """See `training.task.Task`."""

    bits_per = "unit"  # what the training bits count

    def __init__(
        self,
        model: VQVAE,
        corpus: PreparedCorpus,
        config: PriorConfig,
        train: TrainConfig,
        seed: int,
        folder: Path,
    ) -> None:
        """Encodes the corpus into `folder`, or reads what an earlier start of the run has left there.

        Raises:
            UserError: sizes that do not fit together; a corpus without training or validation utterances.
        """
        self.model, self.corpus, self.config, self.train_config = model, corpus, config, train
        torch.manual_seed(seed)
        self.network: nn.Module = build_prior(config, model.track_sizes, len(corpus.speakers))
        train_part, valid_part = encode_splits(model, corpus, folder)
        self.valid = [np.atleast_2d(each.units) for each in valid_part]  # (tracks, time)
        self.valid_speakers = [corpus.speakers.index(each.speaker) for each in valid_part]
        codes = [np.atleast_2d(each.units) for each in train_part]
        self.crops = UnitCrops(
            codes,
            [corpus.speakers.index(each.speaker) for each in train_part],
            context=config.context,
            batch_size=train.batch_size * train.gradient_accumulation,  # of a step, drawn together
            seed=seed,
            speaker_balance=train.speaker_balance,
        )
        self.baselines = ngram_bits(codes, self.valid, model.track_sizes)
        self.seconds_per_step = self.crops.batch_size * config.context / model.unit_rate_hz

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return [{"params": list(self.network.parameters()), "lr": learning_rate}]

    def before_step(self, accelerator: Accelerator, network: nn.Module, progress: float, step: int) -> bool:  # noqa: ARG002
        return False

    def losses(self, model: nn.Module, step: int, rank: int) -> Iterator[PartResult]:
        batch, size = self.crops.batch(step, rank), self.train_config.batch_size
        # parts have more and fewer units to predict; all units of the step count alike
        scored_units = (batch.targets[:, 0] != NOT_SCORED).sum().item()
        per_part = scored_units / self.train_config.gradient_accumulation
        tensors = (tensor.to(device_of(model)).split(size) for tensor in (batch.codes, batch.speaker, batch.targets))
        for codes, speaker, targets in zip(*tensors, strict=True):
            totals = [
                F.cross_entropy(logits.float(), targets[:, track], ignore_index=NOT_SCORED, reduction="sum")
                for track, logits in enumerate(model(codes, speaker))
            ]
            loss = torch.stack(totals).sum() / per_part
            yield PartResult(loss, loss / math.log(2))

    def after_step(
        self,
        accelerator: Accelerator,
        network: nn.Module,
        averaged: nn.Module,
        parts: Sequence[PartResult],
        step: int,
    ) -> None:
        """The prior learns by gradients alone."""

    def status(self) -> str:
        return f"per unit (bigram {self.baselines['bigram_bits']:.3f})"

    def validate(self, averaged: nn.Module) -> Validation:
        """Bits per unit of the whole validation split, beside those of n-grams of the training units."""
        assert isinstance(averaged, PriorModel)
        bits = np.concatenate(track_bits(averaged, self.valid, self.valid_speakers), 1)
        per_track = bits.mean(1)
        mean = round(float(per_track.sum()), 5)
        valid = {"bits_per_unit": mean, "bits_per_track": per_track.round(5).tolist(), **self.baselines}
        sizes = {"codebook_size": self.model.codebook_size, "track_sizes": list(self.model.track_sizes)}
        record = {"valid": valid, **sizes}
        return Validation(record, mean, {"valid/bits_per_unit": mean})

    def write_samples(self, averaged: nn.Module, folder: Path) -> None:
        """Nothing: units are heard through a decoder, with `audio-vq sample`."""

    def info(self, record: dict[str, Any]) -> CheckpointInfo:
        return CheckpointInfo(
            kind="prior",
            config=as_dict(self.config),
            speakers=tuple(self.corpus.speakers),
            data={
                "corpus": self.corpus.header.corpus,
                "hours": self.corpus.hours,
                "speakers": len(self.corpus.speakers),
                "codebook_size": self.model.codebook_size,
                "track_sizes": list(self.model.track_sizes),
                "unit_rate_hz": self.model.unit_rate_hz,
                "sample_rate": self.model.sample_rate,
                "hop_length": self.model.hop_length,
                "context": self.config.context,
                "fingerprint": self.model.fingerprint,
            },
            training=record,
        )


def encode_splits(
    model: VQVAE, corpus: PreparedCorpus, folder: Path
) -> tuple[tuple[UnitSequence, ...], tuple[UnitSequence, ...]]:
    """Units of the training and of the validation utterances.

    They are kept in `folder`, in a file named after the model and the corpus: others' units are never read.
    """
    train, valid = corpus.select("train"), corpus.select("valid")
    if not train or not valid:
        missing = "valid" if train else "train"
        raise UserError(f"{corpus.folder} has no {missing} utterance; prepare a corpus with more recordings")
    sources = corpus_sources(corpus, (*train, *valid))
    file = folder / f"units-{units_digest(model.codec, sources)}.npz"
    with PartialState().main_process_first():  # the others read what the first has written
        if not file.exists():
            encode_to_file(model.codec, sources, file)
    everything = read_units(file)
    return everything[: len(train)], everything[len(train) :]
