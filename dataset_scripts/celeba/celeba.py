"""CelebA: 202,599 photos of faces of 10,177 people, aligned, with 40 yes-or-no attributes."""

from collections.abc import Sequence

import datasets
import numpy as np
import pyarrow as pa

from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.builders.tables import resolve_names
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.listing import Files, folder_of, name_of
from dataset_scripts.core.image.features import List

IMAGES = "img_align_celeba"
PARTITION = "list_eval_partition.txt"
ATTRIBUTES = "list_attr_celeba.txt"
IDENTITIES = "identity_CelebA.txt"
LANDMARKS = "list_landmarks_align_celeba.txt"

by_hand = Source.at()  # the files are on Google Drive


class Celeba(PublishedSet, LayoutBuilder):
    """Each attribute is a separate column. `identity` and `landmarks` are columns if their lists are there."""

    HOMEPAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    LICENSE = "other"
    CITATION = """\
@inproceedings{liu2015faceattributes,
    title     = {Deep Learning Face Attributes in the Wild},
    author    = {Liu, Ziwei and Luo, Ping and Wang, Xiaogang and Tang, Xiaoou},
    booktitle = {IEEE International Conference on Computer Vision},
    pages     = {3730--3738},
    year      = {2015},
    doi       = {10.1109/ICCV.2015.425}
}"""
    SOURCES = (
        by_hand("img_align_celeba.zip", 1443490838, "00d2c5bc6d35e252742224ab0c1e8fcb"),
        by_hand(PARTITION, 2836386, "d32c9cbf5e040fd4025c592c306e6668"),
        by_hand(ATTRIBUTES, 26721026, "75e246fa4810816ffd6ee81facbd244c"),
        by_hand(IDENTITIES, 3424458, "32bd1bd63d3c78cd57e08160ec5ed1e2"),
        by_hand(LANDMARKS, 12156055, "cc24ecafdb5b50baae59b03474781f8c"),
    )
    ROWS = {"train": 162_770, "validation": 19_867, "test": 19_962}

    def index(self, files):
        places = {name_of(path): path for path in files.paths if path.endswith(".txt")}
        folder = next((folder_of(path) for path in files.images if name_of(folder_of(path)) == IMAGES), IMAGES)
        path = places.get(PARTITION, PARTITION)
        names, parts, _ = read_list(files, path, header=False)
        images = resolve_names(files, path, pa.array(names, pa.string()), "image", folder, self.faults)
        path = places.get(ATTRIBUTES, ATTRIBUTES)
        listed, values, columns = read_list(files, path, header=True)
        values = in_order_of(names, listed, values, f"{files.root}/{path}")
        if (abs(values) != 1).any() or values.shape[1] != len(columns):
            raise DataError(f"{files.root}/{path}: attributes are -1 or 1, one for each of the {len(columns)} names")
        features = {"image": datasets.Image()} | {name: datasets.ClassLabel(names=["no", "yes"]) for name in columns}
        known = {name: pa.array((values[:, column] + 1) // 2) for column, name in enumerate(columns)}
        if IDENTITIES in places:
            listed, values, _ = read_list(files, places[IDENTITIES], header=False)
            features["identity"] = datasets.Value("int64")
            known["identity"] = pa.array(in_order_of(names, listed, values, f"{files.root}/{places[IDENTITIES]}")[:, 0])
        if LANDMARKS in places:
            listed, values, _ = read_list(files, places[LANDMARKS], header=True)
            features["landmarks"] = List(List(datasets.Value("int64"), length=2), length=5)
            if values.shape[1] != 10:
                raise DataError(
                    f"{files.root}/{places[LANDMARKS]}: a line has {values.shape[1]} numbers, not x and y of five points"
                )
            points = in_order_of(names, listed, values, f"{files.root}/{places[LANDMARKS]}").reshape(-1)
            known["landmarks"] = pa.FixedSizeListArray.from_arrays(
                pa.FixedSizeListArray.from_arrays(pa.array(points), 2), 5
            )
        rows = {}
        for number, split in enumerate(("train", "validation", "test")):
            chosen = pa.array(
                np.flatnonzero((parts[:, 0] == number) & images.is_valid().to_numpy(zero_copy_only=False))
            )
            rows[split] = Rows(
                images.take(chosen).to_pylist(), {name: column.take(chosen) for name, column in known.items()}
            )
        return datasets.Features(features), rows

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}


def read_list(files: Files, path: str, header: bool) -> tuple[list[str], np.ndarray, list[str]]:
    """A list of the set: one line per image, with its name and whole numbers; `header` means two lines first, count and columns.

    Returns:
        Names of images, the numbers (N, K) int64, and names of columns.

    Raises:
        DataError: a line is not like the others, or there are more or fewer than the first line states.
    """
    lines = files.read(path).decode("utf-8", "replace").splitlines()
    start = 2 if header else 0
    names, rows = [], []
    for number, line in enumerate(lines[start:], start + 1):
        try:
            name, *fields = line.split()
            rows.append(list(map(int, fields)))
        except ValueError:
            rows.append([])
        if not rows[-1] or len(rows[-1]) != len(rows[0]):
            raise DataError(
                f"{files.root}/{path}, line {number}: {line[:60]!r} is not the name of an image and numbers like the others"
            )
        names.append(name)
    if header and lines[0].strip() != str(len(names)):
        raise DataError(
            f"{files.root}/{path} lists {len(names)} images, but its first line says {lines[0].strip()[:40]}"
        )
    if not rows:
        raise DataError(f"{files.root}/{path} lists no images")
    with reading(f"{files.root}/{path}"):  # numbers of more than 64 bits
        return names, np.array(rows, np.int64), lines[1].split() if header else []


def in_order_of(names: Sequence[str], listed: Sequence[str], values: np.ndarray, where: str) -> np.ndarray:
    """The rows of a list in the order of another one, which names the same images."""
    if names == listed:
        return values
    places = {name: place for place, name in enumerate(listed)}
    missing = next((name for name in names if name not in places), None)
    if missing is not None:
        raise DataError(f"{where} has no line for image {missing}")
    return values[[places[name] for name in names]]
