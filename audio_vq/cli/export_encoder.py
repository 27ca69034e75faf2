"""`audio-vq export-encoder`."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from audio_vq.cli.options import Checkpoint, Force, Json, refuse_existing

Out = Annotated[
    Path, typer.Argument(metavar="OUT", help="File to write: .onnx (extra onnx), or .pt2 for torch.export.load.")
]


def export_encoder(checkpoint: Checkpoint, out: Out, force: Force = False, json_output: Json = False) -> None:
    """Write encoder and codebook as a graph for other programs: waveform (batch, time) to units (batch, groups, units).

    The waveform is a whole recording at the model's sample rate, without a constant offset; of a batch, recordings of
    one length. Its level is matched in the graph; pitch is not part of it. What must be known is in the file's
    metadata. The units are compared with the model's for a test sound.

    With --json: file, sample_rate, hop_length, codebook_size, groups, least_samples, loudness_db, pitch_classes,
    fingerprint, audio_vq, opset, equal_units (share, of the test sound).

    Example: audio-vq export-encoder voices voices-encoder.onnx
    """
    refuse_existing([out], force)
    from audio_vq.encoder_export import check_suffix
    from audio_vq.encoder_export import export_encoder as export
    from audio_vq.pretrained import VQVAE

    check_suffix(out)
    facts = export(VQVAE.from_pretrained(checkpoint), out)
    if json_output:
        print(json.dumps({"file": str(out), **dataclasses.asdict(facts)}))
        return
    print(
        f"{out}: waveform (batch, time) at {facts.sample_rate} Hz to units (batch, {facts.groups}, units) of "
        f"{facts.codebook_size}; {facts.equal_units:.2%} of a test sound's units are the model's"
    )
