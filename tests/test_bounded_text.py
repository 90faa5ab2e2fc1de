"""Text that is made to take time, memory or the whole process: it gives rows or a DataError, quickly."""

import io
import json
import re
import resource
import subprocess
import sys
import time

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet
import pycocotools.mask
import pytest
import torch

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.builders.tables import read_metadata, read_table
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.formats import json_stream
from dataset_scripts.core.formats.fields import Fields, table_of
from dataset_scripts.core.formats.json_text import MAX_DEPTH, parse_json
from dataset_scripts.core.image import rle
from dataset_scripts.core.image.targets import object_tensors
from dataset_scripts.layouts.captions.captions import NUMBERS
from dataset_scripts.layouts.csv_list.names import Fit, Places
from dataset_scripts.layouts.csv_list.rows import LINE as LIST_LINE
from dataset_scripts.layouts.image_pairs.image_pairs import CAPITAL, SCALE, STEM
from dataset_scripts.layouts.mask_pairs import colors
from dataset_scripts.layouts.mask_pairs.mask_pairs import IMAGE_STEM, MASK_STEM
from dataset_scripts.layouts.voc.voc import IMAGE_SET
from dataset_scripts.layouts.webdataset.webdataset import SHARD
from dataset_scripts.layouts.yolo.description import _FIRST

PATTERNS = {
    "colors": colors.LINE,
    "numbers": NUMBERS,
    "list": LIST_LINE,
    "stem": STEM,
    "capital": CAPITAL,
    "scale": SCALE,
    "image": IMAGE_STEM,
    "mask": MASK_STEM,
    "image set": IMAGE_SET,
    "shard": SHARD,
    "first": _FIRST,
}
PIECES = (
    "1 ",
    "a-",
    "-1",
    " ",
    "1",
    "aA_",
    "x1.",
    ".png",
    ".png ",
    "train_",
    "gt_",
    "_mask",
    "ImageSets/",
    "/",
    "nc",
    "nc\n",
    "1,",
    "name ",
    "1e-",
    "1.",
)
ENDS = ("", "x", "\0", "\n!")


