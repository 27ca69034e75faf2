"""The WaveNet's training loss on a CPU: the numbers of `WaveNet.forward` and cross-entropy, several times as fast.

Matrix products are torch's, in bfloat16 or float32; what lies between them is done by `kernels/loops.py`. A tile of
samples goes through all layers while it is in the cache. Gradients are computed together with the loss, which needs
no second pass over the logits; the backward pass only hands them out.

Clips are spread over torch's number of threads, each clip computed by one of them and the gradients added in order:
results do not depend on how many threads there are.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from audio_vq.kernels import loops

TILE = 1024  # samples: products reach their speed, and what lies between them stays in a usual second-level cache


@dataclass(frozen=True)
class DecoderWeights:
    """A WaveNet's parameters, or gradients, `(…, out, in)` as in `nn.Linear`. R residual, S skip channels."""

    taps: Tensor  # (layers, 2R, 2R); in: past beside present
    residual: Tensor  # (layers − 1, R, R)
    skip: Tensor  # (S, layers · R)
    hidden: Tensor  # (S, S)
    output: Tensor  # (bands · classes, S)
    embedding: Tensor  # (rows, R)
    residual_bias: Tensor  # (layers − 1, R)
    skip_bias: Tensor  # (S,)
    hidden_bias: Tensor  # (S,)
    output_bias: Tensor  # (bands · classes,)

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


def supported(parameter: Tensor, kernel_size: int) -> bool:
    """Whether a decoder with such parameters can have it: float32 on a CPU, kernel size 2."""
    return parameter.device.type == "cpu" and parameter.dtype == torch.float32 and kernel_size == 2


class FusedLoss:
    """The loss of one decoder, with the memory it works in, kept from step to step while clips are of one length.

    A copy begins without memory.
    """

    def __init__(self, dilations: tuple[int, ...]) -> None:
        self.dilations = dilations
        self._memory: list[_Memory] = []  # of clips that nobody computes just now

    def __reduce__(self) -> tuple[type["FusedLoss"], tuple[Any, ...]]:
        return FusedLoss, (self.dilations,)

    def __call__(
        self, weights: DecoderWeights, conditioning: Tensor, seen: Tensor, targets: Tensor, *, bfloat16: bool = False
    ) -> Tensor:
        """Mean −ln p(target), a scalar.

        Args:
            weights: of the decoder.
            conditioning: `(batch, frames, layers, 2R)`, each for time / frames steps.
            seen: `(batch, time, n)`, rows of the embedding whose sum a step begins with.
            targets: `(batch, bands, time)` classes.
            bfloat16: whether products are in bfloat16.
        """
        options = (self, bfloat16, torch.is_grad_enabled())
        loss: Tensor = _Loss.apply(options, seen, targets, conditioning, *weights.tensors())
        return loss

    def borrow(self, size: "_Size") -> "_Memory":
        """Memory for one clip, to be given back to `keep`."""
        while self._memory:
            memory = self._memory.pop()
            if memory.size == size:
                return memory
        return _Memory(size)

    def keep(self, memory: "_Memory") -> None:
        self._memory.append(memory)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        options: tuple[FusedLoss, bool, bool],
        seen: Tensor,
        targets: Tensor,
        conditioning: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        loss, bfloat16, gradients = options
        learning = any(tensor.requires_grad for tensor in tensors)  # else conditioning alone wants a gradient
        weights = DecoderWeights(*(tensor.detach() for tensor in tensors))
        operands = _Operands(weights, torch.bfloat16 if bfloat16 else torch.float32)
        layers, gates = conditioning.shape[2:]
        classes, skip = weights.output.shape
        size = _Size(targets.shape[2], layers, gates, len(weights.embedding), classes, skip, operands.dtype)
        firsts = torch.arange(0, classes, classes // targets.shape[1])  # of each band's classes
        aims = (targets.transpose(1, 2) + firsts).contiguous()
        clips = [
            _Clip(loss.dilations, operands, size, *each, learning=learning)
            for each in zip(seen.contiguous(), aims, conditioning.detach().contiguous(), strict=True)
        ]

        def work(clip: _Clip) -> float:
            memory = loss.borrow(size)
            total = clip.loss(memory, 1 / targets.numel(), gradients=gradients)
            loss.keep(memory)
            return total

        with torch.autocast("cpu", enabled=False):
            losses = _spread(work, clips)
        if gradients:
            sums = zip(*(clip.gradients.tensors() for clip in clips), strict=True)
            conditionings = next(sums)
            of_weights = [sum(each[1:], each[0]) for each in sums] if learning else [None] * len(tensors)
            ctx.save_for_backward(torch.stack(conditionings), *of_weights)
        return torch.tensor(sum(losses) / targets.numel(), dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(None if saved is None else gradient * saved for saved in ctx.saved_tensors)


def _spread(work: Callable[["_Clip"], float], clips: "list[_Clip]") -> list[float]:
    """Results of `work`, in order, from as many threads as torch may use; torch's own products take one each."""
    threads = torch.get_num_threads()
    if threads == 1:
        return [work(clip) for clip in clips]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, clips))
    finally:
        torch.set_num_threads(threads)  # a worker sets its own number, and that of threads that are yet to come


