"""Models go to the Hub and come back the same; what it refuses is said in one line."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from fake_hub import READ_TOKEN, TOKEN, serving
from huggingface_hub import ModelCard, constants
from test_cli import call, mistake
from test_encoding import ENCODERS, model_with, voice
from test_gaussian import gaussian_config, gaussian_model
from test_unit_prior import make_unit_prior

from audio_vq import VQVAE, UnitPrior
from audio_vq.checkpoint import CheckpointInfo, read_info, resolve_checkpoint, save_checkpoint
from audio_vq.config import PriorConfig, as_dict
from audio_vq.errors import UserError
from audio_vq.publish import publish

# huggingface_hub's own call of the client that it uses
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
ODD = "a|b <i>c</i> `d` ```\"e' --- # [f](g) $h"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub, a token for it, and a cache of its own."""
    with serving() as (state, address):
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in (
            ("ENDPOINT", address),
            ("HUGGINGFACE_CO_URL_TEMPLATE", template),
            ("HF_HUB_CACHE", str(tmp_path / "cache")),
            ("HF_TOKEN_PATH", str(tmp_path / "token")),
            ("HF_HUB_DISABLE_XET", True),
        ):
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.chdir(tmp_path)
        state.address = address
        yield state


@pytest.fixture
def model():
    return model_with(ENCODERS["filterbank"])


def moved(model):
    """The same with other weights."""
    other = model_with(ENCODERS["filterbank"])
    with torch.no_grad():
        other.network.wavenet.output.bias.add_(1)
    return other


def assert_same(one, other):
    assert one.speakers == other.speakers
    theirs = other.network.state_dict()
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name


