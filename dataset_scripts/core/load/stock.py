"""What is local and in no layout: either `datasets` reads it, which is said in a line, or one line says what it is."""

import posixpath
from collections import Counter

from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.builders.leftovers import PACKED, PEEK, SHEETS
from dataset_scripts.core.errors import DataError, printable_logger
from dataset_scripts.core.files.archives import is_archive
from dataset_scripts.core.files.listing import Files, name_of

logger = printable_logger(__name__)

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".txt")  # what datasets reads by itself
AUDIO_AND_VIDEO = (".wav", ".mp3", ".flac", ".ogg", ".mp4", ".avi", ".mov", ".mkv", ".webm", ".pdf")
WHY = {
    ".npy": "arrays that are no images (whole numbers of 8 bits, of height and width), or of Python's objects",
    ".npz": "arrays that are no images, or of Python's objects",
    ".mat": "MATLAB files without arrays of images",
    ".h5": "HDF5 files without arrays of images",
    ".hdf5": "HDF5 files without arrays of images",
    ".pkl": "pickles, which could run code, and hold no images in a known form",
    ".pickle": "pickles, which could run code, and hold no images in a known form",
    ".pt": "PyTorch files without tensors of images",
    ".pth": "PyTorch files without tensors of images",
}


def hand_over(files: Files, is_published: bool) -> None:
    """Logs that `datasets` reads a local path, and as what.

    Args:
        is_published: the folder has a card with configs, or tables of images.

    Raises:
        DataError: it would find nothing there, or text in place of images.
    """
    if is_published:
        logger.warning("%s: read by datasets, as its card or its tables say", files.root)
        return
    suffixes = Counter(posixpath.splitext(path.lower())[1] for path in files.paths)
    if not suffixes:
        raise DataError(f"{files.root} holds no files, or only hidden ones")
    what = next((said for path in files.paths if (said := unread(files, path))), None)
    if what is not None:
        raise DataError(f"{files.root} holds no images, but {what}")
    readable = sum(count for suffix, count in suffixes.items() if suffix in TABLES + AUDIO_AND_VIDEO)
    if not readable:
        held = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in suffixes.most_common(3))
        raise DataError(f"{files.root} holds no images: {held}, such as {files.paths[0]}")
    suffix = next(suffix for suffix, _ in suffixes.most_common() if suffix in TABLES + AUDIO_AND_VIDEO)
    logger.warning("%s: no images are recognised here; read by datasets, for its %s files", files.root, suffix)


def unread(files: Files, path: str) -> str | None:
    """What a file is, in words, if it means that there is nothing for `datasets` to read; else None."""
    suffix = posixpath.splitext(path.lower())[1]
    if is_archive(path):
        return f"an archive in another one, {path}: unpack the outer one" if files.mounts else None
    if suffix in PACKED:
        return f"{path}, a {suffix[1:]} archive: unpack it, as only zip and tar are read"
    if suffix in SHEETS:
        return f"{path}, a spreadsheet: save it as csv beside the images"
    if suffix not in (*TABLES, *WHY, ".xml", ".lst"):
        return None
    content = files.peek(path, PEEK)
    if suffix == ".mat" and content.startswith(b"MATLAB 7.3"):
        return f"{path}, a MATLAB 7.3 file, which is HDF5: load_dataset('hdf5', data_dir=…) reads arrays of it"
    if suffix in WHY:
        return f"{path}: {WHY[suffix]}, are not read"
    kind = kind_of(content, suffix)
    if kind is not None and not name_of(path).startswith("metadata."):
        return f"{kind[0]}, such as {path}: the images that they are about have to lie in the same folder"
    return f"{path}" if suffix == ".xml" else None