class _Operands:
    """Weights as products read them, layer by layer: `(in, out)` for the way there, `(out, in)` for the way back."""

    def __init__(self, weights: DecoderWeights, dtype: torch.dtype) -> None:
        channels = weights.embedding.shape[1]
        residual = F.pad(weights.residual, (0, 0, 0, 0, 0, 1))  # nothing reads the last layer's output
        joint = torch.cat([weights.skip.unflatten(1, (-1, channels)).transpose(0, 1), residual], 1)
        self.dtype = dtype
        self.taps_back = weights.taps.to(dtype).unbind()
        self.joint_back = joint.to(dtype).unbind()  # of skip beside residual: (S + R, R)
        self.hidden_back, self.output_back = weights.hidden.to(dtype), weights.output.to(dtype)
        self.taps = weights.taps.to(dtype).mT.contiguous().unbind()
        self.residual = weights.residual.to(dtype).mT.contiguous().unbind()
        self.skip, self.hidden, self.output = (
            each.to(dtype).T.contiguous() for each in (weights.skip, weights.hidden, weights.output)
        )
        self.embedding, self.residual_bias = weights.embedding.numpy(), weights.residual_bias.numpy()
        self.skip_bias, self.hidden_bias = weights.skip_bias.numpy(), weights.hidden_bias.numpy()
        self.output_bias = weights.output_bias.numpy()


class _Gradients:
    """Sums of one clip, float32."""

    def __init__(self, size: "_Size", conditioning: Tensor) -> None:
        layers, gates, S, R = size.layers, size.gates, size.skip, size.gates // 2
        self.conditioning = torch.zeros_like(conditioning)
        self.taps, self.joint = torch.zeros(layers, gates, gates), torch.zeros(layers, S + R, R)
        self.hidden, self.output = torch.zeros(S, S), torch.zeros(size.classes, S)
        self.embedding = np.zeros((size.rows, R), np.float32)
        self.input_bias = np.zeros((layers, R), np.float32)  # of what a layer begins with: the residual one before
        self.skip_bias, self.hidden_bias = np.zeros(S, np.float32), np.zeros(S, np.float32)
        self.output_bias = np.zeros(size.classes, np.float32)

    def tensors(self) -> tuple[Tensor, ...]:
        """Conditioning's, then those of the weights."""
        S = len(self.hidden)
        biases = (self.embedding, self.input_bias[1:], self.skip_bias, self.hidden_bias, self.output_bias)
        weights = DecoderWeights(
            self.taps,
            self.joint[:-1, S:],
            self.joint[:, :S].transpose(0, 1).flatten(1),
            self.hidden,
            self.output,
            *map(torch.from_numpy, biases),
        )
        return self.conditioning, *weights.tensors()


@dataclass(frozen=True)
class _Size:
    time: int  # samples
    layers: int
    gates: int  # 2R
    rows: int  # of the embedding
    classes: int  # of all bands
    skip: int  # channels, S
    dtype: torch.dtype  # of products


