"""Oxford-IIIT Pet: 7,349 photos of cats and dogs of 37 breeds, each with a mask of the animal."""

from collections import Counter
from typing import NamedTuple

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.builders.tables import resolve_names
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.masks import fit_mask

published = Source.at(
    "https://thor.robots.ox.ac.uk/~vgg/data/pets/", "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
)
MOST_CLASSES = 1000


class OxfordIiitPet(PublishedSet, LayoutBuilder):
    """A line of the lists is an image and the numbers of its class (1..37), species (1, 2) and breed in that."""

    HOMEPAGE = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
    LICENSE = "cc-by-sa-4.0"
    CITATION = """\
@inproceedings{parkhi2012cats,
    title     = {Cats and Dogs},
    author    = {Parkhi, Omkar M. and Vedaldi, Andrea and Zisserman, Andrew and Jawahar, C. V.},
    booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
    pages     = {3498--3505},
    year      = {2012},
    doi       = {10.1109/CVPR.2012.6248092}
}"""
    SOURCES = (
        published("images.tar.gz", 791918971, "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d"),
        published("annotations.tar.gz", 19173078, "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91"),
    )
    ROWS = {"train": 3_680, "test": 3_669}
    PARTS = {"train": ("annotations/trainval.txt",), "test": ("annotations/test.txt",)}

    def index(self, files):
        lists = {split: name for split in self.present for name in self.PARTS[split]}
        top = files.above(next(iter(lists.values())))
        paths = {split: f"{top}{name}" for split, name in lists.items()}
        lists = agreeing({split: read_list(files, path, self.faults) for split, path in paths.items()}, self.faults)
        breeds, rows = {}, {}
        for split, path in paths.items():
            names, numbers = (
                pa.array([line.name for line in lists[split]], pa.string()),
                [line.number for line in lists[split]],
            )
            images, masks = (pc.binary_join_element_wise(names, suffix, ".") for suffix in ("jpg", "png"))
            images = resolve_names(files, path, images, "image", f"{top}images", self.faults, numbers)
            masks = resolve_names(files, path, masks, "mask", f"{top}annotations/trimaps", self.faults, numbers)
            found = zip(lists[split], images.to_pylist(), masks.to_pylist(), strict=True)
            kept = [row for row in found if None not in row]
            breeds |= {line.label: line.breed for line, _, _ in kept}
            columns = {
                "label": pa.array([line.label for line, _, _ in kept], pa.int64()),
                "species": pa.array([line.species for line, _, _ in kept], pa.int64()),
            }
            rows[split] = Rows([(image, mask) for _, image, mask in kept], columns)
        if sorted(breeds) != list(range(len(breeds))):
            raise DataError(f"{files.root}/{top}annotations: the numbers of the classes are not 1 to {len(breeds)}")
        features = datasets.Features(
            image=datasets.Image(),
            label=datasets.ClassLabel(names=[breeds[number] for number in range(len(breeds))]),
            species=datasets.ClassLabel(names=["cat", "dog"]),
            mask=datasets.Image(),
        )
        return features, rows

    def read(self, files, sample):
        image, mask = ({"bytes": files.read(path), "path": path} for path in sample)
        where = f"{files.root}/{mask['path']}"
        # Checks the ids, not the size.
        return {"image": image, "mask": fit_mask(mask, Frame.of(mask["bytes"], where), where)}


class Line(NamedTuple):
    """A line of a list, such as `Abyssinian_100 1 1 1`; label and species begin at 0."""

    name: str
    label: int
    species: int
    number: int
    where: str

    @property
    def breed(self) -> str:
        return self.name.rpartition("_")[0]


def read_list(files: Files, path: str, faults: Faults) -> list[Line]:
    """The lines of a list of the set; the fault of a single one is raised in `faults`.

    Raises:
        DataError: a line has another form.
    """
    lines = []
    for number, line in enumerate(files.read(path).decode("utf-8", "replace").splitlines(), 1):
        where = f"{files.root}/{path}, row {number}: {line[:100]!r}"
        with faults:
            try:
                name, *numbers = line.split()
                label, species, _ = (int(value) - 1 for value in numbers)
            except ValueError:
                raise DataError(f"{where} is not a name and three numbers") from None
            if species not in (0, 1) or not 0 <= label < MOST_CLASSES:
                raise DataError(f"{where}: the species is neither 1 nor 2, or the class not 1 to {MOST_CLASSES}")
            lines.append(Line(name, label, species, number, where))
    return lines


def agreeing(lists: dict[str, list[Line]], faults: Faults) -> dict[str, list[Line]]:
    """The lines whose breed and class are those of most others; the names of the classes are those of the images.

    Raises:
        DataError: a line does not agree with the others.
    """
    pairs = Counter((line.label, line.breed) for lines in lists.values() for line in lines).most_common()
    labels = {breed: label for (label, breed), _ in reversed(pairs)}
    breeds = {label: breed for (label, breed), _ in reversed(pairs)}
    kept: dict[str, list[Line]] = {split: [] for split in lists}
    for split, lines in lists.items():
        for line in lines:
            with faults:
                if breeds[line.label] != line.breed:
                    raise DataError(f"{line.where}: class {line.label + 1} is {breeds[line.label]} elsewhere")
                if labels[line.breed] != line.label:
                    raise DataError(f"{line.where}: {line.breed} is class {labels[line.breed] + 1} elsewhere")
                kept[split].append(line)
    return kept
