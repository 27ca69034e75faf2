"""Training that begins with another model's weights."""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_training import FULL, MODEL, run_of

from audio_vq.checkpoint import CheckpointInfo, save_checkpoint
from audio_vq.config import as_dict
from audio_vq.data.prepared import CORPUS_FILE, UTTERANCES_FILE
from audio_vq.errors import UserError
from audio_vq.models.vqvae import build_vqvae
from audio_vq.training import runs
from audio_vq.training.initial import RANGES, SPEAKERS, begin_with
from audio_vq.training.runs import run_vqvae

NAMES = ("ann", "ben", "cleo")


def model_of(config, speakers=NAMES):
    return build_vqvae(config, len(speakers))


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A checkpoint of three speakers that quantises already."""
    torch.manual_seed(5)
    model = model_of(FULL)
    model.quantizer.started.fill_(True)
    model.wavenet.bands.gain.copy_(torch.tensor([3.0, 30.0]))
    model.wavenet.conditioner.period.fit([(200.0, 3.0), (100.0, 2.0), (250.0, 4.0)])
    folder = tmp_path_factory.mktemp("known") / "model"
    save_checkpoint(folder, CheckpointInfo("vqvae", as_dict(FULL), NAMES), model.state_dict())
    return folder


@pytest.fixture(scope="module")
def other_corpus(sung_corpus, tmp_path_factory):
    """The same recordings, said to be of ben, cleo and dora."""
    corpus = shutil.copytree(sung_corpus, tmp_path_factory.mktemp("other") / "corpus")
    for file in (UTTERANCES_FILE, CORPUS_FILE):
        text = (corpus / file).read_text()
        for name, instead in (("cleo", "dora"), ("ben", "cleo"), ("ann", "ben")):
            text = text.replace(f'"{name}"', f'"{instead}"')
        (corpus / file).write_text(text)
    return corpus


def test_weights_are_taken_and_new_speakers_begin_at_the_mean(known):
    torch.manual_seed(6)
    speakers = ("ben", "cleo", "dora", "eve")
    model = model_of(FULL, speakers)
    ranges = [(100.0, 2.0), (250.0, 4.0), (120.0, 2.0), (180.0, 3.0)]  # as the corpus at hand has them
    model.wavenet.conditioner.period.fit(ranges)
    begin_with(model, FULL, speakers, str(known))
    theirs, ours = load_file(known / "model.safetensors"), model.state_dict()
    assert theirs.keys() == ours.keys()
    for name, weights in theirs.items():
        if name not in (SPEAKERS, RANGES):
            assert torch.equal(ours[name], weights), name
    assert ours[RANGES].tolist() == [list(each) for each in ranges]
    embeddings = theirs[SPEAKERS]
    assert torch.equal(ours[SPEAKERS], torch.stack([*embeddings[1:], embeddings.mean(0), embeddings.mean(0)]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pitch": 8}, r"is a model with model\.pitch=9; give the same"),
        ({"encoder": MODEL.encoder}, r"a model with model\.encoder\.centred=True; give"),
        ({"quantizer": MODEL.quantizer}, r"model\.quantizer\.groups=2; give"),
        (
            {"wavenet": MODEL.wavenet},
            r"model\.wavenet\.bands=2, model\.wavenet\.pitch_taps=1, model\.wavenet\.spectrum_weight=0\.5; give",
        ),
    ],
)
def test_another_architecture_is_refused_in_one_line(known, sung_corpus, tmp_path, change, said):
    run = run_of(sung_corpus, tmp_path / "run", dataclasses.replace(FULL, **change), init=known)
    with pytest.raises(UserError, match=f"init={known} .*{said}") as caught:
        run_vqvae(run)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "run").glob("*"))


def test_one_hot_voices_cannot_be_joined(tmp_path):
    one_hot = dataclasses.replace(FULL, wavenet=dataclasses.replace(FULL.wavenet, speaker_channels=0))
    model = model_of(one_hot)
    save_checkpoint(tmp_path / "m", CheckpointInfo("vqvae", as_dict(one_hot), NAMES), model.state_dict())
    begin_with(model_of(one_hot), one_hot, NAMES, str(tmp_path / "m"))
    with pytest.raises(UserError, match="one-hot vectors: others cannot join"):
        begin_with(model_of(one_hot), one_hot, ("ann", "ben"), str(tmp_path / "m"))


def test_what_is_no_whole_model_is_refused(known, tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        begin_with(model_of(FULL), FULL, NAMES, str(tmp_path / "nowhere"))
    for lacking in (SPEAKERS, "wavenet.output.bias"):
        damaged = shutil.copytree(known, tmp_path / lacking)
        weights = load_file(known / "model.safetensors")
        del weights[lacking]
        save_file(weights, damaged / "model.safetensors")
        with pytest.raises(UserError, match=r"model\.safetensors cannot be loaded"):
            begin_with(model_of(FULL), FULL, NAMES, str(damaged))


def test_a_run_begins_there_once_and_then_goes_on(known, other_corpus, tmp_path, monkeypatch):
    """It quantises at once, whatever share of the budget fresh models leave continuous; a second start resumes."""
    begun = []

    def begin(network, *arguments):
        begin_with(network, *arguments)
        begun.append({name: tensor.clone() for name, tensor in network.state_dict().items()})

    monkeypatch.setattr(runs, "begin_with", begin)
    run_vqvae(run_of(other_corpus, tmp_path / "run", FULL, init=known, steps=2, validations=2))
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [record["quantized"] for record in records] == [True, True]
    saved = load_file(tmp_path / "run/last/training.safetensors")
    moved = {name for name, tensor in begun[0].items() if not torch.equal(saved[f"model.{name}"], tensor)}
    assert {SPEAKERS, "quantizer.codebook", "wavenet.output.weight", "encoder.layers.0.weight"} <= moved
    assert not moved & {"wavenet.bands.gain", "encoder.filterbank.kernel", "quantizer.started"}

    run_vqvae(run_of(other_corpus, tmp_path / "run", FULL, init=known, steps=3, validations=1))
    assert len(begun) == 1
    assert json.loads((tmp_path / "run/last/training.json").read_text())["step"] == 3


def test_paths_may_be_relative(known, sung_corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(known.parent)
    run_vqvae(run_of(sung_corpus, tmp_path / "run", FULL, init=known.name, steps=1, validations=1))
    assert (tmp_path / "run/last").exists()
