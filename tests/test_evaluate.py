"""Conversions judged: which pairs, what the figures mean, and that neither silence nor noise passes."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from docs_pages import explained
from test_cli import call, mistake
from test_encoding import ENCODERS, model_with

from audio_vq import VQVAE
from audio_vq.analysis.judges import clips as clip_files
from audio_vq.analysis.judges.clips import asked_contour, forget, write_clip
from audio_vq.analysis.judges.evaluate import evaluate
from audio_vq.analysis.judges.pairs import choose_pairs
from audio_vq.analysis.judges.panel import Clip, Impression, Marks, Panel, hear
from audio_vq.analysis.judges.scores import (
    CONDITIONS,
    FIGURES,
    Comparison,
    Contour,
    SpeakerReference,
    edit_distance,
    pitch_agreement,
    pitch_figures,
    score,
    semitones,
    summarise,
)
from audio_vq.analysis.report.conversions import BEGIN, END, with_conversion, write_section
from audio_vq.audio.files import write_audio
from audio_vq.codec.conversion import Converted
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError

RATE = 16000


def embedding(direction):
    return np.eye(256, dtype=np.float32)[direction]


def impression(direction=None, f0=(100.0,) * 20, words="", mark=3.0):
    voice = np.zeros(256, np.float32) if direction is None else embedding(direction)
    return Impression(voice, np.array(f0, np.float32), words, Marks(mark, mark, mark))


SILENCE = impression(None, [np.nan] * 20, "", 1.0)
HIGH, LOW = [200.0] * 20, [100.0] * 20  # an octave


@pytest.fixture
def heard():
    """A perfect conversion from a low voice (direction 0) to a high one (direction 1)."""
    source = SpeakerReference({"s/1": impression(0, LOW), "s/2": impression(0, LOW)})
    target = SpeakerReference({"t/1": impression(1, HIGH), "t/2": impression(1, HIGH)})
    return Comparison(
        impression(1, HIGH, "she sells shells", 4.0),
        "She sells shells.",
        "Pack my box",
        source,
        target,
        (),
        semitones(HIGH),
    )


def values(heard):
    return {name: value / weight for name, (value, weight) in score(heard).items()}


# pairs


def test_pairs_are_balanced_distinct_and_the_same_for_a_seed(spoken_corpus):
    corpus = PreparedCorpus.open(spoken_corpus)
    voices = corpus.speakers
    first = choose_pairs(corpus, "all", voices, 12, seed=1)
    assert first == choose_pairs(corpus, "all", voices, 12, seed=1)
    assert first != choose_pairs(corpus, "all", voices, 12, seed=2)
    assert len({(pair.source, pair.target) for pair in first.pairs}) == 12
    assert all(pair.target != pair.source.speaker for pair in first.pairs)
    assert set(Counter(pair.source.speaker for pair in first.pairs).values()) == {4}
    assert set(Counter(pair.target for pair in first.pairs).values()) == {4}
    assert max(Counter(pair.source for pair in first.pairs).values()) == 1
    for pair in first.pairs:
        assert pair.real_target.speaker == pair.target


@pytest.mark.parametrize(("in_split", "expected"), [(4, 4), (3, 6)])
def test_real_recordings_of_a_target_take_turns(spoken_corpus, in_split, expected):
    """Those of the split where it has four, all six of the speaker otherwise."""
    corpus = PreparedCorpus.open(spoken_corpus)
    target = corpus.speakers[0]
    own = [each.id for each in corpus.utterances if each.speaker == target]
    elsewhere = own[in_split:]
    utterances = tuple(
        replace(each, num_samples=2 * RATE, split="train" if each.id in elsewhere else "test")
        for each in corpus.utterances
    )
    pairs = choose_pairs(replace(corpus, utterances=utterances), "test", [target], 12, seed=0).pairs
    assert len(pairs) == 12
    assert len({pair.real_target.id for pair in pairs}) == expected


def test_no_more_pairs_than_there_are(spoken_corpus):
    corpus = PreparedCorpus.open(spoken_corpus)
    usable = [each for each in corpus.utterances if each.num_samples >= RATE]
    pairs = choose_pairs(corpus, "all", corpus.speakers, 10_000, seed=0)
    assert len(pairs.pairs) == len(usable) * (len(corpus.speakers) - 1)
    assert pairs.too_short == len(corpus.utterances) - len(usable)


def test_recordings_that_are_too_short_are_counted_and_those_without_text_take_part(spoken_corpus):
    corpus = PreparedCorpus.open(spoken_corpus)
    speaker = corpus.speakers[0]
    first, second, *_ = (each for each in corpus.utterances if each.speaker == speaker)
    odd = replace(corpus, utterances=(replace(first, text=None), replace(second, num_samples=RATE - 1)))
    odd = replace(odd, utterances=(*odd.utterances, *(each for each in corpus.utterances if each.speaker != speaker)))
    pairs = choose_pairs(odd, "all", corpus.speakers[1:], 6, sources="unknown", seed=0)
    assert pairs.too_short == 1
    assert {pair.source.id for pair in pairs.pairs} == {first.id}


def test_sources_are_those_the_model_knows_or_not(spoken_corpus):
    corpus = PreparedCorpus.open(spoken_corpus)
    *voices, stranger = corpus.speakers
    for sources, expected in (("known", set(voices)), ("unknown", {stranger}), ("all", {*voices, stranger})):
        pairs = choose_pairs(corpus, "all", voices, 8, sources=sources, seed=0).pairs
        assert {pair.source.speaker for pair in pairs} == expected
        assert {pair.target for pair in pairs} == set(voices)


def test_sexes_meet_equally_often(spoken_corpus):
    """Of eight voices 24 of 56 ways are between women and men each way; 16 pairs: four of each kind."""
    corpus = PreparedCorpus.open(spoken_corpus)
    speakers = tuple(f"s{number}" for number in range(8))
    info = {name: {"gender": "FM"[number % 2]} for number, name in enumerate(speakers)}
    utterances = tuple(
        replace(each, id=f"{name}_{each.id}", speaker=name, num_samples=2 * RATE)
        for name in speakers
        for each in corpus.utterances[:3]
    )
    header = replace(corpus.header, speakers=speakers, speaker_info=info)
    pairs = choose_pairs(replace(corpus, header=header, utterances=utterances), "all", speakers, 16, seed=0).pairs
    met = Counter((info[pair.source.speaker]["gender"], info[pair.target]["gender"]) for pair in pairs)
    assert met == {("F", "F"): 4, ("F", "M"): 4, ("M", "F"): 4, ("M", "M"): 4}
    assert set(Counter(pair.source.speaker for pair in pairs).values()) == {2}
    assert set(Counter(pair.target for pair in pairs).values()) == {2}


def test_mistakes_in_what_is_to_be_judged(spoken_corpus):
    corpus = PreparedCorpus.open(spoken_corpus)
    with pytest.raises(UserError, match="speakers the model knows: zoe"):
        choose_pairs(corpus, "all", ["zoe"], 4, seed=0)
    brief = replace(corpus, utterances=tuple(replace(each, num_samples=9) for each in corpus.utterances))
    with pytest.raises(UserError, match="all last less than 1 s"):
        choose_pairs(brief, "all", corpus.speakers, 4, seed=0)
    alone = [each for each in corpus.utterances if each.speaker == corpus.speakers[0]]
    with pytest.raises(UserError, match="only voice"):
        choose_pairs(replace(corpus, utterances=tuple(alone)), "all", corpus.speakers[:1], 4, seed=0)
    with pytest.raises(UserError, match="speaker unknown to the model; give another --sources"):
        choose_pairs(corpus, "all", corpus.speakers, 4, sources="unknown", seed=0)
    with pytest.raises(UserError, match="no sources 'mine'; expected one of known, unknown, all"):
        choose_pairs(corpus, "all", corpus.speakers, 4, sources="mine", seed=0)


def test_pairs_prefer_a_sentence_that_the_target_says_too(spoken_corpus):
    corpus = PreparedCorpus.open(spoken_corpus)
    one, other, _ = corpus.speakers
    by = [[each for each in corpus.utterances if each.speaker == name][:5] for name in (one, other)]
    by[1][3] = replace(by[1][3], text=f"{by[0][2].text.upper()}!", split="train")
    utterances = [replace(each, num_samples=2 * RATE) for each in (*by[0], *by[1])]
    texts = {id(each): f"text {index}" for index, each in enumerate(utterances) if index not in (2, 8)}
    few = replace(corpus, utterances=tuple(replace(each, text=texts.get(id(each), each.text)) for each in utterances))
    (pair,) = choose_pairs(few, "all", [other], 1, sources="unknown", seed=0).pairs
    assert (pair.source.id, pair.parallel.id) == (by[0][2].id, by[1][3].id)
    assert pair.real_target.id != pair.parallel.id
    pairs = choose_pairs(few, "all", [other], 5, sources="unknown", seed=0).pairs
    assert sum(pair.parallel is not None for pair in pairs) == 1


# figures


def test_a_perfect_conversion(heard):
    assert values(heard) == {
        "target_similarity": 1,
        "source_similarity": 0,
        "target_preferred": 1,
        "character_error_rate": 0,
        "character_error_rate_shuffled": edit_distance("pack my box", "she sells shells") / len("pack my box"),
        "f0_median_error_semitones": 0,
        "voicing_agreement": 1,
        "dnsmos.sig": 4,
        "dnsmos.bak": 4,
        "dnsmos.ovrl": 4,
    }


def test_doing_nothing_is_not_a_conversion(heard):
    figures = values(replace(heard, impression=impression(0, LOW, "she sells shells")))
    assert figures["target_preferred"] == 0
    assert figures["f0_median_error_semitones"] == pytest.approx(12)


def test_silence_is_judged_as_bad_everywhere(heard):
    assert values(replace(heard, impression=SILENCE)) == {
        "target_similarity": 0,
        "source_similarity": 0,
        "target_preferred": 0,
        "character_error_rate": 1,
        "character_error_rate_shuffled": 1,
        "f0_median_error_semitones": 12,
        "voicing_agreement": 0,
        "dnsmos.sig": 1,
        "dnsmos.bak": 1,
        "dnsmos.ovrl": 1,
    }


def test_what_is_heard_does_not_stand_for_the_voice():
    voice = SpeakerReference({"t/1": impression(1), "t/2": impression(2)})
    np.testing.assert_allclose(voice.embedding(()), (embedding(1) + embedding(2)) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(voice.embedding(("t/1",)), embedding(2))
    assert voice.embedding(("t/1", "t/2")) is None


def test_without_reference_there_is_nothing_to_compare(heard):
    scored = score(replace(heard, excluded=("t/1", "t/2")))
    assert scored["target_similarity"][1] == scored["target_preferred"][1] == 0
    assert scored["source_similarity"][1] == 1


def test_a_flat_expectation_fits_any_length(heard):
    melody = [float(100 * 2 ** (step / 12)) for step in (0, 1, 2, 3, 4)]
    figures = score(replace(heard, impression=impression(1, melody), expected=semitones([100.0])))
    assert figures["f0_median_error_semitones"][0] == pytest.approx(2, abs=1e-5)
    assert figures["voicing_agreement"][1] == 0


@pytest.mark.parametrize(
    ("reference", "heard", "distance"),
    [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("flaw", "lawn", 2)],
)
def test_edit_distance(reference, heard, distance):
    assert edit_distance(reference, heard) == edit_distance(heard, reference) == distance


def ratios(value, weight=1.0):
    names = [name for name in FIGURES if name != "dnsmos"] + [f"dnsmos.{name}" for name in ("sig", "bak", "ovrl")]
    return dict.fromkeys(names, (value, weight))


def test_a_figure_is_a_ratio_of_sums_with_an_interval_over_recordings():
    rng = np.random.default_rng(0)
    draws = rng.normal(2.0, 1.0, 50)
    figure = summarise([ratios(each) for each in draws], [f"r{i}" for i in range(50)], seed=0)["target_similarity"]
    assert figure["value"] == pytest.approx(draws.mean())
    assert figure["n"] == 50
    # the bootstrap of a mean agrees with its normal interval; 1000 draws leave 6 % on each end (0.33 standard errors)
    error = draws.std() / np.sqrt(50)
    expected = [draws.mean() - 1.96 * error, draws.mean() + 1.96 * error]
    assert figure["ci95"] == pytest.approx(expected, abs=0.33 * error)
    weighted = summarise([ratios(1.0, 10.0), ratios(9.0, 10.0), ratios(0.0, 80.0)], list("abc"), seed=0)
    assert weighted["character_error_rate"]["value"] == pytest.approx(0.1)


def test_clips_of_one_recording_do_not_narrow_the_interval():
    clips = [ratios(value) for value in (0.0, 1.0, 2.0, 3.0)]
    once = summarise(clips, list("abcd"), seed=0)["target_similarity"]
    tenfold = summarise(clips * 10, list("abcd") * 10, seed=0)["target_similarity"]
    assert tenfold["ci95"] == pytest.approx(once["ci95"])
    assert (once["n"], tenfold["n"]) == (4, 40)


def test_nothing_measured_is_not_zero():
    assert summarise([ratios(0.0, 0.0)], ["a"], seed=0)["target_similarity"] == {"value": None, "n": 0, "ci95": None}


# pitch


def tone(hertz, seconds=1.0):
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.2 * sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6)).astype(np.float32)


@pytest.mark.parametrize("frames_per_second", [100, 50, 31.25])
def test_a_tone_agrees_with_the_contour_it_has(frames_per_second):
    waveform = np.concatenate([tone(120.0), np.zeros(RATE, np.float32)])
    voiced = np.arange(round(2 * frames_per_second)) < frames_per_second
    agreement = pitch_agreement(waveform, RATE, Contour(np.where(voiced, 120.0, 0.0), frames_per_second))
    assert agreement.error_semitones <= 0.1  # half a step of the tracker
    assert agreement.voiced_alike > 0.9
    higher = pitch_agreement(waveform, RATE, Contour(np.where(voiced, 240.0, 0.0), frames_per_second))
    assert higher.error_semitones == pytest.approx(12, abs=0.1)
    elsewhere = pitch_agreement(waveform, RATE, Contour(np.where(voiced, 0.0, 120.0), frames_per_second))
    assert elsewhere.voiced_alike < 0.1


def test_a_contour_between_frames_is_a_line():
    """A glide of an octave a second, in frames of 40 ms: steps of half a semitone that the clip does not have."""
    heard = 100 * 2 ** (np.arange(101) / 100)
    asked = Contour(100 * 2 ** ((np.arange(25) + 0.5) / 25), 25)
    assert pitch_figures(heard, asked)["asked_pitch_error_semitones"][0] == pytest.approx(0, abs=1e-9)


def test_no_voice_agrees_with_no_voice_only():
    silence, spoken = np.full(50, np.nan), np.full(50, 100.0)
    nothing, something = Contour(np.zeros(50), 100), Contour(spoken, 100)
    agreement = pitch_agreement(np.zeros(RATE // 2, np.float32), RATE, nothing)
    assert np.isnan(agreement.error_semitones)
    assert agreement.voiced_alike == 1
    for f0, wanted in ((silence, something), (spoken, nothing)):
        assert pitch_figures(f0, wanted) == {
            "asked_pitch_error_semitones": (12, 1),
            "asked_voicing_agreement": (0, 1),
        }
    assert {weight for _, weight in pitch_figures(spoken, None).values()} == {0}


def test_the_contour_asked_for_is_kept_beside_the_clip(model, tmp_path):
    f0 = np.array([0.0, 101.25, 99.5], np.float32)
    waveform = np.zeros(3 * model.hop_length, np.float32)
    write_clip(tmp_path / "a.wav", Converted(0, 0, waveform, None, f0), model)
    write_clip(tmp_path / "b.wav", Converted(0, 0, waveform, None), model)
    kept = asked_contour(tmp_path / "a.wav")
    np.testing.assert_array_equal(kept.hertz, f0)
    assert kept.frames_per_second == model.unit_rate_hz
    assert asked_contour(tmp_path / "b.wav") is None


# the whole


def fake_judge(clip: Clip) -> Impression:
    """Hears the loudness as a mark, and always the same voice and words."""
    loud = float(np.sqrt(np.mean(clip.waveform**2)))
    f0 = np.full(1 + len(clip.waveform) // 160, 120.0, np.float32)
    if clip.reference:
        return Impression(embedding(0), f0)
    return Impression(embedding(0), f0, "some words", Marks(1 + loud, 1 + loud, 1 + loud))


@pytest.fixture(scope="module")
def corpus(spoken_corpus):
    return PreparedCorpus.open(spoken_corpus)


@pytest.fixture(scope="module")
def model(corpus):
    network = model_with(ENCODERS["paper"])
    return VQVAE(network.network, network.config, replace(network.info, speakers=corpus.speakers[:2]))


@pytest.fixture(scope="module")
def finished(model, corpus, tmp_path_factory):
    """An evaluation of four pairs, its folder, and how often the judge was asked."""
    out = tmp_path_factory.mktemp("evaluation")
    asked = []

    def judge(clip):
        asked.append(clip)
        return fake_judge(clip)

    chosen = choose_pairs(short(corpus), "all", model.speakers, 4, seed=0)
    conversion = evaluate(model, short(corpus), chosen, Panel(judge, {"fake": "1"}), out, SamplingOptions())
    return conversion, out, len(asked)


def short(corpus):
    """With recordings of a second: the untrained model is slow for what it says."""
    return replace(corpus, utterances=tuple(replace(each, num_samples=RATE) for each in corpus.utterances))


def test_conversion_has_every_figure_of_every_condition(finished):
    conversion, out, _ = finished
    assert conversion["pairs"] == len(conversion["clips"]) == 4
    for condition in CONDITIONS:
        assert conversion[condition].keys() == FIGURES.keys()
        assert conversion[condition]["dnsmos"].keys() == {"sig", "bak", "ovrl"}
    for figure in (conversion["converted"]["target_similarity"], conversion["converted"]["dnsmos"]["ovrl"]):
        assert figure.keys() == {"value", "n", "ci95"}
        assert figure["ci95"][0] <= figure["value"] <= figure["ci95"][1]
    assert conversion["converted"]["target_similarity"]["n"] == 4
    json.dumps(conversion, allow_nan=False)
    for clip in conversion["clips"]:
        assert all((out / file).is_file() for file in clip["files"].values())


def test_speakers_the_model_does_not_know_have_no_reconstruction(finished, corpus, model):
    conversion, _, _ = finished
    unknown = [clip for clip in conversion["clips"] if clip["source"].split("/")[0] not in model.speakers]
    assert unknown  # pairs are balanced over all speakers of the corpus
    assert all("reconstructed" not in clip["files"] for clip in unknown)
    assert conversion["skipped"]["pairs_without_reconstruction"] == len(unknown)
    assert conversion["reconstructed"]["character_error_rate"]["n"] == 4 - len(unknown)


def test_distortion_is_taken_where_the_target_says_the_same(finished, model, corpus):
    conversion, _, _ = finished
    said = {each.id: " ".join(each.text.lower().split()) for each in corpus.utterances}
    parallel = [clip for clip in conversion["clips"] if clip["parallel"]]
    assert parallel  # voices of the synthetic corpus share sentences
    for clip in parallel:
        assert said[clip["parallel"].split("/")[1]] == said[clip["source"].split("/")[1]]
        assert clip["parallel"].split("/")[0] == clip["target"]
        assert clip["parallel_split"] in ("train", "valid", "test")
    assert conversion["skipped"]["pairs_without_parallel_sentence"] == 4 - len(parallel)
    for condition in ("converted", "real_source"):
        figure = conversion[condition]["mel_cepstral_distortion"]
        assert figure["n"] == len(parallel)
        assert figure["value"] > 0
    own = conversion["reconstructed"]
    assert own["mel_cepstral_distortion"]["n"] == own["dnsmos"]["ovrl"]["n"]
    assert conversion["real_target"]["mel_cepstral_distortion"]["n"] == 0
    assert conversion["unknown_source_speakers"] == sorted(
        {clip["source"].split("/")[0] for clip in conversion["clips"]} - set(model.speakers)
    )


def test_without_transcripts_characters_do_not_count(model, corpus, tmp_path):
    dumb = replace(short(corpus), utterances=tuple(replace(each, text=None) for each in short(corpus).utterances))
    chosen = choose_pairs(dumb, "all", model.speakers, 1, sources="unknown", seed=0)
    conversion = evaluate(model, dumb, chosen, Panel(fake_judge, {}), tmp_path, SamplingOptions())
    nothing = {"value": None, "n": 0, "ci95": None}
    for condition in ("converted", "real_target", "real_source"):
        assert conversion[condition]["character_error_rate"] == nothing
        assert conversion[condition]["character_error_rate_shuffled"] == nothing
        assert conversion[condition]["dnsmos"]["ovrl"]["n"] == 1
    assert conversion["skipped"]["pairs_without_transcript"] == 1
    (tmp_path / "conversion.json").write_text(json.dumps(facts(conversion)))
    write_section(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "no transcript" in page
    assert "None" not in page
    assert "error to the F0 asked for" not in page  # the model has no pitch: no empty row


def test_what_was_made_and_heard_is_kept(finished, model, corpus):
    conversion, out, asked = finished
    assert asked > 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")}

    def never(clip):
        raise AssertionError("judged twice")

    chosen = choose_pairs(short(corpus), "all", model.speakers, 4, seed=0)
    again = evaluate(model, short(corpus), chosen, Panel(never, {"fake": "1"}), out, SamplingOptions())
    assert again == conversion
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")}
    with pytest.raises(UserError, match="another model, corpus or setting"):
        evaluate(model, short(corpus), chosen, Panel(never, {"fake": "1"}), out, SamplingOptions(seed=1))


def test_hearing_goes_on_after_a_kill(tmp_path):
    waveforms = {str(number): np.full(RATE, 0.1 * number, np.float32) for number in range(3)}
    clips = {name: lambda waveform=waveform: Clip(waveform, RATE) for name, waveform in waveforms.items()}
    first = hear(clips, Panel(fake_judge, {}), tmp_path / "judged.jsonl")
    content = (tmp_path / "judged.jsonl").read_bytes()
    (tmp_path / "judged.jsonl").write_bytes(content[:-9])
    asked = []

    def judge(clip):
        asked.append(float(clip.waveform[0]))
        return fake_judge(clip)

    with (tmp_path / "judged.jsonl").open("ab") as file:
        file.write(b'\n[1]\n{"key": 3}\n')  # and damaged otherwise
    again = hear(clips, Panel(judge, {}), tmp_path / "judged.jsonl")
    assert asked == pytest.approx([0.2])
    lines = (tmp_path / "judged.jsonl").read_bytes().splitlines()
    assert set(content.splitlines()) < set(lines)
    assert [each.marks for each in again.values()] == [each.marks for each in first.values()]
    hear(clips, Panel(judge, {"fake": "2"}), tmp_path / "judged.jsonl")
    assert len(asked) == 4  # other judges hear everything again


def facts(conversion):
    named = {"checkpoint": "runs/x", "corpus": "c", "split": "all", "command": "audio-vq evaluate"}
    return (
        conversion
        | named
        | {"sources": "all", "temperature": 1.0, "top_p": 1.0, "postfilter": True, "emphasis": 0.0, "seed": 0}
    )


def test_the_section_stands_alone_or_in_a_report(finished, tmp_path):
    conversion, out, _ = finished
    (out / "conversion.json").write_text(json.dumps(facts(conversion)))
    write_section(out)
    page = (out / "report.html").read_text()
    assert page.count("<h2>Conversion, judged</h2>") == 1
    assert "data:audio/flac;base64," in page
    assert page.count("http") == 0
    assert "1 of them unknown to the model" in page
    assert "Mel-cepstral distortion is taken where" in page
    write_section(out)
    assert (out / "report.html").read_text() == page
    report = f"<p>before</p>\n{BEGIN}\nold\n{END}\n<p>after</p>"
    filled = with_conversion(report, out)
    assert filled.startswith("<p>before</p>")
    assert filled.endswith("<p>after</p>")
    assert "old" not in filled.split(END)[0].split(BEGIN)[1].split("<section")[0]
    assert with_conversion(filled, out) == filled
    assert with_conversion(report, tmp_path) == report
    for damaged in ("{", "[]", json.dumps({**facts(conversion), "clips": [{}]})):
        (tmp_path / "conversion.json").write_text(damaged)
        with pytest.raises(UserError, match="is damaged"):
            with_conversion(report, tmp_path)


def test_forgetting_spares_what_is_not_ours(tmp_path):
    write_audio(tmp_path / "clips" / "mine.wav", np.zeros(100, np.float32), RATE)
    forget(tmp_path)
    assert (tmp_path / "clips" / "mine.wav").exists()
    (tmp_path / "clips" / clip_files.MADE_BY).touch()
    forget(tmp_path)
    assert not (tmp_path / "clips").exists()


def test_command_line(model, spoken_corpus, tmp_path, monkeypatch):
    pytest.importorskip("speechmos")
    model.save_pretrained(tmp_path / "model")
    monkeypatch.setattr("audio_vq.analysis.judges.panel.judge_clip", fake_judge)
    arguments = ["evaluate", tmp_path / "model", spoken_corpus, "--split", "all", "--pairs", 1, "--workers", 1]
    arguments += ["--sources", "unknown", "--temperature", 0.7]
    out, _ = call(*arguments, "--out", tmp_path / "out")
    assert "character error rate" in out
    written = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert written["command"].startswith("audio-vq evaluate")
    assert written.keys() - CONDITIONS.keys() == explained("conversion.json")
    assert (written["sources"], written["temperature"]) == ("unknown", 0.7)
    assert written["source_speakers"] == written["unknown_source_speakers"]
    assert "--force" in mistake(*arguments, "--out", tmp_path / "out")
    out, _ = call(*arguments, "--out", tmp_path / "out", "--force", "--json")
    assert json.loads(out)["converted"] == written["converted"]
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "report.html").write_text("<p>mine</p>")
    assert "no place for conversions" in mistake(*arguments, "--out", tmp_path / "foreign")
    assert (tmp_path / "foreign" / "report.html").read_text() == "<p>mine</p>"
    (tmp_path / "foreign" / "report.html").write_bytes(b"\xff\xfe")
    assert "no place for conversions" in mistake(*arguments, "--out", tmp_path / "foreign")
    assert "not a folder" in mistake(*arguments, "--out", tmp_path / "foreign" / "report.html")


def test_command_line_without_judges(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install 'audio-vq[judges]'" in mistake("evaluate", "x", "y", "--out", tmp_path)
