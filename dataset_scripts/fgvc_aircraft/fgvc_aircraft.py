"""FGVC-Aircraft: 10,000 photos of aircraft in 100 variants, which form 70 families from 30 manufacturers."""

from dataclasses import dataclass

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.layout import LayoutBuilder, LayoutConfig
from dataset_scripts.core.builders.published import PublishedSet, Source
from dataset_scripts.core.builders.tables import resolve_names, rows_of
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import name_of
from dataset_scripts.core.formats.fields import brief, short

published = Source.at("https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/")
CLASS_LISTS = {"variant": "variants.txt", "family": "families.txt", "manufacturer": "manufacturers.txt"}
LISTS = {"train": "train", "validation": "val", "test": "test"}


@dataclass
class FgvcAircraftConfig(LayoutConfig):
    """`name` selects the label: "variant", "family" or "manufacturer"."""


class FgvcAircraft(PublishedSet, LayoutBuilder):
    """Config names are the levels of the hierarchy; the default is variant, the finest."""

    BUILDER_CONFIG_CLASS = FgvcAircraftConfig
    BUILDER_CONFIGS = [FgvcAircraftConfig(name=name) for name in CLASS_LISTS]
    DEFAULT_CONFIG_NAME = "variant"
    HOMEPAGE = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
    LICENSE = "other"
    CITATION = """\
@techreport{maji2013finegrained,
    title         = {Fine-Grained Visual Classification of Aircraft},
    author        = {Maji, Subhransu and Kannala, Juho and Rahtu, Esa and Blaschko, Matthew and Vedaldi, Andrea},
    year          = {2013},
    archivePrefix = {arXiv},
    eprint        = {1306.5151}
}"""
    SOURCES = (
        published(
            "fgvc-aircraft-2013b.tar.gz", 2753340328, "e4e323d410e29f0370c81eabdcbb0e2b813acea1de22891b70b58ff41bfc9834"
        ),
    )
    ROWS = {"train": 3_334, "validation": 3_333, "test": 3_333}

    def parts(self):
        return {split: (f"images_{self.config.name}_{name}.txt",) for split, name in LISTS.items()}

    def index(self, files):
        last = CLASS_LISTS[self.config.name]
        class_list = next((path for path in files.paths if name_of(path) == last), f"data/{last}")
        data = class_list.removesuffix(last)
        classes = files.read(class_list).decode("utf-8", "replace").splitlines()
        classes = [name.strip() for name in classes if name.strip()]
        if len(set(classes)) < len(classes):
            raise DataError(f"{files.root}/{class_list}: two classes have the same name")
        label = datasets.ClassLabel(names=classes)
        numbers, rows = {name: number for number, name in enumerate(label.names)}, {}
        for split in self.present:
            (name,) = self.parts()[split]
            path = f"{data}{name}"
            text = files.read(path).decode("utf-8", "replace")
            # Only the first space ends the name of the image: a class may have spaces too.
            lines = [line.strip().partition(" ") for line in text.splitlines() if line.strip()]
            for row, (image, _, said) in enumerate(lines):
                with self.faults:
                    if said not in numbers:
                        raise DataError(
                            f"{files.root}/{path}, row {row + 1}: {brief(said)} of image {short(image)} is not in {class_list}"
                        )
            names = pa.array([f"{image}.jpg" for image, *_ in lines], pa.string())
            images = resolve_names(files, path, names, "image", f"{data}images", self.faults)
            rows[split] = rows_of(images, {"label": pa.array([numbers.get(said) for *_, said in lines], pa.int64())})
        return datasets.Features(image=datasets.Image(), label=label), rows

    def read(self, files, path):
        return {"image": {"bytes": files.read(path), "path": path}}
