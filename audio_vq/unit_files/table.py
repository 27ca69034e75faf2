"""Unit sequences as a table, a row for each recording: Parquet, as Hugging Face Datasets, pandas and Arrow read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audio_vq.errors import UserError
from audio_vq.extras import require_package
from audio_vq.files import atomic_path
from audio_vq.unit_files.records import distinct, record_of, refuse_mixed, sequence_of
from audio_vq.units import UnitSequence

if TYPE_CHECKING:
    import pyarrow as pa


def require_tables() -> None:
    """Raises UserError that says what to install."""
    require_package("pyarrow", "parquet")


def write_table(path: Path, sequences: Sequence[UnitSequence]) -> None:
    """Columns are the fields of JSON Lines; `units` is a list, or of several groups a list of lists.

    Raises:
        UserError: pyarrow is not installed, or as `refuse_mixed`.
    """
    require_tables()
    import pyarrow as pa
    import pyarrow.parquet as pq

    refuse_mixed(sequences, ".parquet")
    groups = len(sequences[0].groups) if sequences else 1
    has_pitch = any(each.has_pitch for each in sequences)
    rows = [record_of(each) for each in sequences]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pq.write_table(pa.Table.from_pylist(rows, _schema(groups, has_pitch=has_pitch)), file)


def _schema(groups: int, *, has_pitch: bool) -> "pa.Schema":
    """Given, not found out: files of other recordings, be they none, then have the same."""
    import pyarrow as pa

    track = pa.list_(pa.int32())
    columns = [("id", pa.string()), ("speaker", pa.string()), ("sample_rate", pa.int32()), ("hop_length", pa.int32())]
    columns += [("num_samples", pa.int64()), ("fingerprint", pa.string())]
    columns += [("units", track if groups == 1 else pa.list_(track)), *([("pitch", track)] if has_pitch else [])]
    return pa.schema(columns)


def read_table(path: Path) -> tuple[UnitSequence, ...]:
    """Raises UserError for another kind of file, or where pyarrow is not installed."""
    require_tables()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            rows = pq.read_table(file).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a units file as written by `audio-vq encode --out units.parquet`") from error
    # a column that some rows lack, as where tables were joined, is empty there
    records = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return distinct(path, (sequence_of(f"{path}, row {n}", record) for n, record in enumerate(records, 1)))
