"""The one place where stored bytes become an image, and arrays become stored bytes."""

import contextlib
import io
import re
from dataclasses import dataclass
from typing import BinaryIO

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
from datasets.utils.file_utils import xopen

from dataset_scripts.core.errors import DataError, reason
from dataset_scripts.core.image.png import encode_png

_STOCK = datasets.Image()
_EXIF_ORIENTATION = 0x0112
_PNG_EXIF = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
# How files begin, in lower case, that are not the images that their names promise, and what to do about them.
_PAGE = "an HTML page, such as a server sends instead of an image: download it again"
_POINTERS = (
    (rb"version https?://(git-lfs|hawser|git-media)", "a git-lfs pointer, not the image itself: run `git lfs pull`"),
    (rb"((\.\./)*\.git)?/annex/objects/", "a git-annex pointer, not the image itself: run `git annex get`"),
    (rb"<(!doctype )?html", _PAGE),
    (rb"<error>", "a server's error, as object stores send instead of an image: download it again"),
    (rb"<(!doctype )?svg", "an SVG drawing, which Pillow does not decode: convert it to PNG"),
)
_PROLOGUE = re.compile(rb"(?:\xef\xbb\xbf|<\?.*?\?>|<!--.*?-->|\s++)*+", re.DOTALL)  # of XML and HTML

_PROGRAMS = (b"%!PS", b"\xc5\xd0\xd3\xc6", b"\x1c")


def decode_image(value: dict, name: str) -> PIL.Image.Image:
    """Decodes an image as `datasets` does, EXIF rotation included.

    Args:
        value: the stored form in an Image column, `{"bytes": …, "path": …}`.
        name: which image this is, such as "row 7".

    Raises:
        DataError: naming the image, if it is missing, truncated, or not an image.
    """
    if value is None:
        raise DataError(f"{name} has no image")
    where = f"{name} ({value['path']})" if value.get("path") and value["path"] not in name else name
    try:
        return _STOCK.decode_example(_harmless(value))
    except Exception as error:  # Pillow's plugins raise anything from SyntaxError to struct.error
        raise DataError(f"unreadable image {where}: {fault_of(value.get('bytes'), error)}") from error


def _harmless(value: dict) -> dict:
    """Refuses PostScript, a program that Pillow passes to Ghostscript, and IPTC, which may contain it."""
    content, path = value.get("bytes"), value.get("path")
    if content is None and path is not None:
        with xopen(path, "rb") as file:
            content = file.read() if "://" in path else file.read(4)
        if "://" in path:
            value = {"bytes": content, "path": path}
    if content is not None and bytes(content[:4]).startswith(_PROGRAMS):
        raise DataError("PostScript or IPTC, which Pillow has run as a program: convert it to PNG")
    return value


def fault_of(content: bytes | None, error: Exception) -> str:
    """Why bytes are not a readable image, in words; `error` is Pillow's."""
    if isinstance(error, PIL.Image.DecompressionBombError):
        limit = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0)
        return f"more than {limit:,} pixels, Pillow's limit for files that fill the memory: raise PIL.Image.MAX_IMAGE_PIXELS to read it"
    if content is None:
        return reason(error)
    if not content:
        return "empty"
    start = _PROLOGUE.sub(b"", bytes(content[:4096]), 1).lower()
    for mark, words in _POINTERS:
        if re.match(mark, start):
            return words
    if isinstance(error, PIL.UnidentifiedImageError):
        return f"not an image: its {len(content):,} bytes start with {bytes(content[:8])!r}"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return f"cut off after {len(content):,} bytes"
    return reason(error)


def is_encoded_image(content: bytes | memoryview) -> bool:
    """Whether bytes start like one of the usual image formats that Pillow decodes."""
    head = bytes(content[:12])
    starts = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
    return (
        head.startswith(starts) or (head[:4], head[8:]) == (b"RIFF", b"WEBP") or head[4:] in (b"ftypavif", b"ftypavis")
    )


