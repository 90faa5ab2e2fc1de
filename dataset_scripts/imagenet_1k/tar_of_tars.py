"""A tar of tars, as ImageNet's training images are published: read in place, none of them unpacked."""

import tarfile
from pathlib import Path

import pyarrow as pa

from dataset_scripts.core.archives import DAMAGED, TarReader
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.tar import Member, tar_files


class TarOfTars(TarReader):
    """`n01440764.tar`, which holds `n01440764_18.JPEG`, gives `n01440764/n01440764_18.JPEG`, read at its offset in the whole.

    Raises:
        DataError: one of the tars is damaged, or holds something else than files.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        outer, self.members = self.members, {}
        with pa.memory_map(str(path)) as file:
            for name, (offset, size) in outer.items():
                file.seek(offset)
                try:
                    self._add(name, offset, size, pa.BufferReader(file.read_buffer(size)))
                except DAMAGED as error:
                    raise DataError(f"{path}, member {name}: {error or type(error).__name__}") from error
        self.names = sorted(self.members)

    def _add(self, name: str, offset: int, size: int, content: pa.NativeFile) -> None:
        with tarfile.open(fileobj=content, mode="r:", tarinfo=Member) as inner:
            for image, member in tar_files(Path(self.path, name), inner, self._accept):
                if not member.isreg() or member.offset_data + member.size > size:
                    raise DataError(f"{self.path}, member {name}: {member.name} is cut off, or a link or a device")
                self.members[f"{name.removesuffix('.tar')}/{image}"] = (offset + member.offset_data, member.size)
