"""A new voice for a trained model: it is learned, everybody else stays, and it is kept."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_cli import call, mistake
from test_encoding import ENCODERS, buzz, model_with, noise

from audio_vq import VQVAE, UnitPrior
from audio_vq.audio.files import write_audio
from audio_vq.codec import fitting
from audio_vq.errors import UserError
from audio_vq.models.vqvae import build_vqvae
from audio_vq.pitch import PitchRange, contour_of
from audio_vq.training.initial import OWN, begin_with

RATE = 16000
EMPHASIS = 0.5


@pytest.fixture(scope="module")
def model():
    return model_with(ENCODERS["voice"], groups=2, pitch=9, bands=4, speaker_channels=4, pitch_taps=1)


@pytest.fixture(scope="module", autouse=True)
def _short():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "STEPS", 12)
        patch.setattr(fitting, "STEPS_PER_VALIDATION", 4)
        yield


@pytest.fixture(scope="module")
def recordings():
    return [buzz(4.0, 140.0, 180.0), buzz(4.0, 170.0, 120.0)]


@pytest.fixture(scope="module")
def fits():
    return []


@pytest.fixture(scope="module")
def fitted(model, recordings, fits):
    return model.add_speaker("new", recordings, RATE, progress=fits.append)


def test_the_model_says_it_better_than_as_anybody_it_knew(fitted, fits):
    assert fitted.speakers == ("ann", "ben", "new")
    assert [fit.step for fit in fits] == [0, 4, 8, 12]
    assert fits[0].valid_bits == fits[0].best_bits  # as the nearest speaker
    falling = [fit.valid_bits for fit in fits]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] < falling[0] - 0.02
    assert all(fit.best_bits <= fit.valid_bits for fit in fits)


def test_its_pitch_is_that_of_the_recordings(fitted):
    median, spread = fitted.info.data["pitch_ranges"]["new"]
    assert 150 < median < 165  # of glides from 140 to 180 and from 170 to 120 Hz
    assert fitted.network.wavenet.conditioner.period.ranges[2].tolist() == pytest.approx([median, spread])
    units = fitted.encode(buzz(1.0), RATE)
    wanted = contour_of(units[-1], PitchRange(median, spread), fitted.pitch_classes)
    np.testing.assert_allclose(fitted.contour(units, "new"), wanted)


def test_everybody_else_and_all_units_stay_bit_for_bit(model, fitted, recordings):
    before, after = model.network.state_dict(), fitted.network.state_dict()
    for name, tensor in before.items():
        np.testing.assert_array_equal(after[name][: len(tensor)] if tensor.ndim else after[name], tensor)
    assert set(after) - set(before) == {OWN}
    assert fitted.fingerprint == model.fingerprint
    units = model.encode(recordings[0][:RATE], RATE)
    np.testing.assert_array_equal(units, fitted.encode(recordings[0][:RATE], RATE))
    spoken = [each.decode(units, "ann", emphasis=EMPHASIS) for each in (model, fitted)]
    np.testing.assert_array_equal(*spoken)
    assert model.speakers == ("ann", "ben")
    again = fitted.add_speaker("third", recordings, RATE, seconds=0)
    for name in ("ann", "new"):
        spoken = [each.decode(units, name, emphasis=EMPHASIS) for each in (fitted, again)]
        np.testing.assert_array_equal(*spoken)


def test_it_is_another_voice_and_is_kept(model, fitted, recordings, tmp_path):
    units = model.encode(recordings[0][:RATE], RATE)
    fitted.save_pretrained(tmp_path / "more")
    opened = VQVAE.from_pretrained(tmp_path / "more")
    assert opened.speakers == fitted.speakers
    spoken = {name: opened.decode(units, name, emphasis=EMPHASIS) for name in opened.speakers}
    np.testing.assert_array_equal(spoken["new"], fitted.decode(units, "new", emphasis=EMPHASIS))
    for name in ("ann", "ben"):
        assert (spoken["new"] != spoken[name]).mean() > 0.01
    streamed = np.concatenate(list(opened.decode_stream(units.T, "new", emphasis=EMPHASIS)))
    np.testing.assert_array_equal(streamed, spoken["new"])


def test_the_same_seed_finds_the_same_voice(model, recordings):
    one, other, third = (
        model.add_speaker("new", recordings, RATE, seconds=0, seed=seed).network.state_dict()[OWN] for seed in (0, 0, 1)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_what_progress_raises_ends_it(model, recordings):
    def enough(fit):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.add_speaker("new", recordings, RATE, progress=enough)


def test_between_two_voices(model, fitted, recordings):
    units = model.encode(recordings[0][:RATE], RATE)
    ends = model.blend("like ben", {"ann": 0, "ben": 3})
    np.testing.assert_array_equal(ends.decode(units, "like ben"), model.decode(units, "ben"))
    middle = fitted.blend("both", {"ann": 1, "new": 1})
    conditioner = middle.network.wavenet.conditioner
    ann, new, both = (conditioner.speaker.weight[each] for each in (0, 2, 3))
    torch.testing.assert_close(both, (ann + new) / 2)
    torch.testing.assert_close(conditioner.own[1], conditioner.own[0] / 2)
    medians = {name: middle.info.data["pitch_ranges"][name][0] for name in ("ann", "new", "both")}
    assert medians["both"] == pytest.approx((medians["ann"] * medians["new"]) ** 0.5)


def test_the_nearest_of_others(fitted):
    like_ben = fitted.blend("more", {"ann": 0.2, "ben": 0.8})
    assert like_ben.nearest_speaker("more", ["ann", "ben"]) == "ben"
    assert like_ben.nearest_speaker("new", ["new", "ann"]) == "new"
    with pytest.raises(UserError, match="unknown speaker 'eve'"):
        fitted.nearest_speaker("eve", ["ann"])
    prior = SimpleNamespace(info=SimpleNamespace(speakers=("ann", "ben")))
    assert UnitPrior.manner_of(prior, fitted, "ben") == "ben"
    assert UnitPrior.manner_of(prior, like_ben, "more") == "ben"
    prior.info.speakers = ("eve",)
    assert UnitPrior.manner_of(prior, fitted, "new") == "new"  # which `sample` refuses


def test_mistakes(model, recordings):
    for name, said in (("ann", "knows a speaker 'ann'"), ("../x", "cannot name a file"), ("", "cannot name a file")):
        with pytest.raises(UserError, match=said):
            model.add_speaker(name, recordings, RATE)
    for short in ([buzz(2.0)], [np.zeros(10 * RATE, np.float32)], []):
        with pytest.raises(UserError, match="of speech in them; expected 4 or more"):
            model.add_speaker("new", short, RATE)
    for weights, said in (({}, "weights"), ({"ann": -1.0, "ben": 2.0}, "weights -1, 2"), ({"eve": 1.0}, "unknown")):
        with pytest.raises(UserError, match=said):
            model.blend("new", weights)
    with pytest.raises(UserError, match="one-hot"):
        model_with(ENCODERS["voice"]).add_speaker("new", recordings, RATE)


def test_training_goes_on_with_everybody(fitted, tmp_path):
    """What the new speaker had of its own is trained like all else from here on."""
    fitted.save_pretrained(tmp_path / "more")
    fresh = build_vqvae(fitted.config, 3)
    begin_with(fresh, fitted.config, fitted.speakers, str(tmp_path / "more"))
    assert torch.equal(fresh.wavenet.conditioner.speaker.weight, fitted.network.wavenet.conditioner.speaker.weight)
    assert fresh.wavenet.conditioner.joined == 0


@pytest.mark.parametrize("joined", [-1, 3, "one"])
def test_a_damaged_checkpoint_is_told(fitted, tmp_path, joined):
    fitted.save_pretrained(tmp_path / "more")
    file = tmp_path / "more/config.json"
    content = json.loads(file.read_text())
    content["data"]["joined"] = joined
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="joined"):
        VQVAE.from_pretrained(tmp_path / "more")


def test_command(model, recordings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("model")
    for number, waveform in enumerate(recordings):
        write_audio(tmp_path / f"eva/{number}.wav", waveform, RATE)
    out, _ = call("add-speaker", "model", "eva", "eva", "--out", "more")
    assert out == "more\n"
    assert VQVAE.from_pretrained("more").speakers == ("ann", "ben", "eva")
    assert "holds a checkpoint" in mistake("add-speaker", "model", "eva", "eva", "--out", "more")
    out, _ = call("add-speaker", "more", "eve", "eva", "--out", "more", "--force", "--json", "--seconds", "0.1")
    told = json.loads(out)
    assert told["speaker"] == "eve"
    assert told["bits"] <= told["bits_before"]
    assert VQVAE.from_pretrained("more").speakers == ("ann", "ben", "eva", "eve")
    (tmp_path / "eva/2.wav").write_text("RIFF")
    _, err = call("add-speaker", "model", "eva", "eva", "--out", "other", code=1)
    assert "left out: eva/2.wav" in err
    assert VQVAE.from_pretrained("other").speakers[-1] == "eva"
    write_audio(tmp_path / "short.wav", noise(RATE), RATE)
    assert "of speech in them" in mistake("add-speaker", "model", "x", "short.wav", "--out", "none")
    assert not (tmp_path / "none").exists()
    assert "knows a speaker" in mistake("add-speaker", "model", "ann", "eva", "--out", "none")
