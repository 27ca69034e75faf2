"""What the compiled training step reads, and the memory it works in."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from audio_vq.kernels.compiling import compiled
from audio_vq.kernels.products import INNER, Floats, Operand

Ints = npt.NDArray[np.int64]


class Matrices(NamedTuple):
    """What tiles `(rows, in)` are multiplied with, all `(…, in, out)`; or the gradients of that.

    R residual channels, S skip channels. As operands in bfloat16, `in` is half as long.
    """

    past: Operand  # (layers, 2, R, R): for tanh, for σ
    present: Operand  # (layers, 2, R, R)
    residual: Operand  # (layers − 1, R, R)
    skip: Operand  # (layers, R, S)
    hidden: Operand  # (S, S)
    output: Operand  # (S, classes)


class Vectors(NamedTuple):
    """Everything else that is learned, and `conditioning`; or the gradients of that."""

    embedding: Floats  # (classes, R)
    residual: Floats  # (layers − 1, R): biases
    skip: Floats  # (S,)
    hidden: Floats  # (S,)
    output: Floats  # (classes,)
    conditioning: Floats  # (frames, layers, 2, R)


class Network(NamedTuple):
    forward: Matrices
    backward: Matrices  # the same matrices transposed
    vectors: Vectors
    dilations: Ints  # (layers,)
    frame: int  # samples that share their conditioning
    tile: int  # samples; divides the frame's


class Operands(NamedTuple):
    """Tiles as products read them: along their columns, or along their rows, which is time."""

    channels: Operand
    skip: Operand
    classes: Operand
    channels_time: Operand
    past_time: Operand
    dx_time: Operand
    dz_time: Operand
    skip_time: Operand
    dskip_time: Operand
    classes_time: Operand


class Work(NamedTuple):
    """Working memory of one clip."""

    inputs: Floats  # (layers, margin + time + margin, R): of every layer, silence around them
    activations: Floats  # (tiles, layers, 2, tile, R): tanh, σ
    dskips: Floats  # (tiles, tile, S): gradients of the sum of skip connections
    z: Floats  # (2, tile, R): the gate's inputs, or their gradients
    gate: Floats  # (tile, R)
    dgate: Floats  # (tile, R)
    dx: Floats  # (tile, R)
    skip: Floats  # (tile, S)
    hidden: Floats  # (tile, S)
    dhidden: Floats  # (tile, S)
    logits: Floats  # (tile, classes)
    operands: Operands


@compiled(**INNER)
def working_memory(network: Network, time: int, tiles: int) -> Work:
    """With room for the activations of so many tiles."""
    layers, channels, classes = len(network.dilations), network.vectors.embedding.shape[1], len(network.vectors.output)
    tile, skip, margin = network.tile, len(network.vectors.skip), network.dilations.max()
    inputs = np.empty((layers, margin + time + margin, channels), np.float32)
    inputs[:, :margin] = 0
    inputs[:, margin + time :] = 0
    kind: Any = network.forward.hidden.dtype
    pair = skip // len(network.forward.hidden)
    return Work(
        inputs=inputs,
        activations=np.empty((tiles, layers, 2, tile, channels), np.float32),
        dskips=np.empty((tiles, tile, skip), np.float32),
        z=np.empty((2, tile, channels), np.float32),
        gate=np.empty((tile, channels), np.float32),
        dgate=np.empty((tile, channels), np.float32),
        dx=np.empty((tile, channels), np.float32),
        skip=np.empty((tile, skip), np.float32),
        hidden=np.empty((tile, skip), np.float32),
        dhidden=np.empty((tile, skip), np.float32),
        logits=np.empty((tile, classes), np.float32),
        operands=Operands(
            channels=np.empty((tile, channels // pair), kind),
            skip=np.empty((tile, skip // pair), kind),
            classes=np.empty((tile, classes // pair), kind),
            channels_time=np.empty((tile // pair, channels), kind),
            past_time=np.empty((tile // pair, channels), kind),
            dx_time=np.empty((tile // pair, channels), kind),
            dz_time=np.empty((tile // pair, channels), kind),
            skip_time=np.empty((tile // pair, skip), kind),
            dskip_time=np.empty((tile // pair, skip), kind),
            classes_time=np.empty((tile // pair, classes), kind),
        ),
    )
