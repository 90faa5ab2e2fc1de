"""Masks of ids: checked against their image, and encoded again only if necessary."""

import io
from collections.abc import Callable

import numpy as np
import PIL.Image

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.image.decode import Frame, decode_image, encode_image
from dataset_scripts.core.image.greys import BLACK_WHITE, Greys

MODES = ("1", "L", "P", "I;16", "I;16B", "I")  # of Pillow, with one number a pixel
BLUR = 32  # by which JPEG may tell the channels of a grey pixel apart


def fit_mask(
    value: dict,
    frame: Frame,
    where: str,
    colors: Callable[[np.ndarray, str], np.ndarray] | None = None,
    greys: Greys | None = None,
) -> dict:
    """Return a mask as it is stored, or encoded again if colours or greys become ids or EXIF rotates only the image.

    Args:
        value: the stored form in an Image column, `{"bytes": …, "path": …}`.
        frame: the image.
        where: names the mask, for messages.
        colors: makes ids (H, W), uint8 or uint16, of pixels (H, W, 3) uint8; None takes grey ones, as tools save ids as RGB.
        greys: makes ids of grey pixels; None takes them as ids.

    Raises:
        DataError: a mask of a different size than the image, in a lossy format without a threshold, or without one id of
            8 or 16 bits per pixel.
    """
    size = Frame.of(value["bytes"], where).size
    with PIL.Image.open(io.BytesIO(value["bytes"])) as mask:
        mode, kind = mask.mode, mask.format
    is_cut = greys is not None and greys.threshold is not None
    if kind in ("JPEG", "MPO") and not is_cut:
        way_out = ", or pass threshold=128 if they are black and white" * (greys is not None)
        raise DataError(f"{where} is a JPEG, which blurs ids: store masks without loss, as PNG does{way_out}")
    if size != frame.size and not frame.turns(size):
        raise DataError(
            f"{where} has {size[0]} x {size[1]} pixels, but its image has {frame.size[0]} x {frame.size[1]}"
        )
    if mode == "P" and greys is not None and not greys.keeps and not greys.is_for_palettes:
        raise DataError(
            f"{where} has a palette, whose indices are ids, {greys.why or 'and threshold= is for grey masks'}"
        )
    keeps = greys is None or greys.keeps or (mode == "1" and greys.values in (None, BLACK_WHITE))
    if mode in MODES and keeps and not frame.turns(size):
        return value
    ids = np.asarray(decode_image(value, where))
    if mode in ("RGB", "RGBA"):
        ids = _ids_of(ids, where, colors, BLUR if kind in ("JPEG", "MPO") else 0)
        if colors:
            greys = None
    elif mode not in MODES or (mode == "I" and keeps):
        raise DataError(
            f"{where} has the mode {mode}: a mask holds one id of 8 or 16 bits per pixel, in grey or by a palette"
        )
    if greys is not None:
        ids = greys.ids_of(ids, where)
    ids = ids.astype(np.uint16 if ids.dtype.itemsize == 2 else np.uint8)
    return value | {"bytes": encode_image(frame.turn_mask(ids) if frame.turns(size) else ids)}


def _ids_of(pixels: np.ndarray, where: str, colors: Callable | None, blur: int = 0) -> np.ndarray:
    """The ids, or the greys, (H, W) of pixels (H, W, 3..4) of mode RGB or RGBA; greys may differ by `blur`."""
    if pixels.shape[2] == 4 and (pixels[:, :, 3] < 255).any():
        raise DataError(f"{where} has transparent pixels, which belong to no class: save it without alpha")
    pixels = pixels[:, :, :3]
    if colors:
        return colors(pixels, where)
    if (pixels == pixels[:, :, :1]).all():
        return pixels[:, :, 0]
    if blur and (np.ptp(pixels, 2) <= blur).all():
        return np.rint(pixels.mean(2)).astype(np.uint8)
    raise DataError(
        f"{where} holds colours, not ids: pass colors={{'road': (128, 64, 128), …}} or colors='the/table.csv' with lines "
        "name,r,g,b; if it is a picture, see load_dataset('image_pairs', …)"
    )
