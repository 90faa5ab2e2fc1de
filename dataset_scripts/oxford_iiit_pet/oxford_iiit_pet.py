"""Oxford-IIIT Pet: 7,349 photos of cats and dogs of 37 breeds, each with a mask of the animal."""

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.core.builders.layout import LayoutBuilder, Rows
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.builders.tables import resolve_names
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.image.decode import Frame
from dataset_scripts.core.image.masks import fit_mask

published = Source.at(
    "https://thor.robots.ox.ac.uk/~vgg/data/pets/", "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
)
LISTS = {"train": "trainval.txt", "test": "test.txt"}


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

    def index(self, files):
        top = files.above("annotations/trainval.txt")
        breeds, rows = {}, {}
        for split, name in LISTS.items():
            path = f"{top}annotations/{name}"
            names, labels, species = read_list(files, path, breeds)
            paths = [pc.binary_join_element_wise(names, suffix, ".") for suffix in ("jpg", "png")]
            images = resolve_names(files, path, paths[0], "image", f"{top}images", self.faults)
            masks = resolve_names(files, path, paths[1], "mask", f"{top}annotations/trimaps", self.faults)
            kept = pc.and_(images.is_valid(), masks.is_valid())
            samples = list(zip(images.filter(kept).to_pylist(), masks.filter(kept).to_pylist(), strict=True))
            columns = {"label": pa.array(labels, pa.int64()), "species": pa.array(species, pa.int64())}
            rows[split] = Rows(samples, {name: column.filter(kept) for name, column in columns.items()})
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


def read_list(files: Files, path: str, breeds: dict[int, str]) -> tuple[pa.Array, list[int], list[int]]:
    """A list of the set, whose lines are `Abyssinian_100 1 1 1`: names of images, and their labels and species from 0.

    The names of the classes, which are part of the names of the images, are added to `breeds`, by label.

    Raises:
        DataError: a line has another form, or does not agree with the others.
    """
    names, labels, species = [], [], []
    for row, line in enumerate(files.read(path).decode("utf-8", "replace").splitlines()):
        where = f"{files.root}/{path}, row {row + 1}: {line[:100]!r}"
        try:
            name, *numbers = line.split()
            label, kind, _ = (int(number) - 1 for number in numbers)
        except ValueError:
            raise DataError(f"{where} is not a name and three numbers") from None
        breed = name.rpartition("_")[0]
        if breeds.setdefault(label, breed) != breed or kind not in (0, 1):
            raise DataError(
                f"{where}: class {label + 1} is {breeds[label]} elsewhere, or the species is neither 1 nor 2"
            )
        names.append(name)
        labels.append(label)
        species.append(kind)
    return pa.array(names, pa.string()), labels, species
