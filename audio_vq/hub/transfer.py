"""A checkpoint's files to the Hugging Face Hub and back. What goes wrong there is told in one line."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_vq.checkpoint_info import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from audio_vq.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelCard
    from huggingface_hub.errors import HfHubHTTPError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILES = [CONFIG_FILE, WEIGHTS_FILE, CARD_FILE]
SERVER_FAULT = 500  # and above: HTTP status of a Hub that does not work
NO_ANSWER = "the Hub cannot be reached (offline?)"
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class Published:
    """Where a checkpoint is on the Hub."""

    repository: str
    url: str  # of its page
    commit: str  # a revision that always means this checkpoint


def download(repository: str, revision: str | None = None, token: str | bool | None = None) -> Path:
    """The folder, in the Hub's cache, of a repository's checkpoint: what is there is not fetched again.

    Args:
        repository: you/model.
        revision: a branch, a tag or a commit; by default the newest state.
        token: of the Hub; by default the one that was logged in with, if any.

    Raises:
        UserError: missing or private, restricted, no such revision, or it cannot be reached and is not in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        with _unreachable(f"checkpoint {repository} is no local folder, is not in the Hub's cache, and {NO_ANSWER}"):
            return Path(
                snapshot_download(repository, revision=revision, token=token, allow_patterns=FILES, **_our_name())
            )
    except GatedRepoError:
        reason = f"is on the Hub, but access is restricted: ask for it on its page, then {LOG_IN}"
    except RepositoryNotFoundError:
        reason = f"is no local folder, and on the Hub it is missing or private (for private ones: {LOG_IN})"
    except RevisionNotFoundError:
        reason = f"has no revision {revision!r} on the Hub; give a branch, a tag or a commit"
    except HFValidationError:
        reason = "is no local folder and no valid Hub id"
    except HfHubHTTPError as error:
        reason = f"cannot be fetched: {_answer(error)}"
    raise UserError(f"checkpoint {repository} {reason}")


def upload(
    folder: Path, card: "ModelCard", repository: str, private: bool = False, token: str | bool | None = None
) -> Published:
    """Puts a checkpoint on the Hub, all of it in one commit; the repository is made where there is none.

    Raises:
        UserError: no token or one that may not do this, an impossible name, a card that the Hub refuses, a repository
            that holds something else or is public where `private` is asked for; the Hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if not HUB_ID.fullmatch(repository):
        raise UserError(f"repository {repository!r}; expected a Hub id such as you/model")
    if token in (None, True) and get_token() is None:
        raise UserError(f"publishing {repository} needs a token of the Hub that may write: {LOG_IN}")
    api = HfApi(token=token, **_our_name())
    with _refusals(repository):
        _validate(api, card)
        api.create_repo(repository, private=private, exist_ok=True)
        _check_content(api, repository, private)
        operations = [CommitOperationAdd(name, folder / name) for name in (CONFIG_FILE, WEIGHTS_FILE)]
        operations.append(CommitOperationAdd(CARD_FILE, str(card).encode()))
        commit = api.create_commit(repository, operations, commit_message="A checkpoint of audio_vq")
    return Published(repository, f"{api.endpoint}/{repository}", commit.oid)


def _our_name() -> dict[str, Any]:
    """As which a library tells itself to the Hub."""
    return {"library_name": "audio-vq", "library_version": version("audio-vq")}


def _validate(api: "HfApi", card: "ModelCard") -> None:
    """Asks the Hub, before anything is made there, whether it takes the card's metadata."""
    from huggingface_hub.errors import BadRequestError
    from huggingface_hub.utils import get_session, hf_raise_for_status

    # `card.validate` asks huggingface.co, whatever HF_ENDPOINT says, in releases before 2.1
    answer = get_session().post(f"{api.endpoint}/api/validate-yaml", json={"content": str(card), "repoType": "model"})
    try:
        hf_raise_for_status(answer)
    except BadRequestError:
        raise UserError(f"the Hub refuses the card's metadata: {_complaints(answer.text)}") from None


def _complaints(answer: str) -> str:
    try:
        return "; ".join(each["message"] for each in json.loads(answer)["errors"])
    except (ValueError, KeyError, TypeError):
        return answer


def _check_content(api: "HfApi", repository: str, private: bool) -> None:
    """Raises UserError for a repository that is public against the caller's will, or holds something else."""
    from huggingface_hub.errors import EntryNotFoundError

    if private and not api.model_info(repository).private:
        raise UserError(f"{repository} exists and is public; make it private on its page, or publish without --private")
    try:
        found = json.loads(Path(api.hf_hub_download(repository, CONFIG_FILE)).read_text(encoding="utf-8"))["format"]
    except EntryNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        found = None
    if not str(found).startswith("audio_vq"):
        raise UserError(f"{repository} holds something else already: its {CONFIG_FILE} is no audio_vq checkpoint's")


@contextmanager
def _refusals(repository: str) -> Iterator[None]:
    """The Hub's answers to somebody who wants to write."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        with _unreachable(f"{repository} cannot be published: {NO_ANSWER}; the same command tries again"):
            yield
    except HFValidationError as error:
        raise UserError(f"repository {repository!r} is no valid Hub id: {error}") from None
    except HfHubHTTPError as error:
        reason = {
            401: f"the Hub does not know the token; {LOG_IN}",
            403: "the token may not write there; give one with write permission, or a repository of your own",
        }.get(_status(error), _answer(error))
        raise UserError(f"{repository} cannot be published: {reason}") from None
    except RuntimeError as error:  # what large files' transfer ends with
        raise UserError(f"{repository} is not published: {error} The same command begins again.") from None


def _status(error: "HfHubHTTPError") -> int:
    """Of the Hub's answer, or as that of a Hub that gave none."""
    response = getattr(error, "response", None)
    return SERVER_FAULT if response is None else int(response.status_code)


def _answer(error: "HfHubHTTPError") -> str:
    return f"the Hub answered {' '.join((error.server_message or str(error)).split())}"


@contextmanager
def _unreachable(said: str) -> Iterator[None]:
    """Raises UserError where there is no network, or no Hub at its end. A full disk is another thing."""
    from huggingface_hub import errors

    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise
    except errors.HfHubHTTPError as error:
        if _status(error) < SERVER_FAULT:
            raise
        raise UserError(said) from None
    except errors.HTTPError:  # of the client that huggingface_hub uses
        raise UserError(said) from None
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError):
            raise
        raise UserError(said) from None
