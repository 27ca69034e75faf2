"""What the decoder makes of units and speakers, in bits per waveform sample."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from audio_vq.data.crops import CropSampler
from audio_vq.data.prepared import PreparedCorpus, Utterance
from audio_vq.training.listener import Listener

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE

CROP_SECONDS = 0.64
CROPS = 32


def latents_used(
    model: "VQVAE", corpus: PreparedCorpus, utterances: Sequence[Utterance], *, seed: int
) -> dict[str, float | None] | None:
    """Bits per waveform sample under true and under wrong conditions, on crops by speakers the model knows.

    None where the model knows none of the speakers.
    """
    known = tuple(each for each in utterances if each.speaker in model.speakers)
    if not known:
        return None
    most = max(each.num_samples for each in known)
    crop_length = min(round(CROP_SECONDS * model.sample_rate), most) // model.hop_length * model.hop_length
    if crop_length == 0:
        return None
    sampler = CropSampler(replace(corpus, utterances=known), "all", crop_length, batch_size=1, seed=seed)
    crops = sampler.fixed(CROPS)
    # the speakers' pitch ranges are those of all that they say in the corpus
    places = tuple(corpus.utterances.index(known[index]) for index in crops.utterance)
    heard = Listener(corpus, model.config).heard(replace(crops, utterance=places))
    speakers = torch.tensor([model.speakers.index(corpus.speakers[index]) for index in crops.speaker])
    bits = model.conditioning_bits(replace(heard, speaker=speakers))
    names = ("bits_true", "bits_shuffled", "bits_zero", "bits_wrong_speaker")
    # None: there is no other speaker, or no other crop
    return {name: None if getattr(bits, name) is None else float(getattr(bits, name)) for name in names}
