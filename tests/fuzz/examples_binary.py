"""Examples of formats that are binary: arrays, databases, records and archives."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile

import google_crc32c
import h5py
import lmdb
import numpy as np
import scipy.io
import zstandard
from examples import EXAMPLES, Folder, class_folders, example, image, on_disk

LABELS = np.array([1, 0, 1], np.uint8)


def arrays(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def zip_of(files: Folder, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def tar_of(files: Folder) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def gzip_of(content: bytes) -> bytes:
    return gzip.compress(content, 6, mtime=0)


PACKERS = {".gz": gzip_of, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstandard.compress}

for suffix, method in (
    ("stored", zipfile.ZIP_STORED),
    ("deflate", zipfile.ZIP_DEFLATED),
    ("bzip2", zipfile.ZIP_BZIP2),
    ("lzma", zipfile.ZIP_LZMA),
):
    example(f"zip_{suffix}", "image_folder")(lambda method=method: {"photos.zip": zip_of(class_folders(), method)})
example("tar", "image_folder")(lambda: {"photos.tar": tar_of(class_folders())})
for suffix, pack in PACKERS.items():
    example(f"tar_{suffix[1:]}", "image_folder")(
        lambda suffix=suffix, pack=pack: {f"photos.tar{suffix}": pack(tar_of(class_folders()))}
    )


@example("coco_zip", "coco")
def coco_zip() -> Folder:
    return {"set.zip": zip_of(EXAMPLES["coco_masks"].make())}


@example("webdataset")
def webdataset() -> Folder:
    members = {}
    for n in range(3):
        members |= {f"{n}.jpg": image(n, "JPEG"), f"{n}.cls": b"%d" % n, f"{n}.txt": b"caption"}
        members[f"{n}.json"] = json.dumps({"id": n, "score": 0.5, "tags": ["a"]}).encode()
    return {"train-0000.tar": tar_of(members), "train-0001.tar": tar_of(members)}


def idx_of(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@example("idx")
def idx() -> Folder:
    return {
        "train-images-idx3-ubyte": idx_of(arrays(3, 5, 4)),
        "train-labels-idx1-ubyte": idx_of(LABELS),
        "t10k-images-idx3-ubyte.gz": gzip_of(idx_of(arrays(3, 5, 4))),
        "t10k-labels-idx1-ubyte.gz": gzip_of(idx_of(LABELS)),
    }


@example("cifar_pickle", "cifar")
def cifar_pickle() -> Folder:
    batch = {b"batch_label": b"one", b"labels": [1, 0], b"data": arrays(2, 3072), b"filenames": [b"a.png", b"b.png"]}
    meta = {b"label_names": [b"ant", b"bee"], b"num_cases_per_batch": 2, b"num_vis": 3072}
    names = {"data_batch_1": batch, "data_batch_2": batch, "test_batch": batch, "batches.meta": meta}
    return {f"cifar-10-batches-py/{name}": pickle.dumps(content, 2) for name, content in names.items()}


@example("cifar_binary", "cifar")
def cifar_binary() -> Folder:
    rows = np.concatenate([np.array([[1], [0]], np.uint8), arrays(2, 3072)], 1).tobytes()
    return {"data_batch_1.bin": rows, "test_batch.bin": rows, "batches.meta.txt": b"ant\nbee\n"}


@example("stl")
def stl() -> Folder:
    return {
        "train_X.bin": arrays(3, 3 * 96 * 96).tobytes(),
        "train_y.bin": bytes([1, 2, 1]),
        "class_names.txt": b"ant\nbee\n",
        "fold_indices.txt": b"0 2\n1 2\n" * 5,
    }


@example("npz", "arrays")
def npz() -> Folder:
    buffer = io.BytesIO()
    np.savez(buffer, x_train=arrays(3, 5, 4, 3), y_train=LABELS, x_test=arrays(3, 5, 4, 3), y_test=LABELS)
    return {"data.npz": buffer.getvalue()}


def npy_of(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@example("npy", "arrays")
def npy() -> Folder:
    return {"train_images.npy": npy_of(arrays(3, 5, 4)), "train_labels.npy": npy_of(LABELS.astype(np.int64))}


def mat_of(content: dict, packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, content, do_compression=packed)
    return b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]  # without the date


@example("mat")
def mat() -> Folder:
    content = {"X": arrays(5, 4, 3, 3).transpose(0, 1, 2, 3), "y": LABELS[:, None]}
    return {"train.mat": mat_of(content), "test.mat": mat_of(content, packed=True)}


@example("hdf5")
def hdf5() -> Folder:
    def write(folder):
        with h5py.File(folder / "set.h5", "w") as file:
            file.create_dataset("train/images", data=arrays(3, 5, 4), chunks=(1, 5, 4), compression="gzip")
            file["train/labels"] = LABELS
            file["test/images"], file["test/labels"] = arrays(3, 5, 4), LABELS

    return on_disk(write)


@example("lmdb")
def lmdb_environment() -> Folder:
    def write(folder):
        with lmdb.open(str(folder / "cat_train_lmdb"), map_size=1 << 20, lock=False) as environment:
            with environment.begin(write=True) as transaction:
                for n in range(3):
                    transaction.put(b"key%d" % n, image(n, "JPEG"))

    return on_disk(write)


def varint(value: int) -> bytes:
    head = bytes([value & 127 | (128 if value > 127 else 0)])
    return head + varint(value >> 7) if value > 127 else head


def message(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(name: str, kind: int, values: bytes) -> bytes:
    return message(1, message(1, name.encode()) + message(2, message(kind, values)))


def masked_crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def record(content: bytes) -> bytes:
    """A record of a TFRecord file."""
    size = len(content).to_bytes(8, "little")
    return size + masked_crc(size) + content + masked_crc(content)


@example("tfrecord")
def tfrecord() -> Folder:
    def row(n: int) -> bytes:
        floats = np.array([0.25, 0.5], "<f4").tobytes()
        features = [
            feature("image/encoded", 1, message(1, image(n, "JPEG"))),
            feature("image/class/label", 3, message(1, varint(n))),
            feature("image/class/text", 1, message(1, b"ant")),
            *(
                feature(
                    f"image/object/bbox/{side}", 2, message(1, floats if side[1:] == "min" else floats + floats[:0])
                )
                for side in ("xmin", "ymin")
            ),
            *(
                feature(f"image/object/bbox/{side}", 2, message(1, np.array([0.75, 1], "<f4").tobytes()))
                for side in ("xmax", "ymax")
            ),
            feature("image/object/class/label", 3, message(1, varint(1) + varint(2))),
        ]
        return record(message(1, b"".join(features)))

    shard = row(0) + row(1) + row(2)
    return {"train-00000-of-00002": shard, "train-00001-of-00002": shard}


@example("torch_tensors")
def torch_tensors() -> Folder:
    import torch

    files = {}
    for split in ("train", "test"):
        buffer = io.BytesIO()
        torch.save((torch.arange(144, dtype=torch.uint8).reshape(3, 6, 8), torch.tensor([0, 1, 0])), buffer)
        files[f"{split}.pt"] = buffer.getvalue()
    return files
