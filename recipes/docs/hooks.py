"""Pages and tables of the documentation that are made from the code, so that they cannot drift from it.

A page for each command from its --help; in the pages, `{{ … }}` stands for a table: see TABLES.
"""

import csv
import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from audio_vq.analysis.judges.scores import CONDITIONS, FIGURES
from audio_vq.cli.main import app

ROOT = Path(__file__).parents[2]
RATES = Path(__file__).with_name("rates.csv")
PICTURES = {"voices.png": "voices/picture.png", "units.png": "demo/units.png", "collapse.png": "collapse/collapse.png"}
HYDRA = {"train": ("train", "model"), "train-prior": ("train_prior", "prior")}  # verb → folder of conf/, its presets


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    commands = next(entry for entry in config.nav if "Commands" in entry)
    commands["Commands"] = [{name: _place(name)} for name in _verbs()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, command in _verbs().items():
        files.append(File.generated(config, _place(name), content=_page(name, command)))
    for name, path in PICTURES.items():
        files.append(File.generated(config, f"pictures/{name}", abs_src_path=str(ROOT / "recipes" / path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    return re.sub(r"^{{ (\w+) }}$", lambda found: TABLES[found[1]](), markdown, flags=re.MULTILINE)


def _verbs() -> dict[str, Any]:
    """In the order of --help, where groups of verbs come last: `prepare` is what one begins with."""
    verbs = typer.main.get_command(app).commands
    return {name: verbs[name] for name in sorted(verbs, key=lambda name: name != "prepare")}


def _place(name: str) -> str:
    return f"commands/{name}.md"


def _page(name: str, command: Any) -> str:
    text = f"# audio-vq {name}\n\n"
    if name in HYDRA:
        return text + _hydra(name)
    text += _described(name, command)
    for sub, its in getattr(command, "commands", {}).items():
        text += f"\n## {name} {sub}\n\n{_described(f'{name} {sub}', its)}"
    return text


def _described(name: str, command: Any) -> str:
    """Purpose and examples from the docstring, then arguments and options."""
    context = command.make_context(f"audio-vq {name}", [], resilient_parsing=True)
    usage = " ".join([f"audio-vq {name}", *command.collect_usage_pieces(context)])
    rows = [record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))]
    return f"{_with_examples(command.help or '')}\n```text\n{usage}\n```\n\n{_table(rows)}"


def _with_examples(text: str) -> str:
    """`…: audio-vq …` at the end of a line becomes a block of its own, all else is no Markdown."""
    lines = []
    for line in text.strip().splitlines():
        found = re.fullmatch(r"([^:]+): ((?:[a-z][^|]* \| )?audio-vq .+)", line)
        lines.append(f"{_plain(found[1])}:\n\n```bash\n{found[2]}\n```" if found else _plain(line))
    return "\n".join([*lines, ""])


def _table(rows: list[tuple[str, str]]) -> str:
    lines = [f"| `{name}` | {_plain(meaning)} |" for name, meaning in rows]
    return "\n".join(["| argument or option | meaning |", "|---|---|", *lines, ""])


def _plain(text: str) -> str:
    """A line of text as Markdown."""
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")


def _hydra(name: str) -> str:
    """What the verb prints itself, with the defaults; then each preset as its file has it."""
    folder, kind = HYDRA[name]
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):  # Hydra leaves when it has printed
        typer.main.get_command(app).main([name, "--help"], standalone_mode=False)
    purpose, _, rest = printed.getvalue().partition("Defaults:")
    text = f"{_with_examples(purpose)}\n## Defaults\n\n```yaml\n{rest.strip()}\n```\n"
    for file in sorted((ROOT / "conf" / folder / kind).glob("*.yaml")):
        text += f"\n## {kind}={file.stem}\n\n```yaml\n{file.read_text(encoding='utf-8').strip()}\n```\n"
    return text


def _meanings(of: dict[str, str]) -> str:
    return "\n".join(f"`{name}`\n:   {' '.join(meaning.split())}\n" for name, meaning in of.items())


def _rates() -> str:
    """Measured training rates on GPUs, from rates.csv."""
    with RATES.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    if not rows:
        return "None were measured for this version."
    return "\n".join("| " + " | ".join(map(_plain, row)) + " |" for row in [head, ["---"] * len(head), *rows])


TABLES: dict[str, Callable[[], str]] = {
    "conditions": lambda: _meanings(CONDITIONS),
    "figures": lambda: _meanings(FIGURES),
    "rates": _rates,
}
