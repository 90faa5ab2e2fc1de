"""Single parsers on bytes in memory: hundreds of times as many executions per second as with folders.

Their input is damaged as files are. Each returns the number of parts that it has read, or raises a DataError. Some
raise other errors, which their callers turn into a DataError (`reading`); this is done here too.
"""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import examples_binary  # noqa: F401  (the source of the examples)
from examples import EXAMPLES, Folder, example, image

from dataset_scripts import DataError
from dataset_scripts.core.errors import reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Reader
from dataset_scripts.core.files.pairs import folder_parser
from dataset_scripts.core.files.tar_headers import tar_members
from dataset_scripts.core.files.unpack import unpack
from dataset_scripts.core.formats import json_stream, json_text, safe_yaml, text_table
from dataset_scripts.core.formats import protobuf as wire
from dataset_scripts.core.formats.front_matter import first_table, split_card
from dataset_scripts.core.formats.markdown import code, markdown
from dataset_scripts.core.formats.parquet import read_parquet
from dataset_scripts.core.image import rle
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.layouts.cifar import batch
from dataset_scripts.layouts.mask_pairs.colors import Colors, read_colors
from dataset_scripts.layouts.tfrecord.columns import names_beside
from dataset_scripts.layouts.voc.annotation import read_objects as read_voc
from dataset_scripts.layouts.yolo.label import read_objects as read_yolo
from recipes.core.config.tasks import Train
from recipes.core.options import merge, split_words

PREFIX = "parser_"
PARSERS: dict[str, Callable[[bytes], Any]] = {}
FRAME = Frame((8, 6))


class Memory(Reader):
    """A listing of one file that is not on disk."""

    def __init__(self, path: str, content: bytes):
        super().__init__(Path("memory"))
        self.paths, self.names, self.content = [path], frozenset([path]), content

    def read(self, path: str, empty: bool = False) -> bytes:
        if not self.content and not empty:
            raise DataError(f"{path} is empty")
        return self.content

    def open(self, path: str) -> io.BytesIO:
        return io.BytesIO(self.content)


def parser(name: str, make: Callable[[], bytes]) -> Callable:
    def add(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def files() -> Folder:
            return {name: make()}

        example(PREFIX + name, PREFIX + name)(files)
        PARSERS[PREFIX + name] = parse
        return parse

    return add


def taken(target: str, suffix: str) -> Callable[[], bytes]:
    """A file of another example."""
    return lambda: next(content for path, content in EXAMPLES[target].make().items() if path.endswith(suffix))


def refused(parse: Callable[[], Any]) -> Any:
    """The result of a parser whose callers turn its errors into a DataError."""
    with reading("memory"):
        return parse()


@parser("json_elements", taken("coco_masks", ".json"))
def _(content: bytes) -> int:
    return len(list(json_stream.elements(io.BytesIO(content), "a.json", Faults.gathered())))


@parser(
    "json_records",
    lambda: json.dumps([{"file_name": f"{n}.png", "label": n, "more": [1.5, None]} for n in range(4)]).encode(),
)
def _(content: bytes) -> int:
    return len(list(json_stream.records(io.BytesIO(content), "a.json", Faults.gathered())))


@parser("json", taken("captions_json", ".json"))
def _(content: bytes) -> int:
    json_text.parse_json(content, "a.json")
    return 1


@parser("yaml", taken("yolo_boxes", ".yaml"))
def _(content: bytes) -> int:
    safe_yaml.load_yaml(content.decode("utf-8", "replace"), "a.yaml")
    return 1


@parser("card", taken("card", "README.md"))
def _(content: bytes) -> int:
    card = split_card(content.decode("utf-8", "replace"))
    if card:
        safe_yaml.load_yaml(card.header, "README.md", 2)
        first_table(card.body, "column")
    return 1


@parser("csv", taken("csv_list_csv", ".csv"))
def _(content: bytes) -> int:
    text_table.check_text(io.BytesIO(content), "a.csv")
    return len(list(text_table.text_lines(io.BytesIO(content), "a.csv")))


@parser("jsonl", taken("csv_list_jsonl", ".jsonl"))
def _(content: bytes) -> int:
    return len(list(text_table.json_lines(io.BytesIO(content), "a.jsonl", None)))


@parser("example", lambda: next(iter(_records(taken("tfrecord", "")()))))
def _(content: bytes) -> int:
    features = refused(lambda: wire.parse_example(memoryview(content)))
    return sum(len(refused(feature.values)) for feature in features.values())


def _records(content: bytes) -> list[bytes]:
    (size,) = struct.unpack("<Q", content[:8])
    return [content[12 : 12 + size]]


@parser("pickle", lambda: next(iter(EXAMPLES["cifar_pickle"].make().values())))
def _(content: bytes) -> int:
    refused(lambda: batch.load(content))
    return 1


@parser("run_lengths", lambda: json.dumps({"size": [6, 8], "counts": "0160000000006"}).encode())
def _(content: bytes) -> int:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"memory: {error}") from error
    return len(rle.decode_codes([said, {"size": [6, 8], "counts": [48]}], (6, 8), "memory"))