@pytest.fixture
def image(tmp_path):
    """A folder of one image."""
    PIL.Image.new("L", (40, 30)).save(tmp_path / "a.png")
    return tmp_path


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_take_linear_time(name):
    pattern = re.compile(PATTERNS[name])
    search = pattern.search if name in ("numbers", "first") else pattern.fullmatch
    for piece in PIECES:
        for end in ENDS:
            for prefix in ("", "1 ", "a 1 "):
                text = prefix + piece * (50_000 // len(piece)) + end
                start = time.perf_counter()
                search(text.encode() if name == "first" else text)
                assert time.perf_counter() - start < 1, (piece, prefix, end)  # a quadratic one takes minutes


def test_colors_are_found_as_before():
    for line, name, color in (
        ("road,1,2,3", "road", "123"),
        ("1 2 3 the road", "the road", "123"),
        ("the road: 1,2,3::", "the road", "123"),
        ("a 1 2 3 4", "a 1", "234"),
        ("9 1 2 3", "3", "912"),
        ("road\t1\t2\t3", "road", "123"),
    ):
        found = colors.LINE.fullmatch(line)
        parts = found.group(5, 6, 7, 8) if found[5] else found.group(4, 1, 2, 3)
        assert (parts[0].strip(), "".join(parts[1:])) == (name, color)
    for line in ("name,r,g,b", "a:b,1,2,3", "a,1,2", "1 2 3", f"a,1,2,{'9' * 5000}"):
        assert colors.LINE.fullmatch(line) is None


@pytest.mark.parametrize("part", [1, 3, 1 << 20])
def test_depth_counts_brackets_outside_of_strings(monkeypatch, part):
    monkeypatch.setattr("dataset_scripts.core.formats.json_text._PART", part)
    for text in (
        b'{"a": "%s"}' % (b"[" * 99),
        b'["\\"[[[", "\\\\", "]"]',
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b"[%s0]" % (b"[],{}," * 500),
    ):
        assert parse_json(text, "x") == json.loads(text)
    for text in (
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 99,
        b'["\\\\",' * 40,
        b"]" * 99 + b"[" * 99,
        b'"\n' + b"[" * 40,
        b"[" * 1_000_000,
    ):
        with pytest.raises(DataError, match="^x: it is nested deeper than 32"):
            parse_json(text, "x")


@pytest.mark.parametrize(
    "text, message",
    [
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice"),
        (b"1" * 5000, "4300 digits"),
        (b"[1e400]", "1e400 is too large"),
        (b'["\\ud800"]', "surrogates not allowed"),
        (b'{"\\udc00": 1}', "surrogates not allowed"),
        ("é".encode("latin-1"), "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": 1}\0', "Extra data"),
        (b"", "Expecting value"),
        (b'["a\nb"]', "control character"),
    ],
)
def test_what_is_no_json(text, message):
    with pytest.raises(DataError, match=f"^x: .*{message}"):
        parse_json(text, "x")
    assert parse_json(b"\xef\xbb\xbf[NaN, 1.5]", "x")[1] == 1.5
    with pytest.raises(DataError, match="^x, line 2: "):
        list(json_stream.elements(io.BytesIO(b'{"a":\n' + (text or b"?") + b"}"), "x"))


def test_elements_are_those_of_json(monkeypatch):
    monkeypatch.setattr(json_stream, "BLOCK", 7)
    rng = np.random.default_rng(1)
    values = [{"é": [1, -2.5e3, '«\\"]}', None]}, [], "", True, {"a": {"b": [[]]}}, 1234567890, "日本" * 9]
    for _ in range(30):
        content = {
            f"k{key}": [values[n] for n in rng.integers(0, len(values), 5)]
            if key % 2
            else values[rng.integers(0, len(values))]
            for key in range(6)
        }
        text = json.dumps(content, ensure_ascii=bool(rng.integers(2)), indent=[None, 1][rng.integers(2)]).encode()
        expected = [
            (key, item) for key, value in content.items() for item in (value if isinstance(value, list) else [value])
        ]
        found = list(json_stream.elements(io.BytesIO(text), "x"))
        assert [element[:2] for element in found] == expected and all(
            json.loads(text) == value for _, value, text, _ in found
        )
        assert [element[:2] for element in json_stream.records(io.BytesIO(text), "x")] == list(content.items())
    for broken in (
        b"[",
        b'{"a" 1}',
        b'{"a": [1 2]}',
        b'{"a": 1} x',
        b'{"a": 1, "a": 2}',
        b"5",
        b"{1: 2}",
        b'{"a": tru',
        b'{"a": "',
    ):
        with pytest.raises(DataError, match="^x, line 1: "):
            list(json_stream.elements(io.BytesIO(broken), "x"))


def test_a_string_without_end_is_not_read_again_and_again():
    start = time.perf_counter()
    with pytest.raises(DataError, match="line 1: it is broken or cut off: Unterminated string"):
        list(json_stream.elements(io.BytesIO(b'{"a": "' + b"x" * (20 << 20)), "x"))
    list(json_stream.elements(io.BytesIO(b'{"a": [' + b" " * (20 << 20) + b"1]}"), "x"))
    assert time.perf_counter() - start < 10


def test_late_fields_are_columns(image):
    """Also in a list whose first record lacks them, and far beyond the first block."""
    count = 9000
    for number in range(1, 4):
        PIL.Image.new("L", (4, 4)).save(image / f"{number}.png")
    rows = [
        {"file_name": "a.png"},
        {"file_name": "1.png", "label": "x"},
        {"file_name": "2.png", "label": "y"},
        {"file_name": "3.png", "label": "x"},
    ]
    (image / "labels.json").write_text(json.dumps(rows))
    loaded = load_dataset("csv_list", data_dir=str(image), split="train")
    assert loaded.features["label"].names == ["x", "y"] and loaded["label"][:] == [None, 0, 1, 0]
    lines = [{"file_name": f"{number}.png", "x": number, "pad": "-" * 200} for number in range(count)] + [
        {"file_name": "z.png", "x": 1.5, "late": {"a": [1]}}
    ]
    (image / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = read_table(Files.of(image), "metadata.jsonl")
    assert table["late"].to_pylist() == [None] * count + [{"a": [1]}] and table["x"].to_pylist() == [*range(count), 1.5]


def test_types_of_fields():
    rows = [{"a": 1, "b": [1], "c": {"x": 1}}, {"a": None, "b": [1.5]}, {"a": 2.5, "b": [], "c": {"y": "z"}}]
    table = table_of(((row, "row", 50) for row in rows), "x")
    assert table.to_pylist() == [
        {"a": 1, "b": [1], "c": {"x": 1, "y": None}},
        {"a": None, "b": [1.5], "c": None},
        {"a": 2.5, "b": [], "c": {"x": None, "y": "z"}},
    ]
    fields = Fields()
    fields.add({"a": 1}, "first", 9)
    for value in ("x", [1], {}, True, 2**63):
        with pytest.raises(DataError, match="^second: the field a is .*, unlike in first"):
            fields.add({"a": value}, "second", 9)


@pytest.mark.parametrize("kind", ["flat", "nested", "items"])
def test_fields_that_are_all_different_are_no_table(kind):
    def rows():
        for number in range(100_000):
            value = {f"k{number}": 1}
            yield {"flat": value, "nested": {"a": value}, "items": {"a": [value] * 3}}[kind], "row", 20

    with pytest.raises(DataError, match="too many fields for so few values"):
        table_of(rows(), "x")


@pytest.mark.parametrize("number, message", [(4_000, None), (50_000, "at most 4,096 are read")])
@pytest.mark.parametrize("kind", ["flat", "objects", "listed", "empty", "lists"])
def test_objects_with_very_many_keys(image, kind, number, message):
    value = {f"k{place}": {"empty": {}, "lists": []}.get(kind, 1) for place in range(number)}
    row = {"objects": {"x": value}, "listed": {"x": [value]}}.get(kind, value)
    (image / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png"} | row) + "\n")
    start = time.process_time()
    if message is None:
        assert len(load_dataset(str(image), split="train", transform=None)) == 1
    else:
        with pytest.raises(DataError, match=f"metadata.jsonl, line 1: .*{message}"):
            load_dataset(str(image), split="train")
    assert time.process_time() - start < 8


def test_a_row_with_too_many_keys_is_the_fault_of_the_row():
    wide = {f"k{number}": 1 for number in range(5_000)}
    rows = [({"x": wide}, "first", 90_000), ({"x": {"a": 1}}, "second", 20), ({"x": {"a": 2}}, "third", 20)]
    faults = Faults.gathered()
    assert table_of(rows, "x", faults).to_pylist() == [{"x": {"a": 1}}, {"x": {"a": 2}}]
    assert "first: with it there are 5,001 fields" in faults.notes[0]


def write_parquet(folder, table, **options):
    pyarrow.parquet.write_table(table, folder / "metadata.parquet", **options)
    assert (folder / "metadata.parquet").stat().st_size < 100_000
    return Files.of(folder)


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"file_name": pa.repeat("a.png", 30_000_000)}, "has 30,000,000 rows, but there are 2 files"),
        ({"file_name": ["a.png"], "x": [[1] * 30_000_000]}, "its values take 240,"),
        ({"file_name": ["a.png"], "x": [["a" * 50_000] * 3_000]}, "its values take more than"),
        ({"file_name": [b"a.png"]}, "row 1: file_name is b'a.png', not the name of a file"),
        ({"file_name": [None]}, "row 1: file_name is None, not the name"),
        ({"file_name": [["a.png"]]}, r"file_name is \['a.png'\], not"),
        ({"file_name": [{"a": 1}]}, "file_name is {'a': 1}, not the name"),
        ({"file_name": [5]}, "file_name is 5, not the name"),
        (
            {"file_name": ["a.png"], "x": pa.array([[(1, 2)]], pa.map_(pa.int8(), pa.int8()))},
            "cannot be read as a table",
        ),
    ],
)
def test_parquet_that_asks_for_more_than_it_is(image, columns, message):
    start = time.perf_counter()
    files = write_parquet(image, pa.table(columns))
    begun = time.perf_counter()
    with pytest.raises(DataError, match=f"metadata.parquet.*{message}"):
        read_metadata(files, ["metadata.parquet"])
    assert time.perf_counter() - begun < 1 + (begun - start)


