"""How fast the decoder speaks on a GPU: recorded steps against the plain ones, of as many streams."""

import copy
import dataclasses
from collections.abc import Sequence

from audio_vq.bench.decoder import Decoder
from audio_vq.bench.measurement import Budget, Measurement, take_turns
from audio_vq.bench.sampling import plain_sampler
from audio_vq.codec.decode import sample_waveforms
from audio_vq.codec.drawing import SamplingOptions

STREAMS = (256, 2048)
NAMES = tuple(
    name
    for streams in STREAMS
    for name in (
        f"wavenet_gpu_plain_{streams}_streams_samples_per_s",
        f"wavenet_gpu_{streams}_streams_samples_per_s",
        f"wavenet_gpu_{streams}_streams_realtime",
    )
)


def measure_gpu(
    decoder: Decoder, budget: Budget, device: str = "cuda", streams: Sequence[int] = STREAMS
) -> list[Measurement]:
    """Recording the steps is part of each call, as it is for a user."""
    there = dataclasses.replace(
        decoder, wavenet=copy.deepcopy(decoder.wavenet).to(device), latents=decoder.latents.to(device)
    )
    return [row for count in streams for row in _measure(there, budget, count)]


def _measure(decoder: Decoder, budget: Budget, streams: int) -> list[Measurement]:
    plain, fast = f"wavenet_gpu_plain_{streams}_streams_samples_per_s", f"wavenet_gpu_{streams}_streams_samples_per_s"

    def work() -> float:
        latents, speakers = [decoder.latents] * streams, [decoder.speaker] * streams
        return sum(map(len, sample_waveforms(decoder.wavenet, latents, speakers, SamplingOptions())))

    rates = take_turns({plain: plain_sampler(decoder, streams), fast: work}, budget.seconds)
    context = {**decoder.context, "streams": streams, "precision": "float32"}
    times = rates.median(fast) / decoder.sample_rate
    return [
        Measurement(decoder.prefix + plain, rates.median(plain), "samples/s", context=context),
        Measurement(
            decoder.prefix + fast,
            rates.median(fast),
            "samples/s",
            ratio=rates.ratio(fast, plain),
            baseline=decoder.prefix + plain,
            context=context,
        ),
        Measurement(
            f"{decoder.prefix}wavenet_gpu_{streams}_streams_realtime",
            times,
            "seconds of audio/s",
            ratio=times,
            baseline="real time",
            context=context,
        ),
    ]
