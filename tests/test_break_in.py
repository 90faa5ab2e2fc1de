"""Ways out of a set that its bytes, links and card could take when `datasets` reads it; each is refused in one line."""

import io
import json
import os
import stat
from pathlib import Path

import datasets
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.errors import printable
from dataset_scripts.core.formats import parquet_native
from dataset_scripts.core.look.preview import preview
from dataset_scripts.core.publish.export import export

IMAGE = datasets.Features(image=datasets.Image())
CARD = "---\nconfigs:\n- config_name: default\n  data_files: {}\n---\n"


def picture(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("L", (4, 4), value).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, images: list[dict], feature: dict | None = None) -> Path:
    """A Parquet file with a column `image`, which the schema declares as a `feature`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": pa.array(images, IMAGE.arrow_schema.field("image").type)})
    info = {"info": {"features": {"image": feature or {"_type": "Image"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), path)
    return path.parent


def refused(path: Path | str, match: str, **options) -> None:
    for streaming in (False, True):
        with pytest.raises(DataError, match=match) as error:
            list(load_dataset(str(path), split="train", streaming=streaming, **options))
        assert "\n" not in str(error.value)


@pytest.fixture
def home(tmp_path) -> Path:
    """A folder of the user's own, which no data set may show."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "private.png").write_bytes(picture(77))
    (folder / "private.csv").write_text("a\nsecret\n")
    return folder


@pytest.mark.parametrize("name", ["__MACOSX", "__pycache__", "lost+found"])
def test_an_export_follows_no_link_of_a_folder_that_is_not_listed(name, home, tmp_path):
    write(tmp_path / "set/train.parquet", [{"bytes": None, "path": f"{tmp_path}/set/{name}/private.png"}])
    (tmp_path / "set" / name).symlink_to(home)
    with pytest.raises(DataError):
        export(str(tmp_path / "set"), tmp_path / "out")


