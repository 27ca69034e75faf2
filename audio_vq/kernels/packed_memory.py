"""Memory of the sampling step: working arrays, and the sizes and addresses that its inner functions share."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audio_vq.kernels.compiling import compiled
from audio_vq.kernels.drawing import Draw, empty_draw
from audio_vq.kernels.packing import Floats, Ints, PackedWeights, activation_dtype
from audio_vq.kernels.streams import StreamStates

AHEAD_ROWS = 8  # rows of past taps multiplied at a time

FLOAT_BYTES, INT_BYTES, SCALE_BYTES = 4, 8, 8  # a scale is a float and an integer, see `rows.store_activations`


class Workspace(NamedTuple):
    """Working memory for some rows (streams side by side)."""

    z: Floats  # (layers, ahead · rows, 2R): gate inputs of `ahead` samples
    now: Floats  # (rows, 2R): gate inputs of one sample, of layers that look back less than `ahead`
    x: Floats  # (rows, R + S): input of the next layer | sum of skips
    hidden: Floats  # (rows, S)
    logits: Floats  # (rows, classes)
    inputs: npt.NDArray[np.generic]  # (ahead · rows, max(R, S)): activations, what a product reads
    input_scales: Floats  # (ahead · rows, 2)
    gates: npt.NDArray[np.generic]  # (rows, R): activations
    gate_scales: Floats  # (rows, 2)
    draw: Draw


class Step(NamedTuple):
    """Sizes and addresses, which the functions below share."""

    rows: int
    ahead: int
    layers: int
    kernel_size: int
    vector_bytes: int
    head_terms: int
    channels: int
    skip: int
    classes: int  # padded
    frames: int  # of conditioning
    hop: int  # samples per frame
    entries: int  # of a stream's rings
    row_x: int  # bytes of a row of x …
    row_z: int
    row_head: int
    row_in: int  # … and of inputs, gates and past
    weights: int
    scales: int
    matrices: int
    dilations: int
    embedding: int
    residual_bias: int
    skip_bias: int
    hidden_bias: int
    output_bias: int
    slots: int
    past: int
    past_scales: int
    next: int
    previous: int
    conditioning: int
    z: int
    now: int
    x: int
    hidden: int
    logits: int
    inputs: int
    input_scales: int
    gates: int
    gate_scales: int


def workspace(packed: PackedWeights, rows: int) -> Workspace:
    layers, channels, skip = len(packed.dilations), packed.embedding.shape[1], len(packed.skip_bias)
    ahead, kind = max(1, AHEAD_ROWS // rows), activation_dtype(packed)
    return Workspace(
        z=np.zeros((layers, ahead * rows, 2 * channels), np.float32),
        now=np.zeros((rows, 2 * channels), np.float32),
        x=np.zeros((rows, channels + skip), np.float32),
        hidden=np.zeros((rows, skip), np.float32),
        logits=np.zeros((rows, len(packed.output_bias)), np.float32),
        inputs=np.zeros((ahead * rows, max(channels, skip)), kind),
        input_scales=np.zeros((ahead * rows, 2), np.float32),
        gates=np.zeros((rows, channels), kind),
        gate_scales=np.zeros((rows, 2), np.float32),
        draw=empty_draw(len(packed.embedding)),
    )


@compiled(forceinline=True)
def step_of(
    packed: PackedWeights, states: StreamStates, slots: Ints, conditioning: Floats, time: int, work: Workspace
) -> Step:
    rows, frames = conditioning.shape[:2]
    channels, skip = packed.embedding.shape[1], len(packed.skip_bias)
    return Step(
        rows,
        work.inputs.shape[0] // rows,
        len(packed.dilations),
        packed.kernel_size,
        packed.vector_bytes,
        packed.head_terms,
        channels,
        skip,
        len(packed.output_bias),
        frames,
        time // frames,
        states.past.shape[1],
        FLOAT_BYTES * (channels + skip),
        FLOAT_BYTES * 2 * channels,
        work.inputs.itemsize * skip,
        work.inputs.itemsize * channels,
        _address(packed.weights),
        _address(packed.scales),
        _address(packed.matrices),
        _address(packed.dilations),
        _address(packed.embedding),
        _address(packed.residual_bias),
        _address(packed.skip_bias),
        _address(packed.hidden_bias),
        _address(packed.output_bias),
        _address(slots),
        _address(states.past),
        _address(states.scales),
        _address(states.next),
        _address(states.previous),
        _address(conditioning),
        _address(work.z),
        _address(work.now),
        _address(work.x),
        _address(work.hidden),
        _address(work.logits),
        _address(work.inputs),
        _address(work.input_scales),
        _address(work.gates),
        _address(work.gate_scales),
    )


@compiled(forceinline=True)
def _address(array: npt.NDArray[np.generic]) -> np.int64:
    return np.int64(array.ctypes.data)
