"""Model cards: what a checkpoint is and how it is used, with the metadata that the Hub reads.

A card that somebody has edited in the checkpoint's folder stays; metadata that it lacks are added.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_vq.checkpoint_info import CARD_FILE, CheckpointInfo
from audio_vq.errors import UserError
from audio_vq.hub.figures import Figure

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

FOLDER = "FOLDER"  # stands for where a checkpoint is, in a card that was not published yet
# by the names that corpora have here: on the Hub, and under which licence; all are English
DATASETS = {"vctk": ("CSTR-Edinburgh/vctk", "cc-by-4.0"), "librispeech": ("openslr/librispeech_asr", "cc-by-4.0")}
SYNTHETIC = "synthetic"
CONVERSION_TASK = "audio-to-audio"
SPECIAL = str.maketrans({sign: f"&#{ord(sign)};" for sign in "\\`*_{}[]<>()#+-.!|&~$\"'"})
UNSTATED = "The weights carry the licence of the recordings they were trained on: state it here before publishing."
STATED = "{licence}. The weights carry the licence of the recordings they were trained on."


def model_card(
    info: CheckpointInfo, source: str = FOLDER, licence: str | None = None, figures: Sequence[Figure] = ()
) -> "ModelCard":
    """The card of a checkpoint.

    Args:
        info: of the checkpoint.
        source: where it is: a Hub id.
        licence: by the Hub's identifier; by default that of a known corpus.
        figures: measured ones.
    """
    from huggingface_hub import ModelCard

    data = _metadata(info, source, licence, figures)
    return ModelCard.from_template(
        data,
        template_path=str(Path(__file__).with_name("card.md.j2")),
        title=source if source != FOLDER else f"audio_vq {info.kind}",
        summary=_summary(info),
        commands=_commands(info, source),
        python=_python(info, source),
        voices_title="Voices" if info.kind == "vqvae" else "Voices whose units it knows",
        voices=[_voice(info, name) for name in info.speakers] if _told(info) else [],
        names=", ".join(plain(name) for name in info.speakers),
        figures=[_row(figure) for figure in figures],
        training=_training(info),
        licence=STATED.format(licence=plain(data.license)) if data.license else UNSTATED,
    )


def card_to_publish(
    folder: Path, info: CheckpointInfo, repository: str, licence: str | None, figures: Sequence[Figure]
) -> "ModelCard":
    """The card as it goes to a repository: made anew, or as it was edited in the folder, with what it lacks.

    Raises:
        UserError: a card whose metadata are damaged.
    """
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    data = _metadata(info, repository, licence, figures)
    made = model_card(info, repository, licence, figures)
    try:
        written = (folder / CARD_FILE).read_text(encoding="utf-8")
    except OSError:
        return made
    if written == str(model_card(info)):
        return made
    try:
        edited = ModelCard(written.replace(FOLDER, repository))
    except (ValueError, YAMLError) as error:
        raise UserError(f"{folder / CARD_FILE} has metadata that cannot be read: {error}") from None
    said_now = {"license": licence, "eval_results": data.eval_results, "model_name": data.model_name}
    for name, value in vars(data).items():
        if edited.data.get(name) is None or said_now.get(name) is not None:
            edited.data[name] = value
    return edited


def plain(text: str) -> str:
    """A name as Markdown shows it as it is, in a table too."""
    return text.translate(SPECIAL)


def _metadata(info: CheckpointInfo, source: str, licence: str | None, figures: Sequence[Figure]) -> "ModelCardData":
    from huggingface_hub import ModelCardData

    corpora = _corpora(info)
    known = [DATASETS[name] for name in corpora if name in DATASETS]
    licences = {each for _, each in known}
    if licence is None and len(known) == len(corpora) and len(licences) == 1:
        (licence,) = licences
    results = [_result(figure, corpora) for figure in figures]
    return ModelCardData(
        library_name="audio-vq",
        pipeline_tag=CONVERSION_TASK if _converts(info) else None,
        tags=["audio-vq", "speech", "vq-vae", "discrete-units", *_kind_tags(info)],
        license=licence,
        language="en" if corpora and all(name in {*DATASETS, SYNTHETIC} for name in corpora) else None,
        datasets=[name for name, _ in known] or None,
        model_name=source.rsplit("/", maxsplit=1)[-1] if results else None,
        eval_results=results or None,
    )


def _kind_tags(info: CheckpointInfo) -> list[str]:
    if info.kind == "prior":
        return ["transformer", "prior"]
    return ["wavenet", "voice-conversion"] if _converts(info) else ["wavenet", "vae"]


def _converts(info: CheckpointInfo) -> bool:
    """A prior speaks through another model; a Gaussian VAE has no units."""
    return info.kind == "vqvae" and info.config.get("bottleneck") != "gaussian"


def _corpora(info: CheckpointInfo) -> list[str]:
    """Where its recordings come from, as far as it is known: corpora of its voices, or else the corpus as a whole."""
    told = {str(voice["corpus"]) for voice in info.data.get("voices", {}).values() if voice.get("corpus")}
    return sorted(name.lower() for name in told or {str(info.data.get("corpus", ""))} if name)


def _result(figure: Figure, corpora: Sequence[str]) -> "EvalResult":
    from huggingface_hub import EvalResult

    known = next((DATASETS[name][0] for name in corpora if f"({name})" in figure.dataset), None)
    return EvalResult(
        task_type=CONVERSION_TASK if figure.task == "voice conversion" else "audio-classification",
        task_name=figure.task,
        dataset_type=known or figure.dataset,
        dataset_name=figure.dataset,
        dataset_split=figure.split,
        metric_type=figure.metric,
        metric_name=figure.name,
        metric_value=round(figure.value, 4),
    )


def _summary(info: CheckpointInfo) -> str:
    made_with = "Made with audio_vq, the [VQ-VAE for speech](https://arxiv.org/abs/1711.00937)."
    if info.kind == "prior":
        rate = info.data["unit_rate_hz"]
        return (
            f"A prior over units of speech: a transformer that says which unit follows, {rate:g} of them a second, in "
            f"the manner of {len(info.speakers)} speakers. The VQ-VAE whose units they are speaks them. {made_with}"
        )
    if not _converts(info):
        return f"A VAE for speech whose Gaussian latents are to be compared with units. {made_with}"
    voices = "one voice" if len(info.speakers) == 1 else f"any of its {len(info.speakers)} voices"
    return f"It turns speech into discrete units, learned without labels, and speaks them in {voices}. {made_with}"


def _commands(info: CheckpointInfo, source: str) -> list[str]:
    speaker, place = shlex.quote(info.speakers[0]), shlex.quote(source)
    if info.kind == "prior":
        uses = [f"audio-vq sample {place} CHECKPOINT --speaker {speaker} --seconds 3 --count 4 --out out/"]
    elif _converts(info):
        uses = [f"audio-vq convert {place} recording.wav --to {speaker} --out out/"]
    else:
        uses = []
    return [f"audio-vq info {place}", *uses]


def _python(info: CheckpointInfo, source: str) -> str:
    speaker = info.speakers[0]
    if info.kind == "prior":
        return (
            "from audio_vq import UnitPrior\n\n"
            f"prior = UnitPrior.from_pretrained({_quoted(source)})\n"
            f"units = prior.sample({_quoted(speaker)}, seconds=3)[0]  # the VQ-VAE decodes them"
        )
    if not _converts(info):
        return ""
    return (
        "import soundfile\n\n"
        "from audio_vq import VQVAE\n\n"
        f"model = VQVAE.from_pretrained({_quoted(source)})\n"
        'waveform, sample_rate = soundfile.read("recording.wav", dtype="float32")\n'
        "units = model.encode(waveform, sample_rate)\n"
        f"audio = model.decode(units, speaker={_quoted(speaker)})  # at model.sample_rate"
    )


def _quoted(text: str) -> str:
    """As Python writes it, and JSON."""
    return json.dumps(text, ensure_ascii=False)


def _told(info: CheckpointInfo) -> bool:
    """Whether anything is known of a voice but its name."""
    return any(info.data.get("voices", {}).values()) or bool(info.data.get("pitch_ranges"))


def _voice(info: CheckpointInfo, name: str) -> list[str]:
    told = info.data.get("voices", {}).get(name, {})
    median = info.data.get("pitch_ranges", {}).get(name)
    facts = (told.get("gender"), f"{median[0]:.0f} Hz" if median else "", told.get("corpus"), told.get("accent"))
    return [plain(name), *(plain(str(fact)) if fact else "" for fact in facts)]


def _row(figure: Figure) -> list[str]:
    interval = f" ({'–'.join(map(_short, figure.interval))})" if figure.interval else ""
    controls = ", ".join(f"{name} {_short(value)}" for name, value in figure.controls.items())
    return [
        figure.name,
        f"{_short(figure.value)}{interval}",
        controls,
        f"{plain(figure.dataset)}, {plain(figure.split)}",
    ]


def _short(value: float) -> str:
    """Three digits; all of those before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _training(info: CheckpointInfo) -> list[str]:
    """What is known of it, a line each."""
    data, training, valid = info.data, info.training, info.training.get("valid", {})
    lines = []
    if "hours" in data:
        corpus = f", corpus: {plain(str(data['corpus']))}" if data.get("corpus") else ""
        lines.append(f"{data['hours']:.2f} hours of recordings{corpus}")
    if "step" in training:
        lines.append(f"{training['step']} steps, {training.get('seconds', 0) / 60:.0f} minutes")
    lines += [f"{name.replace('_', ' ')} in validation: {_number(value)}" for name, value in valid.items()]
    if "perplexity" in training:
        lines.append(f"perplexity {training['perplexity']:.0f} of {training['codebook_size']} units")
    return lines or ["not told"]


def _number(value: Any) -> str:
    """Figures of a validation, numbers or lists of them."""
    if isinstance(value, list):
        return ", ".join(_number(each) for each in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
