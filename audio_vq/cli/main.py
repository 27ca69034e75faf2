"""`audio-vq`: one command, a verb for each thing it does."""

import sys
from typing import Annotated

import typer

from audio_vq.cli.add_speaker import add_speaker
from audio_vq.cli.align import align
from audio_vq.cli.analyze import analyze
from audio_vq.cli.bench import bench
from audio_vq.cli.console import accept_any_text, leave_closed_pipe
from audio_vq.cli.convert import convert
from audio_vq.cli.decode import decode
from audio_vq.cli.demo import demo
from audio_vq.cli.doctor import doctor
from audio_vq.cli.encode import encode
from audio_vq.cli.evaluate import evaluate
from audio_vq.cli.export_encoder import export_encoder
from audio_vq.cli.info import info
from audio_vq.cli.prepare import prepare_app
from audio_vq.cli.push import push
from audio_vq.cli.sample import sample
from audio_vq.cli.train import HYDRA_VERB, train, train_prior
from audio_vq.errors import DivergenceError, UserError

PROGRAM = "audio-vq"  # however it was started: completion goes by it
USER_MISTAKE, INTERRUPTED, OUR_FAILURE = 2, 130, 1

app = typer.Typer(
    name=PROGRAM,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from audio_vq import __version__

        print(f"audio-vq {__version__}")
        raise typer.Exit


@app.callback()
def audio_vq(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Discrete units of speech: learn them, convert voices with them, generate from them, see what they are.

    Example: audio-vq convert runs/vctk recording.wav --to p226 --out converted/
    """


app.add_typer(prepare_app, name="prepare")
app.command(**HYDRA_VERB)(train)
app.command()(encode)
app.command()(decode)
app.command()(convert)
app.command(name="add-speaker")(add_speaker)
app.command(name="train-prior", **HYDRA_VERB)(train_prior)
app.command()(sample)
app.command()(align)
app.command()(analyze)
app.command()(evaluate)
app.command(name="export-encoder")(export_encoder)
app.command()(info)
app.command()(push)
app.command()(bench)
app.command()(doctor)
app.command()(demo)


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 our failure, 2 the user's mistake, 130 interrupted."""
    accept_any_text()
    try:
        app(prog_name=PROGRAM)
    except UserError as error:
        _leave(USER_MISTAKE, str(error))
    except KeyboardInterrupt as error:
        _leave(INTERRUPTED, str(error) or "interrupted")
    except DivergenceError as error:
        _leave(OUR_FAILURE, str(error))
    except BrokenPipeError:  # whoever read our output has gone
        leave_closed_pipe()
        sys.exit(OUR_FAILURE)
    except OSError as error:  # a full disk, a missing permission: ours to report, not to trace
        _leave(OUR_FAILURE, f"{error.strerror}: {error.filename}" if error.filename else str(error))


def _leave(code: int, message: str) -> None:
    print(f"audio-vq: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