def test_names_in_other_types_of_text(image):
    for names in (
        pa.array(["a.png"]).dictionary_encode(),
        pa.array(["a.png"], pa.large_string()),
        pa.array(["a.png"], pa.string_view()),
    ):
        assert read_metadata(write_parquet(image, pa.table({"file_name": names})), ["metadata.parquet"])[
            "file_name"
        ].to_pylist() == ["a.png"]


def test_a_foreign_schema_is_not_believed(image, tmp_path):
    secret = tmp_path.parent / "secret.png"
    PIL.Image.new("L", (3, 3), 77).save(secret)
    content = (image / "a.png").read_bytes()
    features = datasets.Features(
        file_name=datasets.Value("string"),
        other=datasets.Image(),
        name=datasets.Image(),
        shape=datasets.Array2D((1, 1), "int8"),
    )
    metadata = features.arrow_schema.metadata

    def load(other, name="x"):
        table = pa.table(
            {
                "file_name": ["a.png"],
                "other": pa.array([other], datasets.Image().pa_type),
                "name": [name],
                "shape": [[[1]]],
            }
        )
        write_parquet(image, table.replace_schema_metadata(metadata))
        return load_dataset("image_folder", data_dir=str(image), split="train", transform=None)

    rows = load({"bytes": content, "path": str(secret)})
    assert (
        rows.features["name"] == datasets.Value("string")
        and rows[0]["other"].size == (40, 30)
        and str(secret.parent) not in str(rows.data.to_pylist())
    )
    with pytest.raises(DataError, match="row 1: the image in other has no bytes"):
        load({"bytes": None, "path": str(secret)})
    rows = load(None, str(secret))
    assert rows[0]["other"] is None and rows[0]["name"] == str(secret)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("metadata.csv", b"file_name,x\na.png,\0\n", "line 2: it holds a zero byte"),
        ("metadata.csv", b"file_name,x\na.png,\xe9\n", "line 2: it is not in UTF-8"),
        ("metadata.csv", "file_name,x\na.png,1\n".encode("utf-16-le"), "line 1: it holds a zero byte"),
        (
            "metadata.csv",
            b"file_name" + b"".join(b",%d" % n for n in range(9_000)) + b"\na.png\n",
            "more than 4,096 columns",
        ),
        ("metadata.csv", b'file_name,x\na.png,"' + b"x\n" * 3_000_000, "a quote in its row 1 has no end"),
        ("metadata.csv", b"x" * (17 << 20), "line 1: it is longer than"),
        ("metadata.csv", b"file_name,x,x\na.png,1,2\n", "two columns 'x'"),
        (
            "metadata.jsonl",
            b'{"file_name": "a.png"}\n{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}\n",
            "line 2: .*nested deeper",
        ),
        ("metadata.jsonl", b'{"file_name": "a.png"}\n\n[]\n', "line 3: it is a list, not an object"),
        ("metadata.jsonl", b'{"a": "' + b"x" * (17 << 20), "longer than"),
        ("metadata.jsonl", b'{"file_name": "a.png", "file_name": "b.png"}', "line 1: .*occurs twice"),
        ("metadata.jsonl", b'{"x": "\xe9"}', "line 1: .*not UTF-8"),
        ("metadata.parquet", b"PAR1" + b"\xff" * 100 + b"PAR1", "cannot be read as a table"),
    ],
)
def test_tables_that_are_none(image, name, content, message):
    (image / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}.*({message})"):
        read_metadata(Files.of(image), [name])


