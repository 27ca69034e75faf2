"""Runs side by side, from the files that training leaves."""

import json
import math
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from omegaconf import OmegaConf

from audio_vq.config import GaussianConfig, ModelConfig, TrainRun
from audio_vq.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "collapse"))
from compare import bottleneck_name, by_bottleneck, read_run, summary, table, write_comparison


def write_run(folder, model, seed, validations):
    """As training writes it; `validations`: (true, shuffled, zero, what the bottleneck says of itself)."""
    folder.mkdir()
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(TrainRun(model=model, seed=seed))))
    lines = []
    for number, (true, shuffled, zero, own) in enumerate(validations, 1):
        valid = {"bits_true": true, "bits_shuffled": shuffled, "bits_zero": zero, "bits_wrong_speaker": true}
        record = {"step": 10 * number, "seconds": 60.0 * number, "audio_hours_seen": 0.1 * number, "valid": valid}
        lines.append(json.dumps(record | own) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def folders(tmp_path):
    units = [{"quantized": on, "codebook_size": 256, "perplexity": 9.0, "used_units": 9} for on in (False, True)]
    kl = [{"kl_nats_per_unit": value} for value in (2.0, 0.5)]
    gaussian = ModelConfig(bottleneck="gaussian")
    return [
        write_run(tmp_path / "q0", ModelConfig(), 0, [(6.0, 6.5, 6.4, units[0]), (4.0, 5.0, 4.8, units[1])]),
        write_run(tmp_path / "q1", ModelConfig(), 1, [(6.0, 6.5, 6.4, units[0]), (4.2, 5.6, 4.8, units[1])]),
        write_run(tmp_path / "g0", gaussian, 0, [(6.0, 6.1, 6.1, kl[0]), (5.0, 5.0, 5.0, kl[1])]),
    ]


def test_ends_over_seeds_by_hand(folders):
    units, gaussian = summary([read_run(folder) for folder in folders])["bottlenecks"]
    assert (units["bottleneck"], units["seeds"], gaussian["bottleneck"]) == ("quantized", [0, 1], "gaussian")
    gap = units["end"]["shuffled_minus_true"]
    assert gap["mean"] == pytest.approx(1.2)
    assert gap["sd"] == pytest.approx(0.2 * math.sqrt(2))
    assert units["curves"][0]["kl_nats_per_unit"] == [None, pytest.approx(math.log(256))]  # at first not quantised
    assert gaussian["end"]["shuffled_minus_true"]["mean"] == 0
    assert gaussian["end"]["kl_nats_per_unit"]["values"] == (0.5,)
    assert gaussian["end"]["bits_true"]["sd"] is None


def test_table_and_drawing(folders, tmp_path):
    text = write_comparison(folders, tmp_path / "out", "a command")
    assert text == table([read_run(folder) for folder in folders])
    rows = text.splitlines()
    assert (
        rows[2] == "| quantized | 2 | 4.100 ± 0.141 | 5.300 ± 0.424 | 4.800 ± 0.000 | 1.200 ± 0.283 | 5.545 ± 0.000 "
        "| 4.225 ± 0.141 |"  # 8 bits in 64 samples
    )
    assert rows[3] == "| gaussian | 1 | 5.000 | 5.000 | 5.000 | 0.000 | 0.500 | 5.011 |"
    assert (tmp_path / "out/collapse.md").read_text() == text
    assert json.loads((tmp_path / "out/collapse.json").read_text())["command"] == "a command"
    svg = (tmp_path / "out/collapse.svg").read_text()
    words = {element.text for element in ET.fromstring(svg).iter() if element.text}
    assert {"true latents", "shuffled latents", "zero latents", "training (minutes)", "nats per unit"} <= words
    assert (tmp_path / "out/collapse.png").read_bytes().startswith(b"\x89PNG")


def test_names_say_what_deviates_from_the_standard_vae():
    def name(**options):
        model = ModelConfig(bottleneck="gaussian", gaussian=GaussianConfig(**options))
        return bottleneck_name(OmegaConf.structured(TrainRun(model=model)))

    assert name() == "gaussian"
    assert name(anneal_share=0.2, free_bits=0.5) == "gaussian, annealed over 20%, 0.5 free bits"
    assert bottleneck_name(OmegaConf.structured(TrainRun())) == "quantized"


def test_mistakes(folders, tmp_path):
    with pytest.raises(UserError, match="two runs of quantized have seed 0"):
        by_bottleneck([read_run(folders[0])] * 2)
    with pytest.raises(UserError, match="no run of audio-vq train"):
        read_run(tmp_path)
    early = {"quantized": False, "codebook_size": 256, "perplexity": 9.0, "used_units": 9}
    with pytest.raises(UserError, match="ended before it quantised"):
        read_run(write_run(tmp_path / "early", ModelConfig(), 0, [(6.0, 6.5, 6.4, early)]))
