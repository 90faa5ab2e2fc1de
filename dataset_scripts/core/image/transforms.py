"""From Pillow images to CHW tensors."""

from collections.abc import Callable, Mapping
from typing import Any

import datasets
import numpy as np
import PIL.Image
import torch

from dataset_scripts.core.image.columns import has_image

# Columns of images whose values are ids, not brightness.
MASKS = ("mask", "mask_before", "mask_after", "instance_mask")


class ToTensor:
    """Turns the images of a row or of a batch into CHW float32 tensors; everything else passes through unchanged.

    The values are those of `torchvision.transforms.ToTensor`, for every mode and dtype that both accept; the dtype
    is always float32 (torchvision changes it with the mode).

    ============================================  =================================================
    image                                         tensor
    ============================================  =================================================
    8-bit channels (L LA RGB RGBA CMYK …, uint8)  value / 255, or 0..255 with `normalize=False`
    `1`, bool                                     0 or 1
    `P`, `PA` (palette)                           the palette's *indices*, scaled like any 8 bits
    `I;16` `I` `F`, other integers and floats     the value itself: its range is not known
    alpha (LA PA RGBA)                            a channel like the others, the last one
    ============================================  =================================================

    Rows that hold more than an image are ready for `torchvision.transforms.v2`, which moves all of it together: images
    are `tv_tensors.Image`, a `mask` (or `instance_mask`) is a `Mask` (H, W) of int64 ids, and `objects` hold
    `BoundingBoxes` (N, 4), masks, keypoints and tensors, as in `core/image/targets.py`. A column that is read without
    the image, such as `ds["objects"]`, stays as it is stored.

    To get all images in mode `RGB`: `ds.cast_column("image", datasets.Image(mode="RGB"))`.

    Args:
        normalize: divide 8-bit values by 255.
        columns: names of the image columns. A Pillow image is converted in any column; these columns must hold
            images, which is checked.

    Called with a Pillow image or an ndarray (HW or HWC) it returns a tensor (C, H, W); with a row or a batch (a
    mapping of columns) it returns a dict. It can be pickled, so it works in DataLoader workers of every start method.

    Raises:
        TypeError: a value that is not an image; an image column that has become nested lists of numbers, as after
            `Dataset.map` and `flatten_indices` (transforming those again would be silently wrong).

    Example:
        >>> ToTensor()(PIL.Image.new("RGB", (3, 2), (255, 51, 0)))[:, 0, 0]
        tensor([1.0000, 0.2000, 0.0000])
        >>> ToTensor(normalize=False)({"image": PIL.Image.new("L", (3, 2), 7), "label": 4})["image"].shape
        torch.Size([1, 2, 3])
    """

    def __init__(self, normalize: bool = True, columns: tuple[str, ...] = ("image",)):
        self.normalize = normalize
        self.columns = tuple(columns)

    def __repr__(self) -> str:
        return f"ToTensor(normalize={self.normalize})"

    def __call__(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return self._tensor(data)
        columns = list(data.values())
        if all(isinstance(values, list) and len(values) == len(columns[0]) for values in columns):  # a batch
            rows = [self._row(dict(zip(data, values))) for values in zip(*columns)]
            return {name: [row[name] for row in rows] for name in data}
        return self._row(data)

    def _row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        masks = [name for name in MASKS if name in row and isinstance(row[name], (PIL.Image.Image, np.ndarray))]
        image = row.get("image")
        boxes = isinstance(row.get("objects"), dict) and "bbox" in row["objects"] and image is not None
        special = {*masks, "objects"} if boxes else {*masks}
        result = {name: self._column(name, value) for name, value in row.items() if name not in special}
        images = [name for name in self.columns if isinstance(result.get(name), torch.Tensor) and name not in masks]
        if masks or boxes or len(images) > 1:
            from dataset_scripts.core.image import targets  # here: importing torchvision takes as long as torch

            result |= {name: targets.image_tensor(result[name]) for name in images}
            result |= {name: targets.mask_tensor(row[name]) for name in masks}
            if boxes:
                result["objects"] = targets.object_tensors(row["objects"], targets.canvas_of(image))
        return {name: result[name] for name in row}

    def _column(self, name: str, value: Any) -> Any:
        if isinstance(value, PIL.Image.Image):
            return self._tensor(value)
        if name in self.columns and value is not None:
            if isinstance(value, (list, tuple)):
                return [self._column(name, item) for item in value]
            if isinstance(value, np.ndarray):
                return self._tensor(value)
            _refuse(name, value)
        if isinstance(value, dict):
            return {key: self._column("", item) for key, item in value.items()}
        if isinstance(value, list):
            first = next((item for item in value if item is not None), None)
            if isinstance(first, (PIL.Image.Image, list, dict)):
                return [self._column("", item) for item in value]
        return value

    def _tensor(self, image: Any) -> torch.Tensor:
        if not isinstance(image, (PIL.Image.Image, np.ndarray)):
            raise TypeError(f"ToTensor takes a Pillow image, an ndarray, a row or a batch, not {type(image).__name__}")
        array = np.asarray(image)
        if array.ndim not in (2, 3) or array.dtype.kind not in "buif":
            raise TypeError(
                f"ToTensor takes numbers of shape (H, W) or (H, W, C), not {array.dtype} of shape {array.shape}"
            )
        if array.ndim == 2:
            array = array[:, :, None]
        tensor = torch.from_numpy(np.array(array.transpose(2, 0, 1), dtype=np.float32, order="C"))
        return tensor.div_(255) if self.normalize and array.dtype == np.uint8 else tensor


def attach(dataset: Any, transform: Callable | None) -> Any:
    """Attaches `transform` to a Dataset, an IterableDataset or a dict or list of them; one without images stays as it is."""
    if transform is None:
        return dataset
    if isinstance(dataset, dict):
        return type(dataset)({split: attach(part, transform) for split, part in dataset.items()})
    if isinstance(dataset, list):
        return [attach(part, transform) for part in dataset]
    features = dataset.features
    if features is not None:
        columns = tuple(name for name, feature in features.items() if has_image(feature))
        if not columns:
            return dataset
        if isinstance(transform, ToTensor):
            transform = ToTensor(transform.normalize, columns)
    if isinstance(dataset, datasets.Dataset):
        return dataset.with_transform(transform)
    # A streamed dataset has no formats. Naming the features keeps them known; the tensors are not encoded again.
    keep = features if isinstance(transform, ToTensor) else None
    return dataset.map(transform, batched=True, batch_size=8, features=keep)


def _refuse(name: str, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        raise TypeError(f"column {name!r} holds tensors already: attach ToTensor once")
    if isinstance(value, dict):
        raise TypeError(f"column {name!r} is not decoded: call ds.cast_column({name!r}, datasets.Image()) first")
    raise TypeError(
        f"column {name!r} is no longer an Image: map() or flatten_indices() stored its tensors as lists. "
        "Call ds.with_format(None) before them, and ds.with_transform(ToTensor()) after."
    )