def test_a_model_comes_back_the_same_and_stays_without_a_network(hub, model, monkeypatch):
    assert model.push_to_hub("you/model") == f"{hub.address}/you/model"
    (commit,) = hub.repositories["you/model"].commits
    assert set(commit[2]) == {"README.md", "config.json", "model.safetensors"}
    assert hub.stored, "weights go the way of large files"
    assert_same(model, VQVAE.from_pretrained("you/model"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = list(hub.asked)
    assert_same(model, VQVAE.from_pretrained("you/model"))
    assert hub.asked == asked
    with pytest.raises(UserError, match=r"you/other .*cannot be reached"):
        resolve_checkpoint("you/other")
    with pytest.raises(UserError, match="cannot be reached"):
        model.push_to_hub("you/model")


def test_revisions(hub, model):
    model.push_to_hub("you/model")
    repository = hub.repositories["you/model"]
    repository.tags["v1"] = repository.commits[0][0]
    moved(model).push_to_hub("you/model")
    assert_same(moved(model), VQVAE.from_pretrained("you/model"))
    assert_same(model, VQVAE.from_pretrained("you/model", revision="v1"))
    assert_same(model, VQVAE.from_pretrained(f"you/model@{repository.commits[0][0]}"))
    assert json.loads(call("info", "you/model@v1", "--json")[0])["speakers"] == ["ann", "ben"]
    assert "has no revision 'v7'" in mistake("info", "you/model@v7")
    model.save_pretrained("here")
    with pytest.raises(UserError, match="here is on this machine; only a checkpoint on the Hub has a revision"):
        VQVAE.from_pretrained("here", revision="v1")


def test_priors_gaussian_models_runs_and_shipped_models(hub, model):
    prior = make_unit_prior((32,))
    data = prior.info.data | {"codebook_size": 32, "sample_rate": 16000, "hop_length": 320}
    config = PriorConfig(layers=2, heads=2, channels=16, context=16, dropout=0.0)
    prior.info = dataclasses.replace(prior.info, config=as_dict(config), data=data)
    prior.push_to_hub("you/prior")
    again = UnitPrior.from_pretrained("you/prior")
    assert (again.sample("ben", 0.2)[0] == prior.sample("ben", 0.2)[0]).all()
    card = card_of(hub, "you/prior")
    assert card.data.pipeline_tag is None
    assert "audio-vq sample you/prior CHECKPOINT --speaker ann" in card.text

    info = CheckpointInfo("vqvae", as_dict(gaussian_config()), ("ann", "ben"))
    save_checkpoint(Path("gaussian"), info, gaussian_model().state_dict())
    publish("gaussian", "you/gaussian")
    assert read_info(resolve_checkpoint("you/gaussian")) == read_info(Path("gaussian"))
    assert "convert" not in card_of(hub, "you/gaussian").text

    model.save_pretrained("run/checkpoints/step-00000003")
    Path("run/best").symlink_to("checkpoints/step-00000003")
    told = json.loads(call("push", "run", "you/best", "--private", "--json")[0])
    assert told == {
        "repository": "you/best",
        "url": f"{hub.address}/you/best",
        "commit": hub.repositories["you/best"].commits[0][0],
    }
    assert hub.repositories["you/best"].private

    assert call("push", "voices", "you/voices")[0] == f"{hub.address}/you/voices\n"
    assert "CC BY 4.0" in card_of(hub, "you/voices").text, "who ships a model has told its licences"
    assert "FOLDER" not in card_of(hub, "you/voices").text


def card_of(hub, repository):
    return ModelCard(hub.repositories[repository].commits[-1][2]["README.md"].decode())


def code_of(card):
    """The Python lines."""
    return card.text.split("```python\n")[1].split("\n```")[0]


def test_the_card_tells_what_the_hub_reads_and_people_need(hub, tmp_path):
    model = voice()
    voices = {"ann": {"corpus": "VCTK", "gender": "F", "accent": "Scottish"}, "ben": {"corpus": "VCTK"}}
    model.info = dataclasses.replace(model.info, data=model.info.data | {"voices": voices, "hours": 0.5})
    value = {"value": 0.25, "n": 9, "ci95": [0.2, 0.3]}
    conditions = ("converted", "reconstructed", "real_target", "real_source")
    keys = ("target_preferred", "target_similarity", "character_error_rate")
    judged = {name: {**dict.fromkeys(keys, value), "dnsmos": {"ovrl": value}} for name in conditions}
    for each in judged.values():
        each["mel_cepstral_distortion"] = {"value": None, "n": 0, "ci95": None}
    judged["converted"]["character_error_rate_shuffled"] = {"value": 1.25}
    Path("conversion.json").write_text(json.dumps(judged | {"corpus": "/home/me/my data (vctk)", "split": "test"}))
    model.push_to_hub("you/model", conversion="conversion.json")
    card = card_of(hub, "you/model")
    data = card.data
    assert (data.library_name, data.pipeline_tag, data.language) == ("audio-vq", "audio-to-audio", "en")
    assert (data.license, data.datasets) == ("cc-by-4.0", ["CSTR-Edinburgh/vctk"])
    assert {"voice-conversion", "vq-vae"} <= set(data.tags)
    results = {each.metric_name: each for each in data.eval_results}
    assert len(results) == 4, "what could not be measured is no result"
    error = results["character error rate"]
    assert (error.metric_type, error.metric_value, error.dataset_name) == ("cer", 0.25, "my data (vctk)")
    assert (error.dataset_type, error.dataset_split) == ("CSTR-Edinburgh/vctk", "test")
    (row,) = [line for line in card.text.splitlines() if line.startswith("| character error rate")]
    assert "0.25 (0.2–0.3)" in row
    assert "another sentence 1.25" in row
    assert "/home/me" not in str(card)
    assert f"| ann | F | {model.codec.pitch_ranges[0].median_hz:.0f} Hz | VCTK | Scottish |" in card.text
    assert "audio-vq convert you/model recording.wav --to ann" in card.text
    compile(code_of(card), "card", "exec")


def test_no_name_breaks_a_card(hub, model):
    model.info = dataclasses.replace(
        model.info, speakers=(ODD, "ben"), data={"corpus": ODD, "voices": {"ben": {"gender": ODD}}}
    )
    model.push_to_hub("you/model")
    card = card_of(hub, "you/model")
    shown = "".join(re.split(r"^```", card.text, flags=re.MULTILINE)[::2])  # outside code
    assert "<i>" not in shown
    rows = [line for line in card.text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {6}
    assert card.data.license is None
    code = code_of(card)
    names = {}
    exec(code.splitlines()[-1].replace("model.decode", "dict").replace("units, ", ""), names)
    assert names["audio"] == {"speaker": ODD}


def test_an_edited_card_is_published_as_it_is_with_what_it_lacks(hub, model):
    model.save_pretrained("model")
    Path("model/README.md").write_text("---\nlicense: mit\ntags: [mine]\n---\n# My own words\n\n`info FOLDER`\n")
    publish("model", "you/model")
    card = card_of(hub, "you/model")
    assert "# My own words\n\n`info you/model`" in card.text
    assert (card.data.license, card.data.tags, card.data.library_name) == ("mit", ["mine"], "audio-vq")
    publish("model", "you/model", licence="other")
    assert card_of(hub, "you/model").data.license == "other"
    Path("model/README.md").write_text("---\n- [\n---\n# My own words\n")
    with pytest.raises(UserError, match=r"model/README\.md has metadata that cannot be read"):
        publish("model", "you/model")


def test_what_cannot_be_published_is_one_line(hub, model, monkeypatch):
    model.save_pretrained("model")
    Path("metrics.json").write_text("{}")
    for arguments, said in (
        (("you/model", "--metrics", "metrics.json"), "metrics.json is no metrics.json as `audio-vq analyze` writes it"),
        (("you/model", "--conversion", "none.json"), "none.json cannot be read: No such file"),
        (("model",), "expected a Hub id such as you/model"),
        (("you/a..b",), "no valid Hub id"),
        (("you/model", "--licence", "beer"), 'the Hub refuses the card\'s metadata: "license" must be one of'),
        (("others/model",), "the token may not write there"),
    ):
        assert said in mistake("push", "model", *arguments)
    assert not hub.repositories
    for token, said in ((READ_TOKEN, "may not write"), ("hf_no", "does not know the token"), (None, "needs a token")):
        monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN")
        asked = list(hub.asked)
        assert said in mistake("push", "model", "you/model")
        assert token or hub.asked == asked, "without a token nobody is asked"
    assert not hub.repositories


def test_a_push_that_was_cut_off_can_be_done_again(hub, model, monkeypatch):
    hub.fails_at_commit = True
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the client's own tries
    with pytest.raises(UserError, match=r"cannot be published: the Hub cannot be reached .*; the same command tries"):
        model.push_to_hub("you/model")
    assert not hub.repositories["you/model"].commits
    hub.fails_at_commit = False
    model.push_to_hub("you/model")
    assert len(hub.repositories["you/model"].commits) == 1
    assert sum("/store/" in each for each in hub.asked) == 1, "the weights are sent once"
    assert_same(model, VQVAE.from_pretrained("you/model"))


def test_a_repository_with_something_else_or_in_public_stays(hub, model):
    model.push_to_hub("you/model")
    with pytest.raises(UserError, match="exists and is public"):
        model.push_to_hub("you/model", private=True)
    repository = hub.repositories["you/model"]
    repository.commits.append(("1" * 40, "", {"config.json": b'{"model_type": "bert"}'}))
    with pytest.raises(UserError, match="holds something else already"):
        model.push_to_hub("you/model")
    assert len(repository.commits) == 2
    with pytest.raises(UserError, match="not an audio_vq checkpoint"):
        VQVAE.from_pretrained("you/model")
    repository.commits.append(("2" * 40, "", {"weights.bin": b"1"}))
    with pytest.raises(UserError, match=r"you/model on the Hub is not a checkpoint: it has no config\.json"):
        VQVAE.from_pretrained("you/model")


def test_private_missing_and_restricted_models(hub, model, monkeypatch, tmp_path):
    model.push_to_hub("you/private", private=True)
    model.push_to_hub("you/gated")
    hub.repositories["you/gated"].gated = True
    assert "missing or private" in mistake("info", "you/missing")
    assert "access is restricted" in mistake("info", "you/gated")
    monkeypatch.delenv("HF_TOKEN")
    assert "missing or private" in mistake("info", "you/private")
    assert_same(model, VQVAE.from_pretrained("you/private", token=TOKEN))
