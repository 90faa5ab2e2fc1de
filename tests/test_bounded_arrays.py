"""Binary files of any content: rows or a DataError that names the file, in time and memory that the file's size bounds."""

import gzip
import io
import os
import pickle
import random
import resource
import struct
import subprocess
import sys
import time
import zipfile

import h5py
import lmdb
import numpy as np
import pytest
import scipy.io

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.builders.classes import most_classes, named_classes, numbered_classes
from dataset_scripts.core.formats import isolated
from dataset_scripts.core.formats.rows_on_disk import Records, check_rows
from dataset_scripts.layouts.cifar.batch import load

READ = """
import resource, sys, time
from dataset_scripts import DataError, load_dataset
import dataset_scripts.{layout}.{layout}
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + {memory}, resource.RLIM_INFINITY))
start = time.process_time()
for folder in sys.argv[1:]:
    try:
        rows = load_dataset("{layout}", data_dir=folder, streaming=True)
        print("rows", sum(1 for split in rows.values() for row in split))
    except DataError as error:
        print("DataError", error)
print("seconds", time.process_time() - start)
"""


def read(layout, *folders, memory=400 << 20, seconds=15):
    """Reads folders in a process with that much memory beyond its libraries; returns its output, a line per folder."""
    code = READ.format(layout=layout, memory=memory)
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, folders)], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr[-2000:]
    said, spent = result.stdout.rsplit("seconds", 1)
    assert float(spent) < seconds
    return said


def idx(shape, content=b""):
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + content


def npy(shape, content=b"", dtype="|u1", order=False):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": order, "shape": shape})
    return buffer.getvalue() + content


