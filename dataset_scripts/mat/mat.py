"""MATLAB files: SVHN's cropped digits, any array of images beside a vector of labels, and the lists of Flowers-102."""

import re
from typing import Any

import numpy as np

from dataset_scripts.core.arrays import ArrayBuilder, Part, keep_only
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files import Files, Reader, name_of
from dataset_scripts.core.named_arrays import CHANNELS, Named, NamedArrayConfig, pair
from dataset_scripts.core.records import Images

PRECEDENCE = 2
SUFFIXES = (".mat",)
SVHN = re.compile(r"(train|test|extra)_32x32\.mat")
FLOWER = re.compile(r"image_(\d+)\.jpg")
FLOWER_SPLITS = {"trnid": "train", "valid": "validation", "tstid": "test"}
ORDERS = {"HWCN": (3, 2), "NHWC": (0, 3), "NCHW": (0, 1), "HWN": (2, None), "NHW": (0, None)}  # axis of images, of channels


def matches(files):
    """Flowers-102's lists beside its images, or arrays of images where there are no image files."""
    lists = flower_lists(files)
    if lists:
        return f"{lists['imagelabels']} and {lists['setid']} beside {len(files.images)} images"
    if files.images or not files.having(".mat"):
        return None
    try:
        arrays = list_arrays(files)
    except DataError:
        return None
    images = [array for array in arrays if len(array.shape) >= 3 and (array.role == "images" or len(files.paths) == 1)]
    return f"{len(files.having('.mat'))} MATLAB files, images in {', '.join(map(str, images[:4]))}" if images else None


def flower_lists(files: Files) -> dict[str, str]:
    """The paths of imagelabels.mat and setid.mat, where both are there and images that they number."""
    lists = {stem: path for stem in ("imagelabels", "setid") for path in files.having(f"{stem}.mat")
             if name_of(path) == f"{stem}.mat"}  # fmt: skip
    numbered = any(FLOWER.fullmatch(name_of(path)) for path in files.images)
    return lists if len(lists) == 2 and numbered else {}


def scipy_io() -> Any:
    """`scipy.io`.

    Raises:
        DataError: it is not installed; the message names the extra.
    """
    try:
        import scipy.io
    except ImportError as error:
        raise DataError("MATLAB files need scipy: pip install 'dataset_scripts[mat]'") from error
    return scipy.io


def read_mat(files: Reader, path: str, *names: str) -> Any:
    """The variables of those names, or without names a list of (name, shape, class) of all."""
    tools = scipy_io()
    try:
        with files.open(path) as file:
            return tools.loadmat(file, variable_names=names) if names else tools.whosmat(file)
    except NotImplementedError as error:
        raise DataError(f"{files.root}/{path} is of MATLAB 7.3: save it there by save(…, '-v7')") from error
    except Exception as error:  # scipy has no error of its own for damaged files
        raise DataError(f"{files.root}/{path} cannot be read: {error or type(error).__name__}") from error


def list_arrays(files: Files) -> list[Named]:
    return [Named(path, name, shape) for path in files.having(".mat") for name, shape, _ in read_mat(files, path)]


def order_of(shape: tuple[int, ...], count: int | None) -> str:
    """The order of the axes, by the number of labels and of channels.

    Raises:
        ValueError: none fits, or several do.
    """
    fits = [order for order, (axis, channels) in ORDERS.items() if len(order) == len(shape)
            and count in (None, shape[axis]) and (channels is None or shape[channels] in CHANNELS)]  # fmt: skip
    if len(fits) != 1:
        labels = "no labels" if count is None else f"{count} labels"
        raise ValueError(f"images of shape {shape} and {labels}: {' and '.join(fits) or 'no'} order of the axes fits")
    return fits[0]


