"""A tar of tars, as ImageNet's training images are published: read in place, none of them unpacked."""

import os
from pathlib import Path

import pyarrow as pa

from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.archives import TarReader
from dataset_scripts.core.files.tar_headers import tar_members


class TarOfTars(TarReader):
    """`n01440764.tar`, which holds `n01440764_18.JPEG`, gives `n01440764/n01440764_18.JPEG`, read at its offset in the whole.

    Raises:
        DataError: one of the tars is damaged, or holds anything other than files.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        outer, self.members = self.members, {}
        with pa.memory_map(os.fsencode(path)) as file:  # as its name may not be UTF-8
            for name, (offset, size) in outer.items():
                file.seek(offset)
                with reading(f"{path}, member {name}"):
                    self._add(name, offset, size, pa.BufferReader(file.read_buffer(size)))
        self.names = sorted(self.members)

    def _add(self, name: str, offset: int, size: int, content: pa.NativeFile) -> None:
        before, self.members = self.members, {}
        self._list(tar_members(content), None, Path(self.path, name))
        for image, (start, length) in self.members.items():
            if start + length > size:
                raise DataError(f"{self.path}, member {name}: {image} is cut off")
            before[f"{name.removesuffix('.tar')}/{image}"] = (offset + start, length)
        self.members = before
