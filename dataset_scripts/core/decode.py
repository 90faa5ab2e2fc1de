"""The one place where stored bytes become an image."""

import datasets
import PIL.Image

from dataset_scripts.core.errors import DataError

_IMAGE = datasets.Image()


def decode_image(value: dict, name: str) -> PIL.Image.Image:
    """Decodes an image as `datasets` does, EXIF rotation included.

    Args:
        value: what an Image column stores, `{"bytes": …, "path": …}`.
        name: says which image this is where the value has no path, such as "row 7".

    Raises:
        DataError: naming the image, where it is missing, cut off, or no image.
    """
    if value is None:
        raise DataError(f"{name} has no image")
    try:
        return _IMAGE.decode_example(value)
    except Exception as error:  # Pillow's plugins raise anything from SyntaxError to struct.error
        where = f"{name} ({value['path']})" if value.get("path") else name
        raise DataError(f"unreadable image {where}: {error}") from error
