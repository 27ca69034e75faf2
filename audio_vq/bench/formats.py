"""What rounded weights change: the divergence of their predictions from those of float32, on speech."""

import torch
from torch import Tensor

from audio_vq.bench.decoder import Decoder
from audio_vq.bench.measurement import Measurement
from audio_vq.codec.decode import sample_waveforms, teacher_forced_logits
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.sampler import Precision

NAMES = ("wavenet_int8_kl_nats_per_sample",)


def measure_formats(decoder: Decoder) -> list[Measurement]:
    """KL(float32 ‖ int8) per sample, both reading the same speech (teacher forcing).

    A step says as many classes as it makes samples: one per band.
    """
    own = decoder.targets is None
    targets = _own_speech(decoder) if decoder.targets is None else decoder.targets
    exact, rough = (_log_probabilities(decoder, targets, precision) for precision in ("float32", "int8"))
    divergence = (exact.exp() * (exact - rough)).sum(2).mean().item()
    context = {
        **decoder.context,
        "precision": "int8",
        "speech": "the decoder's own" if own else "recorded",
        "samples": targets.numel(),
    }
    name = decoder.prefix + NAMES[0]
    return [Measurement(name, divergence, "nats/sample", baseline="float32 weights", context=context)]


def _log_probabilities(decoder: Decoder, targets: Tensor, precision: Precision) -> Tensor:
    """`(bands, steps, classes)`, float64."""
    latents = decoder.latents[None]
    logits = teacher_forced_logits(decoder.wavenet, targets[None], latents, decoder.voice, precision=precision)
    return logits[0].permute(1, 2, 0).double().log_softmax(2)


def _own_speech(decoder: Decoder) -> Tensor:
    latents, speakers = [decoder.latents], [decoder.speaker]
    (waveform,) = sample_waveforms(decoder.wavenet, latents, speakers, SamplingOptions(), precision="float32")
    return decoder.wavenet.bands.encode(torch.from_numpy(waveform)[None])[0]