@parser("polygons", lambda: b"[[1, 1, 5.5, 1, 5, 4], [0, 0, 8, 0, 8, 6, 0, 6]]")
def _(content: bytes) -> int:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"memory: {error}") from error
    refused(lambda: rle.polygon_code(said, (6, 8)))
    return 1


@parser("voc", taken("voc_detection", ".xml"))
def _(content: bytes) -> int:
    return len(
        read_voc(Memory("a.xml", content), "a.xml", FRAME, dict.fromkeys(["ant", "bee", "cat", "dog"], 0), 1)["bbox"]
    )


@parser("yolo", lambda: b"0 0.2 0.2 0.5 0.2 0.5 0.7\n1 0.1 0.1 0.9 0.1 0.5 0.9\n")
def _(content: bytes) -> int:
    return len(read_yolo(Memory("a.txt", content), "a.txt", FRAME, 2, None, True)["bbox"])


@parser("colors.txt", lambda: b"road,128,64,128\nsky,70,130,180\n0 0 142 car\n")
def _(content: bytes) -> int:
    colors = read_colors(Memory("colors.txt", content), "colors.txt")
    return len(Colors(colors, "colors.txt").names) if colors else 0


@parser(
    "labels.pbtxt",
    lambda: b"item {\n  id: 1\n  name: 'cat'\n}\nitem {\n  id: 2\n  display_name: \"dog\"\n  name: 'd'\n}\n",
)
def _(content: bytes) -> int:
    return len(names_beside(Memory("labels.pbtxt", content), "label"))


@parser("labels.txt", lambda: b"0:cat\n1:dog\n2:bird\n")
def _(content: bytes) -> int:
    return len(names_beside(Memory("labels.txt", content), "label"))


@parser("parquet", taken("metadata_parquet", ".parquet"))
def _(content: bytes) -> int:
    path = Path.cwd() / "parser.parquet"  # of the child: the process for parsers opens files
    path.write_bytes(content)
    return len(read_parquet(Reader(path.parent), path.name, 1000))


@parser("tar", taken("tar", ".tar"))
def _(content: bytes) -> int:
    return len(refused(lambda: list(tar_members(io.BytesIO(content)))))


@parser("deflate", lambda: _packed(zipfile.ZIP_DEFLATED))
def _(content: bytes) -> int:
    refused(lambda: unpack([content[:10], content[10:]], zipfile.ZIP_DEFLATED, 64))
    return 1


@parser("bzip2", lambda: _packed(zipfile.ZIP_BZIP2))
def _(content: bytes) -> int:
    refused(lambda: unpack([content[:10], content[10:]], zipfile.ZIP_BZIP2, 64))
    return 1


@parser("lzma", lambda: _packed(zipfile.ZIP_LZMA))
def _(content: bytes) -> int:
    refused(lambda: unpack([content[:10], content[10:]], zipfile.ZIP_LZMA, 64))
    return 1


def _packed(method: int) -> bytes:
    """The compressed bytes of a zip's only member, which has 64 bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a", bytes(range(32)) * 2)
        info = archive.infolist()[0]
    start = 30 + len(info.filename)
    return buffer.getvalue()[start : start + info.compress_size]


@parser("png", lambda: image(1))
def _(content: bytes) -> int:
    Frame.of(content, "a.png")
    return 1


@parser("jpeg", lambda: image(1, "JPEG"))
def _(content: bytes) -> int:
    Frame.of(content, "a.jpg")
    return 1


@parser("options", lambda: b"batch=64\noptim.lr=1e-3\ndata.path=~/photos\ndata.mean=0.5,0.5,0.5\nddp.compress=no\n")
def _(content: bytes) -> int:
    _, options = split_words(content.decode("utf-8", "replace").replace("\0", "").splitlines())
    merge(Train, {}, options)
    return 1


@parser("names.txt", lambda: b"train_images\nmy train\nflickr-val\nmasks-test\nclass <b>|`name`\n")
def _(content: bytes) -> int:
    parse = folder_parser({"images": 0, "masks": 1})
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    for line in lines:
        parse(line)
        if "\n" in markdown(line) or "\n" in code(line):
            raise AssertionError("a name ends its line")
    return len(lines)
