"""Public sets in their form on disk that no layout reads whole: an error says so, where rows came that were wrong."""

import json

import numpy as np
import PIL.Image
import pytest

from dataset_scripts import DataError, load_dataset


@pytest.fixture
def refused(tmp_path, save_image):
    """Writes images and texts, and expects an error."""

    def refused(images, texts, message):
        for path in images:
            save_image(tmp_path / path, (40, 30))
        for path, text in texts.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        with pytest.raises(DataError, match=message):
            load_dataset(str(tmp_path))

    return refused


def test_cub_200(refused):
    """Each image's own number became a part of its class."""
    images = [
        "001.Black_footed_Albatross/a_1.jpg",
        "001.Black_footed_Albatross/a_2.jpg",
        "002.Laysan_Albatross/b_1.jpg",
    ]
    lists = {
        "images.txt": "".join(f"{number} {path}\n" for number, path in enumerate(images, 1)),
        "image_class_labels.txt": "1 1\n2 1\n3 2\n",
        "train_test_split.txt": "1 1\n2 0\n3 1\n",
        "bounding_boxes.txt": "1 1.0 2.0 9.0 9.0\n2 1.0 2.0 9.0 9.0\n3 1.0 2.0 9.0 9.0\n",
        "classes.txt": "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n",
    }
    refused([f"images/{path}" for path in images], lists, "images.txt has a number before each path, such as '?1 001")


def test_lists_of_names_that_begin_with_a_number(tmp_path, save_image):
    for name in ("1 cat.jpg", "2 dog.jpg"):
        save_image(tmp_path / "imgs" / name)
    (tmp_path / "train.txt").write_text("imgs/1 cat.jpg 0\nimgs/2 dog.jpg 1\n")
    assert load_dataset(str(tmp_path), split="train")["label"][:] == [0, 1]
    (tmp_path / "train.txt").write_text("1 cat.jpg 0\n2 dog.jpg 1\n")
    assert load_dataset(str(tmp_path), split="train")["label"][:] == [0, 1]


@pytest.mark.parametrize("line", ["imgs/{}.jpg 40 30 0 1 2 10 12", "imgs/{}.jpg,1.5,2,3,4"])
def test_boxes_as_classes(refused, line):
    lines = "\n".join(map(line.format, (1, 2)))
    refused(
        ["imgs/1.jpg", "imgs/2.jpg"], {"train.txt": lines}, "several numbers behind each path, such as .*not a class"
    )


def test_crowdhuman(refused):
    lines = (json.dumps({"ID": f"{number},a", "gtboxes": []}) + "\n" for number in (1, 2))
    refused(["Images/1,a.jpg", "Images/2,a.jpg"], {"annotation_train.odgt": "".join(lines)}, r"left 1 \.odgt files")


def test_flickr_8k(refused):
    lines = "".join(f"{number}.jpg#{caption}\tA dog .\n" for number in (1, 2) for caption in range(5))
    refused(["Images/1.jpg", "Images/2.jpg"], {"Flickr8k.token.txt": lines}, "1 txt files that name images")


def test_davis(refused, tmp_path):
    """Its lists name videos: train and val were one split."""
    images = [f"JPEGImages/480p/{video}/0000{number}.jpg" for video in ("bear", "bus") for number in (0, 1)]
    for path in images:
        mask = tmp_path / path.replace("JPEGImages", "Annotations").replace("jpg", "png")
        mask.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.eye(30, 40, dtype=np.uint8)).save(mask)
    lists = {"ImageSets/2017/train.txt": "bear\n", "ImageSets/2017/val.txt": "bus\n"}
    refused(images, lists, "2 txt files that name folders of images in ImageSets/2017/")


def test_market_1501(refused):
    folders = ("bounding_box_train", "bounding_box_test", "query")
    refused(
        [f"{folder}/000{n}_c1s1.jpg" for folder in folders for n in (1, 2)], {}, "but query beside them is not: pass"
    )


def test_mvtec(refused):
    """The masks in ground_truth were a split of photos."""
    images = [f"bottle/{folder}/00{n}.png" for folder in ("train/good", "test/good", "test/crack") for n in (0, 1)]
    masks = [f"bottle/ground_truth/crack/00{n}_mask.png" for n in (0, 1)]
    refused([*images, *masks], {}, "2 of 8 images are named like masks of others")


def test_other_views_of_scenes(refused, tmp_path):
    """Colour and depth were two classes."""
    images = [f"{folder}/{number}.png" for folder in ("rgb", "depth") for number in (1, 2)]
    refused(images, {}, "images of depth are named like those of rgb, and are not a class")
    rows = load_dataset("image_pairs", data_dir=str(tmp_path), source="rgb", target="depth", split="train")
    assert len(rows) == 2
