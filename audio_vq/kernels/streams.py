"""Where the sampling of some streams stands, for every kernel."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class StreamStates(NamedTuple):
    """Past inputs of all layers of some streams, changed in place from sample to sample.

    Each layer keeps its inputs of the last (kernel − 1) · dilation samples in a ring.
    """

    past: npt.NDArray[np.generic]  # (streams, Σ ring lengths, R): the layers' rings one after another, float32 or int8
    scales: npt.NDArray[np.float32]  # (streams, Σ ring lengths, 2): of int8 entries, see `rows.store_activations`
    next: npt.NDArray[np.int64]  # (streams, layers): where in its ring each layer writes next, over its oldest entry
    previous: npt.NDArray[np.int64]  # (streams,): class of the last sample


def silent_streams(
    streams: int, entries: int, channels: int, layers: int, dtype: type[np.generic], silence: int
) -> StreamStates:
    """Streams before their first sample: nothing but zeros lies behind, and the class of amplitude zero."""
    return StreamStates(
        past=np.zeros((streams, entries, channels), dtype),
        scales=np.zeros((streams, entries, 2), np.float32),
        next=np.zeros((streams, layers), np.int64),
        previous=np.full(streams, silence, np.int64),
    )


def begin_again(states: StreamStates, slot: int, silence: int) -> None:
    """Makes one stream as it was before its first sample."""
    for array in (states.past, states.scales, states.next):
        array[slot] = 0
    states.previous[slot] = silence
