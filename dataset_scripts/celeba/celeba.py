"""CelebA: 202,599 photos of faces of 10,177 people, aligned, with 40 yes-or-no attributes."""

from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pyarrow as pa

from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.builders.tables import resolve_names
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files, folder_of, name_of
from dataset_scripts.core.formats.fields import brief, short
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
        part = self._list_of(files, path, {0, 1, 2})
        names = part.names
        images = resolve_names(files, path, pa.array(names, pa.string()), "image", folder, self.faults, part.lines)
        lists = {"attributes": self._list_of(files, places.get(ATTRIBUTES, ATTRIBUTES), {-1, 1}, header=True)}
        columns = lists["attributes"].columns
        if IDENTITIES in places:
            lists["identity"] = self._list_of(files, places[IDENTITIES])
        if LANDMARKS in places:
            lists["landmarks"] = self._list_of(files, places[LANDMARKS], header=True)
            if len(lists["landmarks"].columns) != 10:
                raise DataError(
                    f"{files.root}/{places[LANDMARKS]}: a line has {len(lists['landmarks'].columns)} numbers, not x and y of five points"
                )
        found, good = {}, images.is_valid().to_numpy(zero_copy_only=False)
        for name, other in lists.items():
            found[name], has = other.values_of(names, good, self.faults)
            good = good & has
        features = {"image": datasets.Image()} | {name: datasets.ClassLabel(names=["no", "yes"]) for name in columns}
        values = found["attributes"]
        known = {name: pa.array((values[:, column] + 1) // 2) for column, name in enumerate(columns)}
        if "identity" in found:
            features["identity"] = datasets.Value("int64")
            known["identity"] = pa.array(found["identity"][:, 0])
        if "landmarks" in found:
            features["landmarks"] = List(List(datasets.Value("int64"), length=2), length=5)
            points = pa.FixedSizeListArray.from_arrays(pa.array(found["landmarks"].reshape(-1)), 2)
            known["landmarks"] = pa.FixedSizeListArray.from_arrays(points, 5)
        rows = {}
        for number, split in enumerate(("train", "validation", "test")):
            chosen = pa.array(np.flatnonzero((part.values[:, 0] == number) & good))
            rows[split] = Rows(
                images.take(chosen).to_pylist(), {name: column.take(chosen) for name, column in known.items()}
            )
        return datasets.Features(features), rows

    def _list_of(
        self, files: Files, path: str, allowed: Collection[int] | None = None, header: bool = False
    ) -> "NumberList":
        return read_list(files, path, header, allowed, self.faults)

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}


@dataclass
class NumberList:
    """A list of the set.

    Attributes:
        where: names it in messages.
        names: of the images.
        values: their numbers (N, K), int64.
        lines: where they stand in the file.
        columns: the names of the K columns, if the file has them.
    """

    where: str
    names: list[str]
    values: np.ndarray
    lines: list[int]
    columns: list[str]

    def values_of(self, names: Sequence[str], wanted: np.ndarray, faults: Faults) -> tuple[np.ndarray, np.ndarray]:
        """The numbers in the order of another list, which names the same images, and for which of them there are any.

        A wanted image without a line is raised in `faults`.
        """
        if names == self.names:
            return self.values, np.ones(len(names), bool)
        places = {name: place for place, name in enumerate(self.names)}
        found = np.array([places.get(name, -1) for name in names])
        for row in np.flatnonzero((found < 0) & wanted).tolist():
            with faults:
                raise DataError(f"{self.where} has no line of image {names[row]}")
        return self.values[found], found >= 0


def read_list(files: Files, path: str, header: bool, allowed: Collection[int] | None, faults: Faults) -> NumberList:
    """A list of the set: one line per image, with its name and whole numbers; `header` means two lines first, count and columns.

    Args:
        allowed: the numbers that may occur; None allows any of 64 bits.
        faults: what the fault of a single line is raised in.

    Raises:
        DataError: a line is not like the others, or there are more or fewer than the first line states.
    """
    where = f"{files.root}/{path}"
    lines = files.read(path).decode("utf-8", "replace").splitlines()
    start = 2 if header else 0
    columns = lines[1].split() if len(lines) > 1 and header else []
    names, values, numbers = {}, array("q"), []
    for number, line in enumerate(lines[start:], start + 1):
        with faults:
            try:
                name, *fields = line.split()
                row = array("q", map(int, fields))
            except (ValueError, OverflowError):  # of more than 64 bits
                name, row = "", array("q")
            if len(row) != (len(columns) or 1):
                raise DataError(
                    f"{where}, line {number}: {brief(line)} is not the name of an image and numbers like the others"
                )
            if allowed and not set(row) <= allowed:
                raise DataError(f"{where}, line {number}: the numbers are {' or '.join(map(str, sorted(allowed)))}")
            if name in names:
                raise DataError(f"{where}, line {number}: {short(name)} is listed twice")
            names[name] = None
            values.extend(row)
            numbers.append(number)
    if header and lines and lines[0].strip() != str(len(lines) - start):
        with faults:
            raise DataError(f"{where} lists {len(lines) - start} images, its first line says {lines[0].strip()[:40]}")
    if not names:
        raise DataError(f"{where} lists no images")
    return NumberList(where, list(names), np.array(values).reshape(len(names), -1), numbers, columns)
