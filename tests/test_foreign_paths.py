"""Foreign data cannot name files of this machine or addresses: what they name is in the set, or is refused."""

import http.server
import io
import json
import os
import threading
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.publish.export import export

FEATURES = datasets.Features(image=datasets.Image(), label=datasets.Value("int64"))
REFUSED = "column .*: an image is named by|an image is named by"


def picture(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("L", (4, 4), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def secret(tmp_path) -> Path:
    """An image of the user's own, which no data set may show."""
    path = tmp_path / "home/private.png"
    path.parent.mkdir()
    path.write_bytes(picture(77))
    return path


@pytest.fixture
def server(secret):
    """Serves the secret, and counts who asked for it."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(secret.read_bytes())

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/private.png", asked
    serving.shutdown()


def table(paths: list, features=FEATURES) -> pa.Table:
    rows = [
        {"image": path if isinstance(path, (dict, list)) else {"bytes": None, "path": path}, "label": 0}
        for path in paths
    ]
    schema = features.arrow_schema
    columns = [pa.array([row[name] for row in rows], schema.field(name).type) for name in schema.names]
    return pa.table(columns, schema=schema)


def read_all(path: str, **options):
    """All rows, in each way of reading them."""
    for transform in ({}, {"transform": None}):
        list(load_dataset(path, split="train", **transform, **options))
    list(load_dataset(path, split="train", streaming=True, **options))


def refused(path: str, **options) -> None:
    for streaming in (False, True):
        for transform in ({}, {"transform": None}):
            with pytest.raises(DataError, match=REFUSED):
                list(load_dataset(path, split="train", streaming=streaming, **transform, **options))


def ways(secret: Path, folder: Path) -> dict[str, str]:
    """Spellings of a path to the secret."""
    return {
        "absolute": str(secret),
        "dots": f"{folder}/../home/private.png",
        "relative": os.path.relpath(secret),
        "file": f"file://{secret}",
        "local": f"local://{secret}",
        "zip": f"zip://private.png::{secret}",
        "chain": f"simplecache::{secret}",
        "hub": f"filecache::hf://datasets/../{secret}",
    }


@pytest.mark.parametrize("way", ["absolute", "dots", "relative", "file", "local", "zip", "chain", "hub"])
def test_parquet_names_no_file_of_the_machine(way, secret, tmp_path):
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    pq.write_table(
        table([{"bytes": picture(), "path": "a.png"}, ways(secret, folder)[way]]), folder / "data/train-0.parquet"
    )
    refused(str(folder))
    with pytest.raises(DataError, match=REFUSED):
        export(str(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("scheme", ["http", "zip", "simplecache"])
def test_addresses_in_data_are_never_opened(scheme, server, tmp_path):
    url, asked = server
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    named = {"http": url, "zip": f"zip://private.png::{url}", "simplecache": f"simplecache::{url}"}[scheme]
    pq.write_table(table([named]), folder / "data/train-0.parquet")
    refused(str(folder))
    with pytest.raises(DataError, match=REFUSED):
        export(str(folder), tmp_path / "out")
    assert not asked


@pytest.mark.parametrize("kind", ["list", "nested"])
def test_images_in_lists_and_structs(kind, secret, tmp_path):
    value = {"bytes": None, "path": str(secret)}
    image, stored = {
        "list": (datasets.List(datasets.Image()), [{"bytes": picture(), "path": None}, value]),
        "nested": ({"first": datasets.Image()}, {"first": value}),
    }[kind]
    features = datasets.Features(image=image, label=datasets.Value("int64"))
    (tmp_path / "set").mkdir()
    pq.write_table(table([stored], features), tmp_path / "set/train.parquet")
    refused(str(tmp_path / "set"))


def test_other_tables_that_datasets_reads(secret, server, tmp_path):
    url, asked = server
    card = "---\ndataset_info:\n  features:\n  - name: image\n    dtype: image\nconfigs:\n- config_name: default\n"
    for name, line in (("jsonl", json.dumps({"image": str(secret)})), ("csv", f"image\n{url}")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"train.{name}").write_text(line + "\n")
        (folder / "README.md").write_text(card + f"  data_files: train.{name}\n---\n")
        refused(str(folder))
    with pytest.raises(DataError, match=REFUSED):
        features = datasets.Features(image=datasets.Image())
        load_dataset("json", data_files=str(tmp_path / "jsonl/train.jsonl"), features=features, split="train")
    folder = tmp_path / "arrow"
    folder.mkdir()
    with (
        pa.OSFile(str(folder / "train.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table([str(secret)]).schema) as writer,
    ):
        writer.write_table(table([str(secret)]))
    refused(str(folder))
    assert not asked


def test_metadata_of_a_folder_names_no_file_of_the_machine(secret, tmp_path):
    """The schema declares a column of images, and its rows hold paths."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.png").write_bytes(picture(1))
    features = datasets.Features(file_name=datasets.Value("string"), other=datasets.Image())
    rows = pa.table(
        [["a.png"], pa.array([{"bytes": None, "path": str(secret)}], features.arrow_schema.field("other").type)],
        schema=features.arrow_schema,
    )
    pq.write_table(rows, tmp_path / "set/metadata.parquet")
    for streaming in (False, True):
        try:
            rows = list(load_dataset(str(tmp_path / "set"), split="train", streaming=streaming))
        except DataError:
            continue
        assert not isinstance(rows[0].get("other"), (PIL.Image.Image,)) and "tensor(" not in str(rows[0].get("other"))
    try:
        out = export(str(tmp_path / "set"), tmp_path / "out")
    except DataError:
        return
    assert secret.read_bytes() not in b"".join(path.read_bytes() for path in (out / "data").iterdir())


def test_a_link_in_a_folder_of_images_leads_nowhere_else(secret, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/b.png").symlink_to(secret)
    for path, options in ((str(tmp_path / "set"), {}), ("imagefolder", {"data_dir": str(tmp_path / "set")})):
        with pytest.raises(DataError, match="outside of"):
            load_dataset(path, split="train", **options)


def test_what_is_in_the_set_is_read(tmp_path):
    """Sets that name their own files, as `imagefolder` does, and sets that hold the bytes."""
    (tmp_path / "photos/train").mkdir(parents=True)
    for value in range(3):
        (tmp_path / f"photos/train/{value}.png").write_bytes(picture(value))
    for options in (
        {"data_dir": str(tmp_path / "photos")},
        {"data_files": {"train": str(tmp_path / "photos/train/*.png")}},
    ):
        read_all("imagefolder", **options)
        rows = load_dataset("imagefolder", split="train", **options)
        assert sorted(int(row["image"].max() * 255) for row in rows) == [0, 1, 2]
    (tmp_path / "set/data").mkdir(parents=True)
    (tmp_path / "set/own.png").write_bytes(picture(9))
    stored = table([{"bytes": picture(5), "path": "/elsewhere/5.png"}, str(tmp_path / "set/own.png")])
    pq.write_table(stored, tmp_path / "set/data/train-0.parquet")
    read_all(str(tmp_path / "set"))
    rows = load_dataset(str(tmp_path / "set"), split="train", transform=None)
    assert [np.asarray(row["image"]).max() for row in rows] == [5, 9]


def test_hidden_files_of_the_set_are_not_its_images(tmp_path):
    (tmp_path / "set/data").mkdir(parents=True)
    (tmp_path / "set/.own.png").write_bytes(picture(9))
    pq.write_table(table([str(tmp_path / "set/.own.png")]), tmp_path / "set/data/train-0.parquet")
    refused(str(tmp_path / "set"))


SCRIPT = """
import datasets

class Own(datasets.GeneratorBasedBuilder):
    def _info(self):
        return datasets.DatasetInfo(features=datasets.Features(image=datasets.Image()))

    def _split_generators(self, dl_manager):
        return [datasets.SplitGenerator("train", {{}})]

    def _generate_examples(self):
        yield 0, {{"image": {path!r}}}
"""


def test_a_script_of_the_users_own_may_name_any_file(secret, tmp_path):
    (tmp_path / "own.py").write_text(SCRIPT.format(path=str(secret)))
    read_all(str(tmp_path / "own.py"))
    assert load_dataset(str(tmp_path / "own.py"), split="train", transform=None)[0]["image"].getpixel((0, 0)) == 77
