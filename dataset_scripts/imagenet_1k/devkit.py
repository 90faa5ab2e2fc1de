"""The names of ImageNet's classes, and the classes of validation images: from the development kit, or Kaggle's tables."""

import re

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files, folder_of, name_of
from dataset_scripts.layouts.mat.mat import ask

DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"

Classes = tuple[dict[str, str], dict[int, str]]  # WordNet id -> names, and number of a validation image -> WordNet id


def read_devkit(files: Files, faults: Faults) -> Classes | None:
    """`data/meta.mat` and the ground truth beside it, if they are there; a line of that is raised in `faults`.

    Raises:
        DataError: they are damaged or do not fit together, or scipy is not installed.
    """
    path = next((path for path in files.paths if name_of(path) == "meta.mat"), None)
    if path is None:
        return None
    columns = ask(files, path, "fields", "synsets", ["ILSVRC2012_ID", "WNID", "words", "num_children"])
    if columns is None:
        raise DataError(f"{files.root}/{path} does not hold the synsets of the development kit")
    ids, wnids, words, children = columns
    leaves = [row for row, count in enumerate(children) if count == 0]  # the others are hypernyms, not classes
    wnid_of = {ids[row]: wnids[row] for row in leaves}
    truth_path = f"{folder_of(path)}/{TRUTH}".lstrip("/")
    truth = {}
    for row, line in enumerate(files.read(truth_path).splitlines(), 1):
        with faults, reading(f"{files.root}/{truth_path}, line {row}"):
            if int(line) not in wnid_of:
                raise ValueError(f"{int(line)} is not a class of {path}")
            truth[row] = wnid_of[int(line)]
    return {wnids[row]: words[row] for row in leaves}, truth


def read_kaggle(files: Files) -> Classes:
    """`LOC_synset_mapping.txt` (`n01440764 tench, Tinca tinca`) and `LOC_val_solution.csv`, if they are there."""
    words, truth = {}, {}
    for path in files.paths:
        if name_of(path) == "LOC_synset_mapping.txt":
            for line in files.read(path).decode("utf-8", "replace").splitlines():
                wnid, _, names = line.strip().partition(" ")
                words[wnid] = names
        elif name_of(path) == "LOC_val_solution.csv":
            for line in files.read(path).decode("utf-8", "replace").splitlines()[1:]:
                image, _, boxes = line.partition(",")
                number = image.removeprefix("ILSVRC2012_val_")
                if number != image and re.fullmatch("[0-9]{1,8}", number) and boxes.split():
                    truth[int(number)] = boxes.split(maxsplit=1)[0]
    return words, truth
