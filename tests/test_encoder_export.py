"""The encoder as other programs run it says what `encode` says of the same waveform, to near ties."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from test_cli import call, mistake
from test_encoding import ENCODERS, model_with, noise, sequences_of, voice

from audio_vq import VQVAE
from audio_vq.codec.source import Source
from audio_vq.encoder_export import METADATA_FILE, EncoderGraph, export_encoder


def own_units(model, waveforms):
    """`(batch, groups, units)` by the model, of waveforms just as they are."""
    sources = [Source(str(i), "", "", lambda _, w=w: iter([w])) for i, w in enumerate(waveforms)]
    return np.stack([each.groups for each in sequences_of(model, sources)])


def sounds(model, units, seed=0):
    """Three of one length, `(3, time)`: noise, noise after silence, and noise so faint that it is raised by 30 dB."""
    samples = units * model.hop_length - 7
    waveforms = np.stack([noise(samples, seed + i) for i in range(3)])
    waveforms[1, : samples // 2] = 0
    waveforms[2] /= 100
    return waveforms


def with_loudness(model):
    """The same, with a training corpus that had one."""
    info = dataclasses.replace(model.info, data=model.info.data | {"loudness_db": -23.0})
    return VQVAE(model.network, model.config, info)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("units", [2, 3, 150])
@pytest.mark.parametrize("loudness", [with_loudness, lambda model: model], ids=["levelled", "as recorded"])
def test_the_graph_says_what_encode_says(name, units, loudness):
    """Short ones too: at both ends the encoder sees beyond them."""
    model = loudness(voice() if name == "voice" else model_with(ENCODERS[name]))
    waveforms = sounds(model, units)
    with torch.no_grad():
        said = EncoderGraph(model.network, model.loudness_db).eval()(torch.from_numpy(waveforms)).numpy()
    assert (said == own_units(model, waveforms)).mean() > (0.98 if units > 3 else 0.99)


@pytest.mark.slow
def test_onnx_says_what_encode_says(tmp_path):
    """Another length and batch than it was exported with; what must be known is in the file."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model = with_loudness(voice())
    facts = export_encoder(model, tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    for units in (2, 77):
        waveforms = sounds(model, units)
        (said,) = session.run(["units"], {"waveform": waveforms})
        assert (said == own_units(model, waveforms)).mean() > 0.98
    (told,) = session.run(["units"], {"waveform": waveforms[:1]})
    np.testing.assert_array_equal(told[0], said[0])
    assert facts.equal_units > 0.98
    assert session.get_inputs()[0].shape == ["batch", "time"]
    known = session.get_modelmeta().custom_metadata_map
    assert (known["sample_rate"], known["hop_length"], known["groups"]) == ("16000", str(model.hop_length), "2")
    assert (known["codebook_size"], known["fingerprint"]) == ("32", model.fingerprint)


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch's about itself
def test_an_exported_program_says_what_encode_says(tmp_path):
    model = with_loudness(voice())
    model.encode(noise(4000), 16000)  # rearranges the weights in memory
    facts = export_encoder(model, tmp_path / "encoder.pt2")
    extra = {METADATA_FILE: ""}
    program = torch.export.load(tmp_path / "encoder.pt2", extra_files=extra)
    waveforms = sounds(model, 77)
    assert (program.module()(torch.from_numpy(waveforms)).numpy() == own_units(model, waveforms)).mean() > 0.98
    assert json.loads(extra[METADATA_FILE])["fingerprint"] == model.fingerprint == facts.fingerprint


def test_silence_has_units_too():
    model = with_loudness(voice())
    silence = np.zeros((1, 50 * model.hop_length), np.float32)
    with torch.no_grad():
        said = EncoderGraph(model.network, -23.0).eval()(torch.from_numpy(silence)).numpy()
    np.testing.assert_array_equal(said, own_units(model, silence))


def test_the_command(tmp_path, monkeypatch):
    voice().save_pretrained(tmp_path / "model")
    out, _ = call("export-encoder", tmp_path / "model", tmp_path / "encoder.pt2", "--json")
    facts = json.loads(out)
    assert (facts["file"], facts["opset"]) == (str(tmp_path / "encoder.pt2"), None)
    assert facts["equal_units"] > 0.98
    assert "--force" in mistake("export-encoder", tmp_path / "model", tmp_path / "encoder.pt2")
    assert "not .pth" in mistake("export-encoder", tmp_path / "model", tmp_path / "encoder.pth")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "audio-vq[onnx]" in mistake("export-encoder", tmp_path / "model", tmp_path / "encoder.onnx")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["encoder.pt2", "model"]