class _Matrix:
    """One piece of memory, as products and as loops read it: bfloat16, which NumPy does not know, as int16."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.turned = tensor, tensor.T
        self.array = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


class _Memory:
    """What one clip's loss works in, cut into tiles once and for all: views are dearer than they look."""

    def __init__(self, size: _Size) -> None:
        self.size = size
        time, gates, R = size.time, size.gates, size.gates // 2

        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=size.dtype)

        # of every layer: inputs, in whose place gradients wait on the way back; and tanh, σ
        inputs, activations = empty(size.layers, time, R), empty(size.layers, time, gates)
        joint = empty(time, size.skip + R)  # gradients of the sum of skip connections, and of a layer's output
        passing = {
            "gates": empty(TILE, size.layers * R),
            **{name: empty(TILE, R) for name in ("onward", "gate", "dgate")},
            **{name: empty(TILE, size.skip) for name in ("skip", "hidden", "dhidden", "dskip")},
            **{name: empty(TILE, gates) for name in ("pairs", "z")},  # or their gradients
            "logits": empty(TILE, size.classes),
        }
        x = np.empty((TILE, R), np.float32)
        self.inputs = [_Matrix(each).array for each in inputs]
        self.tiles = []
        for start in range(0, time, TILE):
            rows = slice(start, min(start + TILE, time))
            own = {name: each[: rows.stop - start] for name, each in passing.items()}
            self.tiles.append(_Tile(rows, activations[:, rows], joint[rows], own, x))


class _Tile:
    """A tile's share of the memory; all but activations and joint it shares with the other tiles."""

    def __init__(self, rows: slice, activations: Tensor, joint: Tensor, passing: dict[str, Tensor], x: Any) -> None:
        self.rows, self.start = rows, rows.start
        self.activations = [_Matrix(each).array for each in activations]
        self.joint = _Matrix(joint)
        self.x = x[: len(joint)]  # a layer's input, or its gradient: float32
        self.gates = _Matrix(passing["gates"])
        self.layer_gates = self.gates.tensor.split(self.x.shape[1], 1)
        self.gates_array = self.gates.array.reshape(len(joint), -1, self.x.shape[1])
        self.onward, self.gate, self.dgate = (_Matrix(passing[n]) for n in ("onward", "gate", "dgate"))
        self.pairs, self.z = _Matrix(passing["pairs"]), _Matrix(passing["z"])
        self.skip, self.hidden, self.dhidden, self.dskip, self.logits = (
            _Matrix(passing[n]) for n in ("skip", "hidden", "dhidden", "dskip", "logits")
        )


