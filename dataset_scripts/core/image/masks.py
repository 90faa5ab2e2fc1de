"""Masks of ids: checked against their image, and encoded again only if necessary."""

import io
from collections.abc import Callable

import numpy as np
import PIL.Image

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.image.decode import Frame, decode_image, encode_image

MODES = ("1", "L", "P", "I;16", "I;16B", "I")  # Pillow's modes with one number per pixel


def fit_mask(
    value: dict, frame: Frame, where: str, colors: Callable[[np.ndarray, str], np.ndarray] | None = None
) -> dict:
    """Return a mask as it is stored, or encoded again if colours become ids or EXIF rotates only the image.

    Args:
        value: the stored form in an Image column, `{"bytes": …, "path": …}`.
        frame: the image.
        where: names the mask, for messages.
        colors: turns pixels (H, W, 3) uint8 into ids (H, W), uint8 or uint16; None accepts grey ones, as some tools save
            ids as RGB.

    Raises:
        DataError: a mask of a different size than the image, in a lossy format, or without one id of 8 or 16 bits per pixel.
    """
    size = Frame.of(value["bytes"], where).size
    with PIL.Image.open(io.BytesIO(value["bytes"])) as mask:
        mode, kind = mask.mode, mask.format
    if kind in ("JPEG", "MPO"):
        raise DataError(f"{where} is a JPEG, which blurs ids: store masks without loss, as PNG does")
    if size != frame.size and not frame.turns(size):
        raise DataError(
            f"{where} has {size[0]} x {size[1]} pixels, but its image has {frame.size[0]} x {frame.size[1]}"
        )
    if mode in MODES and not frame.turns(size):
        return value
    ids = np.asarray(decode_image(value, where))
    if mode in ("RGB", "RGBA"):
        ids = _ids_of(ids, where, colors)
    elif mode not in MODES or mode == "I":
        raise DataError(
            f"{where} has the mode {mode}: a mask holds one id of 8 or 16 bits per pixel, in grey or by a palette"
        )
    ids = ids.astype(np.uint16 if ids.dtype.itemsize == 2 else np.uint8)
    return value | {"bytes": encode_image(frame.turn_mask(ids) if frame.turns(size) else ids)}


def _ids_of(pixels: np.ndarray, where: str, colors: Callable | None) -> np.ndarray:
    """The ids (H, W) of pixels (H, W, 3..4) of mode RGB or RGBA."""
    if pixels.shape[2] == 4 and (pixels[:, :, 3] < 255).any():
        raise DataError(f"{where} has transparent pixels, which belong to no class: save it without alpha")
    pixels = pixels[:, :, :3]
    if colors:
        return colors(pixels, where)
    if (pixels == pixels[:, :, :1]).all():
        return pixels[:, :, 0]
    raise DataError(
        f"{where} holds colours, not ids: pass colors={{'road': (128, 64, 128), …}} or colors='the/table.csv' with lines "
        "name,r,g,b to load_dataset('mask_pairs', …); if it is a picture, see load_dataset('image_pairs', …)"
    )
