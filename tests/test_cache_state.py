"""A cached dataset is never the answer to other data."""

import os

import PIL.Image
import pytest

from dataset_scripts import load_dataset


@pytest.mark.parametrize("way", ["data_dir", "data_files"])
def test_a_file_of_the_same_size_and_time_is_read_anew(way, tmp_path):
    """`cp --preserve` and archives set the modification time; only the change time of the inode tells."""
    options = {"data_dir": str(tmp_path)} if way == "data_dir" else {"data_files": {"train": str(tmp_path / "*.bmp")}}
    for value in (3, 5):
        PIL.Image.new("L", (4, 4), value).save(tmp_path / "a.bmp")
        os.utime(tmp_path / "a.bmp", (1e9, 1e9))
        assert load_dataset("image_folder", split="train", transform=None, **options)[0]["image"].getpixel((0, 0)) == value