class _Clip:
    """One clip on its way through the decoder and back, a tile of samples at a time."""

    def __init__(
        self,
        dilations: tuple[int, ...],
        operands: _Operands,
        size: _Size,
        seen: Tensor,
        targets: Tensor,
        conditioning: Tensor,
        *,
        learning: bool,
    ) -> None:
        """Rows of the embedding `(time, n)`, of the output `(time, bands)`; conditioning `(frames, layers, 2R)`.

        Gradients of the weights are only there if they are `learning`.
        """
        self.dilations, self.operands, self.size, self.learning = dilations, operands, size, learning
        self.seen, self.targets, self.conditioning = seen.numpy(), targets.numpy(), conditioning.numpy()
        self.frames = np.arange(len(targets)) // (len(targets) // len(conditioning))  # of every sample
        self.gradients = _Gradients(size, conditioning)

    def loss(self, memory: _Memory, scale: float, *, gradients: bool) -> float:
        """Sum of −ln p(target); if asked for, the gradients of `scale` times that are in `gradients`."""
        total = 0.0
        for tile in memory.tiles:
            self._through_layers(memory, tile)
            total += self._through_outputs(tile, scale)
            if gradients:
                self._back_through_outputs(tile)
        if gradients:
            for tile in reversed(memory.tiles):
                self._back_through_layers(memory, tile)
        return total

    def _through_layers(self, memory: _Memory, tile: _Tile) -> None:
        """Inputs, activations and gates of all layers."""
        operands, frames, x, pairs, z = self.operands, self.frames[tile.rows], tile.x, tile.pairs, tile.z
        loops.embed(operands.embedding, self.seen[tile.rows], x, memory.inputs[0], tile.start)
        for layer, dilation in enumerate(self.dilations):
            loops.pair(memory.inputs[layer], tile.start, dilation, pairs.array)
            torch.mm(pairs.tensor, operands.taps[layer], out=z.tensor)
            loops.gate(z.array, self.conditioning, frames, layer, tile.activations[layer], tile.gates_array)
            if layer + 1 < len(self.dilations):
                torch.mm(tile.layer_gates[layer], operands.residual[layer], out=tile.onward.tensor)
                bias, inputs = operands.residual_bias[layer], memory.inputs[layer + 1]
                loops.advance(x, tile.onward.array, bias, inputs, tile.start)

    def _through_outputs(self, tile: _Tile, scale: float) -> float:
        """The tile's loss, from its gates; its logits become their gradients times `scale`."""
        operands, targets = self.operands, self.targets[tile.rows]
        torch.mm(tile.gates.tensor, operands.skip, out=tile.skip.tensor)
        loops.rectify(tile.skip.array, operands.skip_bias)
        torch.mm(tile.skip.tensor, operands.hidden, out=tile.hidden.tensor)
        loops.rectify(tile.hidden.array, operands.hidden_bias)
        torch.mm(tile.hidden.tensor, operands.output, out=tile.logits.tensor)
        logits, bias, dbias = tile.logits.array, operands.output_bias, self.gradients.output_bias
        return float(loops.cross_entropy(logits, bias, targets, scale, dbias))

    def _back_through_outputs(self, tile: _Tile) -> None:
        """Gradients of the output layers, and the first S columns of the joint ones."""
        operands, to = self.operands, self.gradients
        if self.learning:
            _add_product(to.output, tile.logits.turned, tile.hidden.tensor)
        torch.mm(tile.logits.tensor, operands.output_back, out=tile.dhidden.tensor)
        loops.rectify_back(tile.dhidden.array, tile.hidden.array, tile.dhidden.array, to.hidden_bias)
        if self.learning:
            _add_product(to.hidden, tile.dhidden.turned, tile.skip.tensor)
        torch.mm(tile.dhidden.tensor, operands.hidden_back, out=tile.dskip.tensor)
        loops.rectify_back(tile.dskip.array, tile.skip.array, tile.joint.array, to.skip_bias)

    def _back_through_layers(self, memory: _Memory, tile: _Tile) -> None:
        """Gradients of all layers and the embedding, after those of later tiles."""
        operands, to, frames, dx = self.operands, self.gradients, self.frames[tile.rows], tile.x
        dtaps, djoint, dconditioning = to.taps.unbind(), to.joint.unbind(), to.conditioning.numpy()
        gate, dgate, dz, joint, pairs = tile.gate, tile.dgate, tile.z, tile.joint, tile.pairs
        dx[:] = 0
        joint.array[:, -dx.shape[1] :] = 0
        for layer in range(len(self.dilations) - 1, -1, -1):
            torch.mm(joint.tensor, operands.joint_back[layer], out=dgate.tensor)
            activations, inputs, dilation = tile.activations[layer], memory.inputs[layer], self.dilations[layer]
            loops.gate_back(activations, dgate.array, frames, layer, gate.array, dz.array, dconditioning)
            if self.learning:
                _add_product(djoint[layer], joint.turned, gate.tensor)
                loops.pair(inputs, tile.start, dilation, pairs.array)
                _add_product(dtaps[layer], dz.turned, pairs.tensor)
            torch.mm(dz.tensor, operands.taps_back[layer], out=pairs.tensor)
            loops.pair_back(pairs.array, inputs, tile.start, dilation, dx, joint.array, to.input_bias[layer])
        if self.learning:
            loops.embed_back(dx, self.seen[tile.rows], to.embedding)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Adds a @ b to `total`, which is float32."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total.add_(torch.mm(a, b))