def encode_image(array: np.ndarray) -> bytes:
    """Encodes an array without loss: uint8 (H, W), (H, W, 1..4) and uint16 (H, W) as PNG, float32 (H, W) as TIFF.

    Raises:
        DataError: an array of another kind, which no image format keeps unchanged.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    pictures = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (2, 3, 4))
    if (
        not pictures
        or 0 in array.shape
        or array.dtype not in (np.uint8, np.uint16, np.float32)
        or (array.ndim == 3 and array.dtype != np.uint8)
    ):
        raise DataError(
            f"{array.dtype} of shape {array.shape} is not an image; images are uint8 of shape (H, W) or (H, W, 1..4), "
            "or uint16 or float32 of shape (H, W)"
        )
    if array.dtype == np.uint8:
        return encode_png(array)
    buffer, kind = (
        io.BytesIO(),
        {"format": "TIFF"} if array.dtype == np.float32 else {"format": "PNG", "compress_level": 1},
    )
    PIL.Image.fromarray(np.ascontiguousarray(array)).save(buffer, **kind)
    return buffer.getvalue()


@dataclass(frozen=True)
class Frame:
    """The header of an image: its size, its mode, and how EXIF rotates it on decoding.

    Attributes:
        stored: (width, height) of the pixels in the file.
        orientation: EXIF orientation, 1..8 (1: as stored).
        mode: Pillow's name of the kind of pixels.
    """

    stored: tuple[int, int]
    orientation: int = 1
    mode: str = ""

    @classmethod
    def of(cls, content: bytes, name: str) -> "Frame":
        """Reads the header.

        Raises:
            DataError: it is not an image.
        """
        try:
            return cls._read(io.BytesIO(content))
        except Exception as error:  # see decode_image
            raise DataError(f"unreadable image {name}: {fault_of(content, error)}") from error

    @classmethod
    def of_stored(cls, value: pa.StructScalar, name: str) -> "Frame":
        """Reads the header of a value stored in an Image column; of a large file little more than the header is read.

        Raises:
            DataError: it is not an image, as in `decode_image`.
        """
        content, path = (
            value["bytes"].as_buffer() if value.is_valid else None,
            value["path"].as_py() if value.is_valid else None,
        )
        if content is None and path is None:
            raise DataError(f"{name} has no image")
        try:
            if content is not None:
                _harmless({"bytes": content[:4].to_pybytes()})
                # For some formats, Pillow asks more of a file than pyarrow's can do.
                with contextlib.suppress(Exception):
                    return cls._read(pa.BufferReader(content))
                return cls._read(io.BytesIO(content))
            _harmless({"path": path})
            with xopen(path, "rb") as file:
                return cls._read(file)
        except Exception as error:  # see decode_image
            where = f"{name} ({path})" if path and path not in name else name
            fault = fault_of(None if content is None else content.to_pybytes(), error)
            raise DataError(f"unreadable image {where}: {fault}") from error

    @classmethod
    def _read(cls, file: BinaryIO) -> "Frame":
        with PIL.Image.open(file) as image:
            orientation = 1
            if image.format == "PNG":  # Pillow decodes a whole PNG to look for EXIF, which may come after the pixels
                place = file.tell()
                file.seek(0)
                content = file.read()
                file.seek(place)
            if image.format != "PNG" or any(mark in content for mark in _PNG_EXIF):
                orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
            return cls(image.size, orientation if orientation in range(1, 9) else 1, image.mode)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the decoded image."""
        width, height = self.stored
        return (height, width) if self.orientation >= 5 else (width, height)

    def turns(self, annotated: tuple[int, int] | None) -> bool:
        """Whether annotations made on an image of size `annotated` must be rotated to fit the decoded image.

        Most tools show, and annotate, the rotated image. Only a size that equals the stored one, and not the decoded one,
        indicates otherwise.
        """
        return annotated is not None and tuple(annotated) == self.stored != self.size

    def turn_points(self, points: np.ndarray) -> np.ndarray:
        """Moves points (…, 2), x and y in pixels of the stored image, to where they are in the decoded one."""
        width, height = self.stored
        x, y = points[..., 0], points[..., 1]
        flipped_x, flipped_y = width - x, height - y
        pair = {
            1: (x, y),
            2: (flipped_x, y),
            3: (flipped_x, flipped_y),
            4: (x, flipped_y),
            5: (y, x),
            6: (flipped_y, x),
            7: (flipped_y, flipped_x),
            8: (y, flipped_x),
        }[self.orientation]
        return np.stack(pair, -1)

    def turn_mask(self, mask: np.ndarray) -> np.ndarray:
        """Rotates an array (H, W) of the stored image as decoding rotates the image."""
        turned = {
            1: mask,
            2: mask[:, ::-1],
            3: mask[::-1, ::-1],
            4: mask[::-1],
            5: mask.T,
            6: mask[::-1].T,
            7: mask[::-1, ::-1].T,
            8: mask[:, ::-1].T,
        }[self.orientation]
        return np.ascontiguousarray(turned)
