"""Conditioning of a clip in chunks on a fixed grid of units: the same alone, in company, streamed and at once.

A chunk is made clip by clip although a batch would be faster: matrix products of other sizes round differently, and a
clip must not depend on its company.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from audio_vq.models.wavenet import Conditioner

BLOCK_UNITS = 8  # long enough that making it costs little, short enough to wait for in live conversion


def conditioning_chunks(conditioner: Conditioner, latents: Tensor, speaker: int) -> Iterator[Tensor]:
    """Conditioning `(frames, layers, 2R)` of latents `(dim, units)`, chunk by chunk."""
    units, reach = latents.shape[1], conditioner.reach
    for start in range(0, units, BLOCK_UNITS):
        end = min(start + BLOCK_UNITS, units)
        first, last = max(0, start - reach), min(units, end + reach)
        yield chunk_conditioning(conditioner, latents[:, first:last], speaker, start - first, end - first)


@torch.no_grad()
def chunk_conditioning(conditioner: Conditioner, window: Tensor, speaker: int, start: int, end: int) -> Tensor:
    """Conditioning `(frames, layers, 2R)` of units start … end of a window of latents `(dim, units)`.

    The window goes on for the conditioner's reach to either side, except at an end of the clip.
    """
    voice = torch.tensor([speaker], device=window.device)
    frames = conditioner(window[None], voice)[0]  # (layers, F, 2R)
    per_unit = frames.shape[1] // window.shape[1]
    return frames[:, start * per_unit : end * per_unit].transpose(0, 1)