def test_names_that_are_not_utf8(image):
    (image / "metadata.csv").write_text("file_name,x\na.png,1\n")
    files = Files(image, {}, ["a.png", "b\udcff.png"])
    assert read_metadata(files, ["metadata.csv"])["file_name"].to_pylist() == ["a.png"]
    images, faults = Places(files).find(pa.array(["a.png", "a", "", None]), "t.csv", None, Fit())
    assert images.to_pylist() == [0, None, None, None] and [row for row, _ in faults] == [1, 2, 3]


def test_codes_are_those_of_pycocotools():
    rng = np.random.default_rng(2)
    for _ in range(200):
        height, width = map(int, rng.integers(1, 70, 2))
        mask = np.asfortranarray((rng.random((height, width)) < rng.random()).astype(np.uint8))
        code = pycocotools.mask.encode(mask)
        for given in (code, {**code, "counts": code["counts"].decode()}):
            assert np.array_equal(rle.decode_codes([given], (height, width), "x")[0], mask)
    polygons = [rng.uniform(-5, 60, 2 * rng.integers(3, 9)).tolist() for _ in range(5)]
    theirs = pycocotools.mask.merge(pycocotools.mask.frPyObjects(polygons, 50, 40))
    assert np.array_equal(
        pycocotools.mask.decode(rle.polygon_code(polygons, (50, 40))), pycocotools.mask.decode(theirs)
    )


