"""Files and folders that are either whole or absent, locks on folders, and names that may become part of a path.

What is written has the permissions that the umask grants.
"""

import errno
import fcntl
import os
import secrets
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audio_vq.errors import UserError

TEMPORARY = ".partial-"  # begins the names of what is still being written, or was when a process was killed
LOCK_FILE = ".lock"
LONGEST_SUFFIX = 32  # bytes
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # what file systems without locks answer


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that replaces it when the block ends well and is removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_beside(path)
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        _reach_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def atomic_write_bytes(path: Path, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well.

    Where `path` exists, the new files replace those of the same names, once all are written; others stay.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path / _temporary_name() if path.is_dir() else _temporary_beside(path)
    temporary.mkdir()
    try:
        yield temporary
        files = list(temporary.iterdir())
        for file in files:
            _reach_disk(file)
        if path.is_dir():
            for file in files:
                file.replace(path / file.name)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Keeps other processes, and other calls in this one, out of `folder`, which is made if need be.

    The system drops the lock of a process that dies. File systems without locks are used without.

    Args:
        folder: where everybody writes who wants the lock.
        what: it is, for the message: "the run", say.

    Raises:
        UserError: the folder is locked by another, or cannot be written.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _lock(folder / LOCK_FILE)
    except BlockingIOError:
        raise UserError(
            f"another process is at work on {what} {folder}; wait until it is done, or give another folder"
        ) from None
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder} is not a folder; give a folder, or one that does not exist yet") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        (folder / LOCK_FILE).unlink(missing_ok=True)
        os.close(handle)
        if is_new:
            with suppress(OSError):  # work that left nothing leaves no folder either
                folder.rmdir()


@contextmanager
def taking_turns(name: str, once: str | None = None) -> Iterator[None]:
    """Lets a user's processes on this machine through one after another; all at once where no lock can be had.

    Args:
        name: of the lock.
        once: identifies work that is done for good when the first has come through: it is noted, nobody waits any more.
    """
    file = Path(tempfile.gettempdir(), f".audio-vq-{os.getuid()}-{name}")
    handles: list[int] = []
    if once is None or _read(file) != once:
        with suppress(OSError):
            handles.append(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
            fcntl.flock(handles[0], fcntl.LOCK_EX)
    try:
        yield
        if once is not None and handles:
            with suppress(OSError):
                os.truncate(handles[0], 0)
                os.pwrite(handles[0], once.encode(), 0)
    finally:
        for handle in handles:
            os.close(handle)


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def safe_name(name: str, what: str) -> str:
    """The name, if it may be part of a path: one that names a file or folder right below another.

    Args:
        name: an id or a speaker's name, from a file that anybody may have written.
        what: where it stands, for the message: "corpus.csv, line 3: speaker", say.

    Raises:
        UserError: it is empty, `.` or `..`, or has separators, control characters or lone surrogates.
    """
    forbidden = any(each in "/\\" or unicodedata.category(each) in {"Cc", "Cs"} for each in name)
    if forbidden or not name.strip() or name in {".", ".."}:
        raise UserError(
            f"{what} {name!a} cannot name a file; give letters, digits, blanks or signs other than / and \\"
        )
    return name


def _temporary_name() -> str:
    return f"{TEMPORARY}{secrets.token_hex(6)}"


def _temporary_beside(path: Path) -> Path:
    """Keeps the suffix, by which some writers choose a format, but not the stem: names have a greatest length."""
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= LONGEST_SUFFIX else ""
    return path.with_name(_temporary_name() + suffix)


def _reach_disk(file: Path) -> None:
    """Waits for it: a power cut must not leave a file that is renamed but empty."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _lock(file: Path) -> int:
    """The handle that holds the lock. Raises BlockingIOError where another holds it."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            os.close(handle)
            raise
    with suppress(FileNotFoundError):
        if os.path.samestat(file.stat(), os.fstat(handle)):
            return handle
    os.close(handle)  # whoever held it has removed the file since it was opened
    return _lock(file)
