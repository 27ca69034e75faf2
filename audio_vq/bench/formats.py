"""What rounded weights change: the divergence of their predictions from those of float32, on speech."""

import torch
from torch import Tensor

from audio_vq.audio import mu_law_encode
from audio_vq.bench.decoder import Decoder
from audio_vq.bench.measurement import Measurement
from audio_vq.codec.decode import sample_waveforms, teacher_forced_logits
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.sampler import Precision

NAMES = ("wavenet_int8_kl_nats_per_sample",)


def measure_formats(decoder: Decoder) -> list[Measurement]:
    """KL(float32 ‖ int8) per sample, both reading the same speech (teacher forcing)."""
    own = decoder.targets is None
    targets = _own_speech(decoder) if decoder.targets is None else decoder.targets
    exact, rough = (_log_probabilities(decoder, targets, precision) for precision in ("float32", "int8"))
    divergence = (exact.exp() * (exact - rough)).sum(1).mean().item()
    context = {
        **decoder.context,
        "precision": "int8",
        "speech": "the decoder's own" if own else "recorded",
        "samples": len(targets),
    }
    name = decoder.prefix + NAMES[0]
    return [Measurement(name, divergence, "nats/sample", baseline="float32 weights", context=context)]


def _log_probabilities(decoder: Decoder, targets: Tensor, precision: Precision) -> Tensor:
    """`(time, classes)`, float64."""
    latents = decoder.latents[None]
    logits = teacher_forced_logits(decoder.wavenet, targets[None], latents, decoder.voice, precision=precision)
    return logits[0].T.double().log_softmax(1)


def _own_speech(decoder: Decoder) -> Tensor:
    latents, speakers = [decoder.latents], [decoder.speaker]
    (waveform,) = sample_waveforms(decoder.wavenet, latents, speakers, SamplingOptions(), precision="float32")
    return mu_law_encode(torch.from_numpy(waveform), decoder.wavenet.embedding.num_embeddings)