def test_codes_of_any_bytes_make_masks_or_errors():
    """They are decoded in a process of its own, as pycocotools may crash it."""
    code = """
import numpy as np
from dataset_scripts import DataError
from dataset_scripts.core.image.rle import decode_codes, polygon_code
rng, sound = np.random.default_rng(3), 0
numbers = [0, 1, -1, 5, 39.5, 1e9, -1e9, 1e300, float("nan"), float("inf"), 2**31, 2**63, 10**400, None, "x", True, []]
for _ in range(5000):
    counts = [bytes(rng.integers(*rng.choice([[40, 112], [0, 256]]), rng.integers(0, 9)).astype(np.uint8)), [numbers[n] for n in rng.integers(0, len(numbers), 3)]]
    size = [[3, 4], [4, 3], [2**31, 2**31], [0, 0], [3], "ab", None][rng.choice(7, p=[.7] + [.05] * 6)]
    for make in (lambda: decode_codes([{"size": size, "counts": counts[rng.integers(2)]}], (3, 4), "x"),
                 lambda: polygon_code([[numbers[n] for n in rng.integers(0, len(numbers), rng.integers(0, 9))]], (30, 40))):
        try:
            make()
            sound += 1
        except (DataError, ValueError):
            pass
assert sound
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_masks_of_a_row_are_bounded():
    code = {
        "size": [3000, 4000],
        "counts": pycocotools.mask.encode(np.zeros((3000, 4000), np.uint8, "F"))["counts"].decode(),
    }
    with pytest.raises(DataError, match="90 masks of 4000 x 3000 pixels are more than 1,073,741,824"):
        object_tensors({"bbox": [[0, 0, 1, 1]] * 90, "segmentation": [code] * 90}, (3000, 4000))
    row = {"bbox": [[0, 0, 1, 1]], "segmentation": [code]}
    assert object_tensors(row, (3000, 4000))["mask"].shape == (1, 3000, 4000)
    for wrong in (
        {"size": [3, 4], "counts": "0c"},
        {"size": None, "counts": "0"},
        {"size": [3000, 4000], "counts": "zzzzzzzzz"},
        {"a": 1},
    ):
        with pytest.raises(DataError, match="segmentation, object 1: invalid run-length code"):
            object_tensors(row | {"segmentation": [wrong]}, (3000, 4000))
    for wrong in ({"bbox": [[0, 0]]}, {"bbox": [None]}, {"keypoints": [[[1, 2]]]}):
        with pytest.raises(DataError, match="objects: "):
            object_tensors(row | wrong, (3000, 4000))
    assert isinstance(
        object_tensors({"bbox": torch.zeros(0, 4).tolist(), "segmentation": []}, (3, 4))["mask"], torch.Tensor
    )


def test_a_million_polygons_take_no_square_of_the_time():
    square = [1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]
    start = time.perf_counter()
    code = rle.polygon_code([[place + number % 30 for place in square] for number in range(60_000)], (40, 40))
    assert pycocotools.mask.area(code) and time.perf_counter() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 8 << 20


@pytest.mark.parametrize(
    "names, label, fault",
    [(None, "10000", "there is a class 10000, but nothing names"), ("a\nb\n", "2", "class 2 is not one of 0 to 1")],
)
def test_numbers_of_classes(tmp_path, names, label, fault):
    for number, line in enumerate((f"{label} .5 .5 .1 .1\n", "1 .5 .5 .1 .1\n")):
        (tmp_path / f"{number}.txt").write_text(line)
        PIL.Image.new("L", (40, 30)).save(tmp_path / f"{number}.png")
    if names:
        (tmp_path / "classes.txt").write_text(names)
    with pytest.raises(DataError, match=fault):
        load_dataset("yolo", data_dir=str(tmp_path))
    rows = load_dataset("yolo", data_dir=str(tmp_path), split="train", on_error="skip")
    assert rows["image_id"][:] == ["1"] and rows.features["objects"]["category"].feature.names == (
        ["a", "b"] if names else ["0", "1"]
    )


def test_compressed_run_lengths_of_more_runs_than_pixels():
    from dataset_scripts.core.image.rle import sound_code

    with pytest.raises(ValueError, match="longer than those of 64 runs"):
        sound_code({"size": [8, 8], "counts": "0" * (10 << 20)}, (8, 8))
    zeros = {"size": [8, 8], "counts": "0" * 60 + "P2"}  # 60 runs of nothing are still read
    assert sound_code(zeros, (8, 8))["size"] == [8, 8]