def test_an_export_of_named_files_follows_no_link(home, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.png").write_bytes(picture())
    (tmp_path / "set/b.png").symlink_to(home / "private.png")
    with pytest.raises(DataError, match="only files of the set"):
        export("imagefolder", tmp_path / "out", data_files=str(tmp_path / "set/*.png"))


@pytest.mark.parametrize("path", ["{}/pipe", "{}/a\0b", "{}"])
def test_what_is_no_file_is_no_image(path, tmp_path):
    folder = write(tmp_path / "set/train.parquet", [{"bytes": None, "path": path.format(tmp_path / "set")}])
    os.mkfifo(folder / "pipe")
    refused(folder, "an image is named by the path")


@pytest.mark.parametrize(
    "pattern",
    [
        "file:{}",
        "local:{}",
        "simplecache::{}",
        "blockcache::file:{}",
        ".x/private.csv",
        "*/.x/*.csv",
        "__pycache__/private.csv",
    ],
)
def test_a_card_names_no_file_outside(pattern, home, tmp_path):
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    for link in (".x", "sub/.x", "__pycache__"):
        (folder / link).symlink_to(home)
    pattern = json.dumps(pattern.format(home / "private.csv"))
    for name, text in (
        ("README.md", CARD.format(pattern)),
        (".huggingface.yaml", CARD.format(pattern).replace("---\n", "")),
    ):
        (folder / name).write_text(text)
        refused(folder, "outside of|leads out of")
        (folder / name).unlink()
        (folder / "a.csv").write_text("a\n1\n")


@pytest.mark.parametrize(
    "option, match",
    [
        ("sep: '(a|aa)+b'\n  engine: python", "sep to '.*', not to one character"),
        ("delimiter: '(a|aa)+b'", "delimiter to '.*', not to one character"),
        ("sep:", "sep to None"),
        ("sep: ä", "sep to 'ä'"),
        ("thousands: '11'", "thousands to '11'"),
        ("decimal: 1", "decimal to 1"),
        ("engine: python", "engine, which is for code"),
        ("skipfooter: 1", "skipfooter, which is for code"),
        ("converters: {x: print}", "converters, which is for code"),
        ("dialect: excel", "dialect, which is for code"),
        ("encoding: PunyCode", "the encoding PunyCode"),
    ],
)
def test_a_card_gives_readers_no_code_and_no_patterns(option, match, tmp_path):
    (tmp_path / "data.csv").write_text("x,y\n" + ("a" * 40 + ",1\n") * 3)
    for name, text in (("README.md", CARD), (".huggingface.yaml", CARD.replace("---\n", ""))):
        (tmp_path / name).write_text(text.format(f"data.csv\n  {option}"))
        refused(tmp_path, match)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("separator, written", [(";", ";"), ("\t", "\t"), (r"\s+", "  ")])
def test_a_card_may_say_what_separates_columns(separator, written, tmp_path):
    (tmp_path / "data.csv").write_text(f"x{written}y\n1{written}2\n")
    (tmp_path / "README.md").write_text(CARD.format(f"data.csv\n  sep: {json.dumps(separator)}"))
    assert load_dataset(str(tmp_path), split="train")[0] == {"x": 1, "y": 2}


@pytest.mark.parametrize("link, target", [("lost+found/b.csv", "private.csv"), (".huggingface.yaml", "private.csv")])
def test_links_that_are_not_listed_lead_nowhere_else(link, target, home, tmp_path):
    (tmp_path / "set" / link).parent.mkdir(parents=True)
    (tmp_path / "set/a.csv").write_text("a\n1\n")
    (tmp_path / "set" / link).symlink_to(home / target)
    refused(tmp_path / "set", "outside of|leads out of")


@pytest.mark.parametrize("cast", ["cast_column", "cast"])
def test_a_stream_that_is_cast_names_no_file_outside(cast, home, tmp_path):
    folder = write(tmp_path / "set/train.parquet", [{"bytes": None, "path": str(home / "private.png")}])
    stream = load_dataset(str(folder), split="train", streaming=True, transform=None)
    rows = stream.cast_column("image", datasets.Image(mode="RGB")) if cast == "cast_column" else stream.cast(IMAGE)
    with pytest.raises(DataError, match="only files of the set"):
        list(rows)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"


def iptc(content: bytes) -> bytes:
    fields = [(3, 60, b"\1\0"), (3, 20, b"\0\4"), (3, 30, b"\0\4"), (3, 120, b"\5"), (8, 10, content)]
    return b"".join(bytes([0x1C, *kind]) + len(value).to_bytes(2, "big") + value for *kind, value in fields)


@pytest.mark.parametrize(
    "content",
    [
        EPS,
        b"\xc5\xd0\xd3\xc6" + (32).to_bytes(4, "little") + len(EPS).to_bytes(4, "little") + bytes(20) + EPS,
        iptc(EPS),
    ],
)
def test_postscript_is_not_run(content, tmp_path, monkeypatch):
    program = tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    refused(write(tmp_path / "set/train.parquet", [{"bytes": content, "path": "a.png"}]), "a.png: PostScript")
    (tmp_path / "named").mkdir()
    (tmp_path / "named/a.png").write_bytes(content)
    refused(
        write(tmp_path / "named/train.parquet", [{"bytes": None, "path": f"{tmp_path}/named/a.png"}]),
        "a.png: PostScript",
    )
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/cat/a.png").write_bytes(content)
    refused(tmp_path / "photos", "a.png: PostScript")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("mode", ["BOGUS", 3])
def test_a_mode_that_is_none(mode, tmp_path):
    images = [{"bytes": picture(), "path": "a.png"}]
    refused(
        write(tmp_path / "set/train.parquet", images, {"_type": "Image", "mode": mode}), "a.png cannot be converted"
    )


def bomb(kind: str) -> pa.Table:
    """A table of 1.5 GB whose file has some kilobytes."""
    content = pa.array([bytes(1 << 20)] * 20)
    if kind == "texts":
        return pa.table({"x": pa.chunked_array([content] * 75)})
    if kind == "lists":
        return pa.table({"x": pa.chunked_array([pa.ListArray.from_arrays([0, 20], content)] * 75)})
    image = pa.StructArray.from_arrays([content, pa.array(["a.png"] * 20)], ["bytes", "path"])
    return pa.table({"image": pa.chunked_array([image] * 75)})


@pytest.mark.parametrize("kind", ["texts", "lists", "images"])
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_table_that_is_much_more_than_its_file(kind, suffix, tmp_path):
    table, path = bomb(kind), tmp_path / f"set/train.{suffix}"
    path.parent.mkdir()
    if suffix == "parquet":
        pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=1 << 30)
    else:
        with pa.ipc.new_stream(path, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(table)
    assert path.stat().st_size < 1 << 20
    refused(path.parent, rf"train\.{suffix}: cannot be read as a table: its values take [\d m][^/]* bytes")
    refused(suffix, rf"train\.{suffix}: cannot be read", data_files=str(path))


def test_a_large_table_is_not_read_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_native, "SMALL", 0)
    monkeypatch.setattr(parquet_native, "FREE_BYTES", 1 << 20)
    images = [os.urandom(10_000) for _ in range(400)]
    table = pa.table({"image": images, "label": [f"a class {number % 10}" for number in range(400)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetFile, "iter_batches", None)
        parquet_native.check(tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "a.parquet")  # in one group, where images might be the same
    parquet_native.check(tmp_path / "a.parquet")
    pq.write_table(pa.table({"image": [bytes(10_000)] * 4_000}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="its values take more than"):
        parquet_native.check(tmp_path / "a.parquet")


FEATURES = [
    [1],
    "text",
    {"image": {"_type": "Path"}},
    {"image": {"_type": "ClassLabel", "names_file": "/etc/passwd"}},
    {"image": {"_type": "ClassLabel", "names": ["a", "a"]}},
    {"image": {"_type": "Value", "dtype": "os.system"}},
]


@pytest.mark.parametrize("features", FEATURES)
def test_a_schema_that_datasets_cannot_read(features, tmp_path):
    folder = write(tmp_path / "set/train.parquet", [{"bytes": picture(), "path": "a.png"}])
    table = pq.read_table(folder / "train.parquet")
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), folder / "train.parquet")
    refused(folder, "set")


@pytest.mark.parametrize(
    "name, content",
    [
        ("x.csv", b"a,b\n1,2\n3,4,5,6\n"),
        ("x.jsonl", b'{"a": 1}\n{"a": ['),
        ("x.parquet", b"PAR1xxxxPAR1"),
        ("x.arrow", b"ARROW1\0\0"),
        ("x.txt", b"\xff\xfe\0"),
        ("x.json.gz", b"none"),
    ],
)
def test_what_datasets_cannot_read_is_an_error_of_one_line(name, content, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / name).write_bytes(content)
    refused(tmp_path / "set", name if name in ("x.csv", "x.txt") else "set")


ARGUMENTS = [
    {"split": "none"},
    {"split": "train["},
    {"split": 5},
    {"none": 1},
    {"name": "none"},
    {"data_files": "none"},
    {"download_mode": "none"},
    {"verification_mode": "none"},
    {"num_proc": 0},
    {"num_proc": "2"},
    {"transform": 5},
    {"cache_dir": "/proc/none"},
]


@pytest.mark.parametrize("options", ARGUMENTS)
def test_arguments_that_nobody_knows(options, tmp_path):
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/cat/a.png").write_bytes(picture())
    (tmp_path / "table").mkdir()
    (tmp_path / "table/a.csv").write_text("a\n1\n")
    # A set without configurations accepts any name.
    for path in [tmp_path / "table"] if "name" in options else [tmp_path / "table", tmp_path / "photos", "digits"]:
        with pytest.raises(DataError):
            load_dataset(str(path), **{"split": "train"} | options)


@pytest.mark.parametrize("name", ["a\nb", "x" * 100_000, "\x1b[31m"])
def test_names_of_classes_that_are_hard_to_draw(name, tmp_path):
    features = datasets.Features(IMAGE | {"label": datasets.ClassLabel(names=[name, "b"])})
    images = [{"bytes": picture(value), "path": None} for value in (0, 99)]
    table = pa.table({"image": pa.array(images, features.arrow_schema.field("image").type), "label": [0, 1]})
    (tmp_path / "set").mkdir()
    pq.write_table(table.replace_schema_metadata(features.arrow_schema.metadata), tmp_path / "set/train.parquet")
    assert all(path.stat().st_size for path in preview(str(tmp_path / "set"), tmp_path / "out"))


@pytest.mark.parametrize("name", [[1], {"a": 1}])
def test_names_of_classes_that_are_no_texts(name, tmp_path):
    folder = write(tmp_path / "set/train.parquet", [{"bytes": picture(), "path": "a.png"}])
    table = pa.table({"label": [0, 1]})
    info = {"info": {"features": {"label": {"_type": "ClassLabel", "names": [name, "b"]}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), folder / "train.parquet")
    refused(folder, "column label: the class name")


def test_marks_that_turn_or_hide_a_text_are_escaped():
    assert printable("a\u061cb\u206ac\U000e0041d") == "a\\u061cb\\u206ac\\U000e0041d"


def test_columns_of_views_are_exported(tmp_path):
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"a": pa.array(["x", None, "y" * 100], pa.string_view())}), tmp_path / "set/train.parquet")
    out = export(str(tmp_path / "set"), tmp_path / "out")
    assert datasets.load_dataset(str(out), split="train")["a"][:] == ["x", None, "y" * 100]


def test_a_long_message_keeps_its_end():
    """A DataLoader worker sends the traceback before the message; the deeper a package lies, the longer it is."""
    message = str(DataError("Caught DataError " + "x" * 30_000 + " a.png: cut off"))
    assert message.startswith("Caught") and message.endswith("a.png: cut off") and len(message) <= 20_000


@pytest.mark.parametrize("number", ["99999999999", "-99999999999", ".inf", ".nan"])
def test_a_card_asks_for_no_endless_work(number, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.csv").write_text("a\n1\n")
    (tmp_path / "set/README.md").write_text(CARD.format(f"a.csv\n  skiprows: {number}"))
    refused(tmp_path / "set", "skiprows to .*, not a number up to 1,000,000")
