"""What is done with Parquet and Arrow files, in a process of its own (`core/formats/isolated.py`): a damaged footer makes Arrow abort."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FREE_BYTES = 64 << 20
BYTES_A_BYTE = 256  # what compression, run lengths and dictionaries make of a byte of a sound file, at most
SMALL = 16 << 20  # bytes of a file that is read to be measured, whatever its footer says
IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def read(path: str, most_rows: int | None) -> np.ndarray:
    """The table as an IPC stream, uint8; see `parquet.read_parquet`.

    Raises:
        ValueError, pyarrow.ArrowException, OSError: what is wrong with it.
    """
    with open(path, "rb") as file:
        table = _table(file, most_rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(sink.getvalue(), np.uint8)


def check(path: str) -> None:
    """Checks that values take no more than `BYTES_A_BYTE` for a byte of the file, before others read it without such a limit.

    Sizes in the footer leave out how often a value is repeated, which is unknown until the column is read. Of a large file
    only columns are read that may have more repetitions than that.

    Raises:
        ValueError, pyarrow.ArrowException, OSError: they take more, or what is wrong with it.
    """
    with open(path, "rb") as file:
        size, most, footer = _footer(file)
        table = pq.ParquetFile(file, read_dictionary=_texts(footer), arrow_extensions_enabled=False)
        texts, chunks = set(_texts(footer)), []
        for group in range(footer.num_row_groups):
            for number in range(footer.num_columns):
                chunk = footer.row_group(group).column(number)
                repeated = chunk.num_values * chunk.total_uncompressed_size if chunk.path_in_schema in texts else 0
                chunks.append((repeated, group, chunk.path_in_schema))
        rest, found = sum(repeated for repeated, _, _ in chunks), 0
        for repeated, group, name in sorted(chunks, reverse=True):
            if size > SMALL and found + rest <= most:
                return
            rest -= repeated
            for batch in table.iter_batches(row_groups=[group], columns=[name], use_threads=False, batch_size=1 << 12):
                found += sum(map(_size, batch.columns))
                if found > most:
                    raise ValueError(f"its values take more than {most:,} bytes, much more than the file")


def check_arrow(path: str) -> None:
    """The same for a file of Arrow's own format, whose buffers may be compressed."""
    most, found = FREE_BYTES + BYTES_A_BYTE * os.path.getsize(path), 0
    with pa.memory_map(path) as file:
        try:
            stream = pa.ipc.open_stream(file)
        except pa.ArrowInvalid:
            whole = pa.ipc.open_file(file)
            stream = map(whole.get_batch, range(whole.num_record_batches))
        for batch in stream:
            found += sum(map(_size, batch.columns))
            if found > most:
                raise ValueError(f"its values take more than {most:,} bytes, much more than the file")


def _footer(file, most_rows: int | None = None) -> tuple[int, int, pq.FileMetaData]:
    """The size of a file, the most bytes that its values may take, and its footer, if that says no more."""
    size = file.seek(0, 2)
    most, said = FREE_BYTES + BYTES_A_BYTE * size, 0
    file.seek(0)
    footer = pq.read_metadata(file)
    if most_rows is not None and not 0 <= footer.num_rows <= most_rows:
        raise ValueError(f"it has {footer.num_rows:,} rows, but there are {most_rows:,} files: each has one at most")
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for number in range(group.num_columns):
            column = group.column(number)
            width = max(8, footer.schema.column(number).length or 0)
            said += max(column.total_uncompressed_size, column.num_values * width, most * (column.num_values < 0))
    if said > most:
        raise ValueError(f"its values take {said:,} bytes, much more than the file")
    file.seek(0)
    return size, most, footer


def _texts(footer: pq.FileMetaData) -> list[str]:
    leaves = map(footer.schema.column, range(footer.num_columns))
    return [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]


def _table(file, most_rows: int | None) -> pa.Table:
    _, most, footer = _footer(file, most_rows)
    table = pq.ParquetFile(file, read_dictionary=_texts(footer), arrow_extensions_enabled=False).read(use_threads=False)
    if sum(_size(chunk) for column in table.columns for chunk in column.chunks) > most:
        raise ValueError(f"its values take more than {most:,} bytes, much more than the file")
    table = table.cast(pa.schema([(field.name, _plain(field.type)) for field in table.schema]))
    for number, field in enumerate(table.schema):
        names = set(field.type.names) if pa.types.is_struct(field.type) else ()
        if names == {"bytes", "path"} and field.type.field("bytes").type == pa.binary():
            column = table.column(number)
            lost = pc.index(pc.and_(column.is_valid(), pc.is_null(pc.struct_field(column, "bytes"))), True).as_py()
            if lost >= 0:
                raise ValueError(
                    f"row {lost + 1}: the image in {field.name} has no bytes, and no file elsewhere is opened"
                )
            names = pc.replace_substring_regex(pc.struct_field(column, "path").cast(pa.string()), r"^.*[/\\]", "")
            images = [
                pa.StructArray.from_arrays([*parts], fields=list(IMAGE), mask=parts[0].is_null())
                for parts in zip(pc.struct_field(column, "bytes").chunks, names.chunks)
            ]
            table = table.set_column(number, field.name, pa.chunked_array(images, IMAGE))
    return table


def _size(array: pa.Array) -> int:
    """The bytes of an array without dictionaries."""
    if isinstance(array, pa.ExtensionArray):
        return _size(array.storage)
    if isinstance(array, pa.DictionaryArray):
        lengths = (
            pc.binary_length(array.dictionary)
            if _is_text(array.type.value_type)
            else pa.array([8] * len(array.dictionary))
        )
        lengths = pc.fill_null(lengths.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        used = array.indices.drop_null().to_numpy(zero_copy_only=False).astype(np.int64)
        return int(lengths @ np.bincount(used, minlength=len(lengths))) if len(lengths) else 0
    if isinstance(array, (pa.StringViewArray, pa.BinaryViewArray)):  # which may all be views of one text
        return array.nbytes + (pc.sum(pc.binary_length(array.cast(pa.large_binary()))).as_py() or 0)
    if isinstance(array, pa.StructArray):
        return sum(_size(part) for part in array.flatten())
    if isinstance(array, (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)):
        return array.nbytes + _size(array.flatten())
    return array.nbytes


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type without dictionaries, extensions, views and metadata of fields."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _plain(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _plain(field.type)) for field in kind])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain(kind.value_type), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