class Mat(ArrayBuilder):
    BUILDER_CONFIG_CLASS = NamedArrayConfig

    def index(self, files):
        lists = flower_lists(files)
        if lists:
            return self._flowers(files, lists)
        svhn = {match[1]: path for path in files.having(".mat") if (match := SVHN.fullmatch(name_of(path)))}
        arrays = list_arrays(files)
        if svhn:  # `extra` is no word for a split elsewhere
            pairs = {split: [*pair(files, [array for array in arrays if array.path == path], self.config).values()][0]
                     for split, path in svhn.items()}  # fmt: skip
        else:
            pairs = pair(files, arrays, self.config)
        splits, used = {}, set()
        for split, split_pairs in pairs.items():
            splits[split] = []
            for images, labels in split_pairs:
                used |= {images.path, *([labels.path] if labels else [])}
                values = self._labels(files, labels, bool(svhn)) if labels else {}
                with reading(f"{files.root}/{images}"):
                    order = order_of(images.shape, len(values["label"]) if labels else None)
                count = images.shape[ORDERS[order][0]]
                splits[split].append(Part((images.path, images.key, order), count, values, str(labels)))
        keep_only(files, used)
        if svhn:
            return self.assemble(files, splits, {"label": self.config.classes or [str(digit) for digit in range(10)]})
        labels = [part.labels["label"] for parts in splits.values() for part in parts if part.labels]
        first = int(all(len(values) and values.min() >= 1 for values in labels))  # as MATLAB counts
        return self.assemble(files, splits, {"label": self.config.classes}, first)

    def _labels(self, files: Files, array: Named, svhn: bool) -> dict[str, np.ndarray]:
        values = read_mat(files, array.path, array.key).get(array.key)
        if values is None:
            raise DataError(f"{files.root}/{array.path} has no variable {array.key}")
        if values.dtype.kind not in "iufb" or max(values.shape) != values.size:
            kind = f"{values.dtype} of shape {values.shape}"
            raise DataError(f"{files.root}/{array}: labels are a vector of numbers, not {kind}")
        values = values.ravel()
        if values.dtype.kind == "f" and (values == np.rint(values)).all():  # MATLAB counts in doubles
            values = values.astype(np.int64)
        return {"label": np.where(values == 10, 0, values) if svhn else values}  # SVHN's 0 is class 10

    def open_images(self, files, source):
        path, key, order = source
        images = np.moveaxis(read_mat(files, path, key)[key], ORDERS[order][0], 0)
        rest = order.replace("N", "")
        return Images(images, tuple(rest.index(axis) for axis in "HWC" if axis in rest), self.config.scale)

    def read(self, files, sample):
        number, row = map(int, sample)
        names = self.sources[number][1]
        if isinstance(names, str):
            return super().read(files, sample)
        return {"image": {"bytes": files.read(names[row]), "path": names[row]}}  # Flowers-102's

    def _flowers(self, files: Files, lists: dict[str, str]):
        labels = self._labels(files, Named(lists["imagelabels"], "labels", ()), False)["label"]
        ids = read_mat(files, lists["setid"], *FLOWER_SPLITS)
        paths = {int(match[1]): path for path in files.images if (match := FLOWER.fullmatch(name_of(path)))}
        splits = {}
        for key, split in FLOWER_SPLITS.items():
            numbers = []
            for number in np.sort(np.asarray(ids.get(key, ())).ravel()).tolist():
                with self.faults:
                    if number not in paths or not 1 <= number <= len(labels):
                        what = "label" if number in paths else "image"
                        raise DataError(f"{files.root}/{lists['setid']}: {key} names image {number}, which has no {what}")
                    numbers.append(int(number))
            if numbers:
                values = {"label": labels[np.array(numbers) - 1]}
                images = [paths[number] for number in numbers]
                splits[split] = [Part((lists["setid"], images), len(numbers), values, lists["imagelabels"])]
        used = {path for parts in splits.values() for path in parts[0].source[1]}
        keep_only(files, used.union(lists.values()))
        names = self.config.classes or [str(number) for number in range(1, 103)]
        return self.assemble(files, splits, {"label": names}, first=1)