SHAPES = [
    (3_000_000_000, 0, 4),
    (4_000_000_000, 60_000, 60_000),
    (5, 0, 0),
    (3_000_000_000, 1, 1),
    (1, 1 << 31, 1 << 31),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("packed", [False, True])
def test_shapes_that_no_file_holds(tmp_path, shape, packed):
    (tmp_path / "idx").mkdir()
    name = "train-images-idx3-ubyte" + (".gz" if packed else "")
    (tmp_path / "idx" / name).write_bytes(gzip.compress(idx(shape)) if packed else idx(shape))
    (tmp_path / "idx/train-labels-idx1-ubyte").write_bytes(idx((5,), bytes(5)))
    with pytest.raises(DataError, match=rf"idx/{name}: the header gives"):
        load_dataset("idx", data_dir=str(tmp_path / "idx"))
    for order in (False, True):
        (tmp_path / f"npy{order}").mkdir()
        with zipfile.ZipFile(
            tmp_path / f"npy{order}/a.npz", "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        ) as file:
            file.writestr("images.npy", npy(shape, order=order))
        with pytest.raises(DataError, match=r"a.npz\['images'\]: the header gives"):
            load_dataset("arrays", data_dir=str(tmp_path / f"npy{order}"))


@pytest.mark.parametrize(
    "shape", ["(-1, 4, 4)", "(5, -4, -4)", "(True, 2, 2)", "((5, 4), 4)", "(5, 4", "'a'", "-" * 9000 + "1", "(" * 5000]
)
def test_headers_of_npy(tmp_path, shape):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    (tmp_path / "images.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(80))
    with pytest.raises(DataError, match="images.npy"):
        load_dataset("arrays", data_dir=str(tmp_path))
    (tmp_path / "images.npy").write_bytes(b"\x93NUMPY\2\0" + struct.pack("<I", 0xFFFFFFF0) + text)
    with pytest.raises(DataError, match="images.npy"):
        load_dataset("arrays", data_dir=str(tmp_path))


def test_one_place_decides():
    assert check_rows((10, 4, 4), 2) == 320 and check_rows((0, 4), 1) == 0
    assert check_rows((1 << 20, 8, 8), 1, 100) == 1 << 26  # a small file may hold many rows, such as blank images
    for shape, itemsize, packed in (
        ((5, 0), 1, None),
        ((5, 3), 0, None),
        ((5, -1), 1, None),
        ((-5, 3), 1, None),
        ((1 << 21, 8), 1, 100),
        ((2, 1 << 30), 1, 1 << 20),
    ):
        with pytest.raises(ValueError, match="the header gives"):
            check_rows(shape, itemsize, packed)
    file = io.BytesIO(bytes(100))
    assert len(Records(file, "u1", (100,)).all()) == 100
    with pytest.raises(ValueError, match=r"the header gives 99 bytes, \(99,\) of uint8, but the file has 100"):
        Records(file, "u1", (99,)).all()


def test_what_is_packed_is_read_with_a_limit(tmp_path):
    images = np.zeros((5, 4, 4), np.uint8)
    zeros = bytes(1 << 24)
    for kind in ("idx", "arrays"):
        (tmp_path / kind).mkdir()
    (tmp_path / "idx/train-images-idx3-ubyte").write_bytes(idx(images.shape, images.tobytes()))
    labels = gzip.compress(idx((5,))) + gzip.compress(zeros) * 128  # five labels, and 2 GB behind them
    (tmp_path / "idx/train-labels-idx1-ubyte.gz").write_bytes(labels)
    with zipfile.ZipFile(tmp_path / "arrays/a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("images.npy", npy(images.shape, images.tobytes()))
        with archive.open("labels.npy", "w", force_zip64=True) as file:  # two billion labels
            file.write(npy((1 << 31,)) + zeros)
    assert "train-labels-idx1-ubyte.gz: the header gives" in read("idx", tmp_path / "idx")
    assert "a.npz holds 5 images, but a.npz['labels'] has 2147483648 values" in read("arrays", tmp_path / "arrays")
    with zipfile.ZipFile(tmp_path / "arrays/a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("images.npy", npy(images.shape, images.tobytes()))
        with archive.open("labels.npy", "w", force_zip64=True) as file:  # five rows of 400 MB
            file.write(npy((5, 5 << 24), order=True))
            for _ in range(25):
                file.write(zeros)
    assert "a.npz['labels']: the header gives 5 rows" in read("arrays", tmp_path / "arrays")


def test_many_arrays_in_a_file(tmp_path):
    """The list of members is read once, not once per member."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(8000):
            archive.writestr(f"x{'9' * 5000 if number == 7 else number}²_meta.npy", npy((1,), b"\0"))
        archive.writestr("images.npy", npy((2, 3, 3), bytes(18)))
    start = time.process_time()
    assert len(load_dataset("arrays", data_dir=str(tmp_path), split="train")) == 2
    assert time.process_time() - start < 20


def test_classes_follow_what_is_named(tmp_path):
    assert numbered_classes(3, 5, "x") == ["0", "1", "2", "3"] and numbered_classes(3, 5, "x", 2) == ["2", "3"]
    assert len(numbered_classes(19_999, 10_000, "x")) == 20_000 == most_classes(10_000)
    for largest, rows in ((10_000, 5), (20_000, 2_000), (10**18, 10**6)):
        with pytest.raises(
            DataError, match=rf"x: there is a class {largest}, but nothing names the classes: pass classes=\[…\]"
        ):
            numbered_classes(largest, rows, "x")
    for names, message in (
        (["a", "b", "a"], "two classes are called 'a'"),
        ([b"a"], "is not the name of a class"),
        (["\ud800"], "x: "),
    ):
        with pytest.raises(DataError, match=message):
            named_classes(names, "x")
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 4, 4), np.uint8), labels=np.arange(3))
    with pytest.raises(DataError, match=r"a.npz\['labels'\]: two classes are called 'a': pass classes"):
        load_dataset(str(tmp_path), classes=["a", "b", "a"])
    for labels in (np.array([b"a", b"\xff", b"b"]), np.array(["a", "b", "c"]).view(np.uint32).reshape(3, 1) + 0x110000):
        array = labels if labels.dtype.kind == "S" else labels.view("U1")[:, 0]
        np.savez(tmp_path / "a.npz", images=np.zeros((3, 4, 4), np.uint8), labels=array)
        with pytest.raises(DataError, match=r"a.npz\['labels'\]: "):
            load_dataset(str(tmp_path))


def nested(depth):
    """A list that holds the next one ten times: as text it has 10 ** depth characters."""
    lists = b"".join(
        b"(" + b"h" + bytes([k]) + (b"h" + bytes([k])) * 9 + b"lq" + bytes([k + 1]) for k in range(1, depth)
    )
    return b"]q\1" + lists


HOSTILE = {
    "a memo of a billion places": b"\x80\x02}r" + struct.pack("<I", 1 << 27) + b".",
    "a frame that lies": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"].",
    "bytes that lie": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.",
    "text that lies": b"\x80\x02T" + struct.pack("<I", 0x7FFFFFFF) + b"abc.",
    "tuples as a key": b"\x80\x04})" + b"\x85" * 200_000 + b"Ns.",
    "tuples as a function": b"\x80\x04)" + b"\x85" * 200_000 + b"K\1\x93.",
    "labels that grow": b"\x80\x02}(U\4dataNU\6labels" + nested(60) + b"u.",
    "names that grow": b"\x80\x02}U\x0blabel_names" + nested(60) + b"s.",
    "text encoded again and again": b"\x80\x02](c_codecs\nencode\nq\0X\0\0\4\0"
    + b"a" * (1 << 18)
    + b"X\6\0\0\0latin1\x86q\1R"
    + b"h\0h\1R" * 9_000
    + b"e.",
    "an array of objects": pickle.dumps({"data": np.array([{}, []], object), "labels": [0, 1]}, 2),
    "an array of huge values": b"\x80\x02cnumpy\ndtype\n(U\x0bV2000000000K\0K\1tR.",
    "an array without end": b"\x80\x02}U\4datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(J\0\0\0\x7ftU\1btRs.",
}


def test_hostile_pickles(tmp_path):
    rng = np.random.default_rng(0)
    for name, hostile in HOSTILE.items():
        folder = tmp_path / name / "cifar"
        folder.mkdir(parents=True)
        for batch in ("data_batch_1", "test_batch"):
            content = {"data": rng.integers(0, 256, (2, 3072), np.uint8), "labels": [0, 1]}
            (folder / batch).write_bytes(pickle.dumps(content, 2))
        (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b"]}))
        (folder / ("batches.meta" if "names" in name else "data_batch_1")).write_bytes(hostile)
    for name, said in zip(HOSTILE, read("cifar", *(tmp_path / name for name in HOSTILE)).splitlines(), strict=True):
        target = tmp_path / name / "cifar" / ("batches.meta" if "names" in name else "data_batch_1")
        assert said.startswith(f"DataError {target}"), name


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol(protocol):
    """They are read as Python reads them."""
    for array in (
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(4, dtype=">f4"),
    ):
        made = {
            "data": array,
            "labels": [np.int64(3), np.uint8(7), 5, -1, 10**12],
            b"x": b"abc",
            "é": "ä",
            "t": (1, None, True, 0.5),
        }
        found, theirs = load(pickle.dumps(made, protocol)), pickle.loads(pickle.dumps(made, protocol))
        assert np.array_equal(found.pop("data"), theirs.pop("data")) and found == theirs


def write_mat(path):
    rng = np.random.default_rng(0)
    scipy.io.savemat(path, {"images": rng.integers(0, 256, (12, 6, 5, 3), np.uint8), "labels": np.arange(12)})


def write_hdf5(path, **options):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", **options) as file:
        file.create_dataset(
            "images", data=rng.integers(0, 256, (12, 6, 5, 3), np.uint8), chunks=(4, 6, 5, 3), compression="gzip"
        )
        file["labels"] = np.arange(12)


def test_a_parser_that_dies_or_hangs_is_an_error_of_the_file(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import os, signal, time\nimport numpy as np\n"
        "def crash(): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "def hang():\n    while True: pass\n"
        "def wait(): time.sleep(99)\n"
        "def fill(): return len(bytearray(8 << 30))\n"
        "def echo(*values): return list(values)\n"
        "def array(kind): return np.arange(6).astype(kind).reshape(2, 3)\n"
        "def fortran(): return np.asfortranarray(np.arange(6).reshape(2, 3))\n"
        "def noise():\n    print('x' * 100, flush=True)\n    os.write(1, b'noise')\n    return 1\n"
        "def objects(): return np.array([{}], object)\n"
        "def absent(): import a_library_that_is_not_there\n"
        "def fails(): raise KeyError('what')\n"
    )
    monkeypatch.setattr(isolated, "SECONDS", 1)

    def call(*arguments, **options):
        return isolated.call(str(worker), *arguments, **options)

    assert call("echo", 1, "\udcff", None, [2.5]) == [1, "\udcff", None, [2.5]]
    for kind in ("u1", ">i4", "f8", "?"):
        found = call("array", kind)
        assert found.dtype == kind and found.tolist() == np.arange(6).astype(kind).reshape(2, 3).tolist()
    assert call("fortran").tolist() == [[0, 1, 2], [3, 4, 5]] and call("fortran").flags.f_contiguous
    process = isolated._child.process.pid
    for function, error, message in (
        ("objects", ValueError, "it holds object"),
        ("absent", ImportError, "a_library"),
        ("fails", ValueError, "what"),
        ("fill", ValueError, "more memory than it may have"),
    ):
        with pytest.raises(error, match=message):
            call(function)
    assert call("noise") == 1 and isolated._child.process.pid == process  # the child process survives
    for function, message, wait in (
        ("crash", "crash .SIGSEGV", 60),
        ("hang", "longer than 1 seconds", 60),
        ("wait", "no answer in 3 seconds", 3),
    ):
        monkeypatch.setattr(isolated, "WAIT", wait)
        with pytest.raises(isolated.Crash, match=message):
            call(function)
        assert call("echo", 1) == [1]


def test_a_fork_has_a_process_of_its_own(tmp_path):
    write_hdf5(tmp_path / "a.h5")
    assert len(load_dataset("hdf5", data_dir=str(tmp_path), split="train")) == 12
    ours = isolated._child.process.pid
    end, start = os.pipe()
    if (fork := os.fork()) == 0:
        try:
            said = len(list(load_dataset("hdf5", data_dir=str(tmp_path), split="train", streaming=True)))
            os.write(start, bytes([said, isolated._child.process.pid != ours]))
        finally:
            os._exit(0)
    os.close(start)
    os.waitpid(fork, 0)
    assert os.read(end, 2) == bytes([12, 1])
    assert isolated._child.process.pid == ours and isolated._child.process.poll() is None


@pytest.mark.parametrize("layout, write", [("mat", write_mat), ("hdf5", write_hdf5)])
def test_damaged_files_do_not_take_the_process_along(tmp_path, layout, write):
    path = tmp_path / "a" / ("a.mat" if layout == "mat" else "a.h5")
    path.parent.mkdir()
    write(path)
    whole, rng, said = path.read_bytes(), random.Random(0), set()
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            content[rng.randrange(min(len(content), 3000))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            said.add(
                len(
                    list(load_dataset(layout, data_dir=str(path.parent), split="train", streaming=True, transform=None))
                )
            )
        except DataError as error:
            assert path.name in str(error) or str(path.parent) in str(error)
            said.add("DataError")
    assert "DataError" in said


def test_hdf5_of_what_was_never_written(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (1 << 40, 32, 32), "u1", chunks=(64, 32, 32))
    with pytest.raises(DataError, match=r"a.h5\['images'\]: the header gives 1099511627776 rows"):
        load_dataset("hdf5", data_dir=str(tmp_path))


@pytest.mark.parametrize("options", [{}, {"userblock_size": 512}])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "?"])
def test_contiguous_hdf5(tmp_path, options, dtype):
    """Values that are read in place are those of h5py, also after a user block."""
    images = np.random.default_rng(0).integers(0, 256, (9, 6, 5)).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w", **options) as file:
        file["images"] = images
    rows = load_dataset("hdf5", data_dir=str(tmp_path), split="train", transform=None)
    for row, image in zip(rows, images, strict=True):
        assert np.array_equal(np.asarray(row["image"]), image * 255 if dtype == "?" else image)


def write_lmdb(path, count=40):
    import PIL.Image

    rng = np.random.default_rng(0)
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for number in range(count):
            buffer = io.BytesIO()
            PIL.Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8)).save(buffer, "PNG")
            transaction.put(b"%05d" % number, buffer.getvalue() + bytes(5000 if number % 3 == 0 else 0))


def test_damaged_lmdb_of_full_length(tmp_path):
    write_lmdb(tmp_path / "train")
    path, rng, said = tmp_path / "train/data.mdb", random.Random(0), []
    whole = path.read_bytes()
    for _number in range(60):
        content = bytearray(whole)
        for _ in range(3):
            page = rng.randrange(len(content) // 4096) * 4096
            at = page + rng.choice((*range(24), rng.randrange(4096)))
            content[at : at + 2] = rng.choice((b"\xff\xff", b"\0\0", rng.randbytes(2)))
        path.write_bytes(content)
        try:
            rows = load_dataset("lmdb", data_dir=str(tmp_path), split="train", streaming=True, transform=None)
            said.append(sum(1 for _ in rows.cast_column("image", rows.features["image"].__class__(decode=False))))
        except DataError as error:
            assert "data.mdb" in str(error) or "holds no LMDB environment" in str(error)
            said.append("DataError")
    assert "DataError" in said


def test_many_lmdb_environments(tmp_path):
    write_lmdb(tmp_path / "0_train", 2)
    for number in range(1, 150):
        folder = tmp_path / f"{number}_train"
        folder.mkdir()
        (folder / "data.mdb").write_bytes((tmp_path / "0_train/data.mdb").read_bytes())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 110, hard))
    try:
        assert (
            len(list(load_dataset("lmdb", data_dir=str(tmp_path), split="train", transform=None, streaming=True)))
            == 300
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_counts_in_lmdb(tmp_path):
    for count in (b"1000000000", b"9" * 5000):
        with (
            lmdb.open(str(tmp_path / "train"), map_size=1 << 24) as environment,
            environment.begin(write=True) as transaction,
        ):
            transaction.put(b"num-samples", count)
            transaction.put(b"image-000000001", b"x")
        with pytest.raises(DataError, match="data.mdb: num-samples is (1000000000|9+), but it holds only 2 keys"):
            load_dataset("lmdb", data_dir=str(tmp_path))


def test_label_maps_are_read_in_one_pass(tmp_path):
    from dataset_scripts.layouts.tfrecord.columns import _label_map, _numbered_lines
    from dataset_scripts.layouts.tfrecord.records import Shard

    for parse in (_label_map, _numbered_lines):
        for part in (
            "item {",
            "item{ id: 1 ",
            'name: "',
            "'",
            '"\\',
            "id:",
            "1:",
            "1",
            "item",
            " ",
            "\n",
            "{",
            "}",
            "item { id: 1 }",
        ):
            start = time.process_time()
            try:
                parse(part * (1_000_000 // len(part)))
            except ValueError:
                pass
            assert time.process_time() - start < 5, (parse.__name__, part)
    text = 'item { id: 3 name: "a}b" keypoints { id: 1 label: "x" } display_name: \'c d\' }\nitem { name: "n" id: 0 }'
    assert _label_map(text) == {3: "c d", 0: "n"}
    for part in ("-of-", "-000-of-", "_0", "0", ".tfrecord", "-", "\n"):
        start = time.process_time()
        Shard.of(f"{part * (200_000 // len(part))}.tfrecord")
        assert time.process_time() - start < 5, part


def test_names_of_idx_are_read_in_one_pass():
    from dataset_scripts.layouts.idx.idx import parse_name

    for part in ("image", "images-", "label-idx1", "-", "_", "emnist"):
        start = time.process_time()
        parse_name(part * 200_000)
        assert time.process_time() - start < 2, part
    assert parse_name("emnist-letters-train-images-idx3-ubyte.gz") == ("emnist-letters-train", "image")
    assert parse_name("Labels_idx1") == ("", "label") and parse_name("images-idx3-float") == ("", "image")
    assert parse_name("train-images") is None


def test_a_file_that_cannot_be_read_is_left_out(tmp_path, caplog):
    images = np.zeros((3, 4, 4), np.uint8)
    for number in range(3):
        np.savez(tmp_path / f"part_{number}.npz", images=images, labels=np.arange(3))
    (tmp_path / "part_1.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="part_1.npz: File is not a zip file"):
        load_dataset("arrays", data_dir=str(tmp_path))
    assert len(load_dataset("arrays", data_dir=str(tmp_path), split="train", on_error="skip")) == 6
    assert "1 skipped, such as: " in caplog.text and "part_1.npz" in caplog.text
    for number in range(3):
        (tmp_path / f"part_{number}.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="part_2.npz: File is not a zip file"):
        load_dataset("arrays", data_dir=str(tmp_path), on_error="skip")
