"""An answer accounts for every file: what is not read is company, or an error that says what it is."""

import json
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.builders.contents import kind_of
from dataset_scripts.core.load.script import bundled_layouts

sys.path.append(str(Path(__file__).parent / "fuzz"))
from targets import EXAMPLES  # noqa: E402

VOC = (
    "<annotation><filename>{0}</filename><size><width>9</width><height>7</height><depth>3</depth></size><object>"
    "<name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object></annotation>"
)
LEFT = {  # a file that is no company -> what it is called
    "photo.png": "1 images that no row shows (photo.png)",
    "annots/1.xml": "1 xml files like VOC annotations in annots/ (annots/1.xml)",
    "boxes/1.txt": "1 text files like YOLO labels in boxes/ (boxes/1.txt)",
    "cat/1.json": "1 .json files named like images in cat/ (cat/1.json)",
    "cat/1.dat": "1 .dat files named like images in cat/ (cat/1.dat)",
    "gt_1.dat": "1 .dat files named like images (gt_1.dat)",
    "labels.csv": "1 csv files that name images (labels.csv)",
    "list.lst": "1 lst files that name images (list.lst)",
    "all.json": "1 json files like COCO annotations (all.json)",
    "features.npy": "1 .npy files (features.npy)",
    "labels.mat": "1 .mat files (labels.mat)",
    "labels.xlsx": "1 spreadsheets, which have to be saved as csv (labels.xlsx)",
    "more.rar": "1 rar archives, which cannot be read (more.rar)",
    "more.zip": "1 archives beside the data (more.zip)",
}
CONTENT = {
    "annots/1.xml": VOC.format("1.png"),
    "boxes/1.txt": "0 0.5 0.5 0.2 0.2\n",
    "labels.csv": "who,what\nx,y\nann,1.png\n",
    "list.lst": "cat/1.png\n",
    "all.json": json.dumps({"images": [], "annotations": [], "categories": []}),
}
COMPANY = (
    "README.md",
    "README.txt",
    "LICENSE",
    "license-cc-by.txt",
    "CITATION.bib",
    "paper.pdf",
    "Thumbs.db",
    "desktop.ini",
    "convert.py",
    "look.ipynb",
    "md5sums.txt",
    "cat/notes.txt",
    "preview.png",
    "thumbnails/1.png",
    "dataset_infos.json",
    "classes.txt",
)


@pytest.fixture
def photos(tmp_path, save_image):
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        save_image(tmp_path / "photos" / name)
    return tmp_path / "photos"


def put(path, content, save_image):
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".png":
        save_image(path)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("cat/9.png", "x")
    else:
        path.write_text(content)


def test_what_is_left_is_an_error(photos, save_image):
    """Named outright, as a detector may well understand some of these."""
    for name, said in LEFT.items():
        put(photos / name, CONTENT.get(name, "text"), save_image)
        if name == "photo.png":
            with pytest.raises(DataError, match="photo.png is in no class folder, while others are"):
                load_dataset("image_folder", data_dir=str(photos))
        else:
            with pytest.raises(DataError) as caught:
                load_dataset("image_folder", data_dir=str(photos))
            assert f"{photos} is not understood: read as image_folder, there would be left {said}" in str(caught.value)
            assert "ignore=[" in str(caught.value)
        rows = load_dataset("image_folder", data_dir=str(photos), ignore=[name], split="train")
        assert len(rows) == 3 and rows.features["label"].names == ["cat", "dog"], name
        (photos / name).unlink()
        if not any((photos / name).parent.iterdir()):
            (photos / name).parent.rmdir()


def test_the_error_names_the_layout_that_reads_it(photos):
    (photos / "annots").mkdir()
    for number in (1, 2, 3):
        (photos / f"annots/{number}.xml").write_text(VOC.format(f"{number}.png"))
    with pytest.raises(
        DataError, match=r"load_dataset\('voc', data_dir=…\) reads xml files like VOC annotations; .*annots/\*\*"
    ):
        load_dataset("image_folder", data_dir=str(photos))
    assert load_dataset(str(photos), split="train")[0]["objects"]["bbox"].tolist() == [[1, 1, 4, 5]]


def test_company_is_counted(photos, save_image, caplog):
    for name in COMPANY:
        put(photos / name, "text", save_image)
    rows = load_dataset(str(photos), split="train", ignore=["preview.png", "thumbnails"])
    assert len(rows) == 3
    assert f"{len(COMPANY) - 2} other files are of no matter, such as CITATION.bib" in caplog.text


def test_archives_of_what_lies_there_are_company(photos, save_image):
    with zipfile.ZipFile(photos / "cat.zip", "w") as archive:
        archive.write(photos / "cat/1.png", "cat/1.png")
    with zipfile.ZipFile(photos / "all.zip", "w") as archive:
        for name in ("cat/1.png", "dog/3.png"):
            archive.write(photos / name, name)
    assert len(load_dataset(str(photos), split="train")) == 3


def test_an_empty_file_in_an_archive_is_looked_at(tmp_path, photos):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(photos.rglob("*.png")):
            archive.write(path, path.relative_to(photos))
        archive.writestr("cat/notes.txt", "")
    assert len(load_dataset(str(tmp_path / "photos.zip"), split="train")) == 3


def test_ignore(photos, save_image, caplog):
    for name in ("thumbs/a/1.png", "cat/4.bmp"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        save_image(photos / name)
    rows = load_dataset(str(photos), split="train", ignore=["thumbs/**", "*.bmp"])
    assert len(rows) == 3 and "2 files are left out, as ignore=… says" in caplog.text
    assert len(load_dataset(str(photos), split="train", ignore=["thumbs/", "dog"], drop_labels=True)) == 3
    with pytest.raises(DataError, match="ignore: '\\*.gif' matches no file in"):
        load_dataset(str(photos), ignore=["*.gif"])
    with pytest.raises(DataError, match="ignore='cat' is not a list of patterns"):
        load_dataset(str(photos), ignore="cat")


def test_a_set_nested_in_itself_is_counted_once(tmp_path, save_image, caplog):
    """chest_xray/chest_xray/train beside chest_xray/train, as one archive has it."""
    for above in ("", "chest_xray/"):
        for number, name in enumerate(("train/NORMAL/1.png", "train/SICK/2.png", "test/SICK/3.png")):
            path = tmp_path / f"chest_xray/{above}{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(np.full((4, 5, 3), number, np.uint8)).save(path)
    sets = load_dataset(str(tmp_path / "chest_xray"))
    assert {split: len(rows) for split, rows in sets.items()} == {"train": 2, "test": 1}
    assert "chest_xray repeats what lies beside it, and is left out" in caplog.text


@pytest.mark.parametrize(
    "train, test",
    [
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train_x", "x-val"),
        ("Train Images", "Test Images"),
        ("trainA", "testA"),
    ],
)
def test_words_of_splits(tmp_path, save_image, train, test):
    save_image(tmp_path / train / "cat/1.png")
    save_image(tmp_path / train / "dog/2.png")
    save_image(tmp_path / test / "cat/3.png")
    sets = load_dataset(str(tmp_path))
    assert [len(rows) for rows in sets.values()] == [2, 1]
    assert sets["train"].features["label"].names == ["cat", "dog"]


def test_a_prefix_that_merges_two_is_no_split(tmp_path, save_image):
    for name in ("train_cats/1.png", "train_dogs/2.png"):
        save_image(tmp_path / name)
    sets = load_dataset(str(tmp_path))
    assert list(sets) == ["train"] and sets["train"].features["label"].names == ["train_cats", "train_dogs"]


def test_a_folder_beside_splits_is_a_split(tmp_path, save_image):
    """The scenes of Intel: seg_pred holds images without classes."""
    for name in ("seg_train/seg_train/sea/1.png", "seg_train/seg_train/ice/2.png", "seg_test/seg_test/sea/3.png"):
        save_image(tmp_path / name)
    save_image(tmp_path / "seg_pred/seg_pred/4.png")
    sets = load_dataset(str(tmp_path))
    assert {split: rows["label"][:] for split, rows in sets.items()} == {
        "train": [0, 1],
        "test": [1],
        "seg_pred": [None],
    }
    assert sets["train"].features["label"].names == ["ice", "sea"]


@pytest.mark.parametrize("image, drawn", [("DUTS/im_DUTS", "DUTS/gt"), ("a", "Ground Truth"), ("scans", "x/semantic")])
def test_masks_in_folders_of_any_name(tmp_path, save_image, image, drawn):
    (tmp_path / drawn).mkdir(parents=True)
    for name in "123":
        save_image(tmp_path / f"{image}/{name}.png")
        PIL.Image.fromarray(np.full((7, 9), int(name), np.uint8)).save(tmp_path / f"{drawn}/{name}.png")
    rows = load_dataset(str(tmp_path), split="train")
    assert len(rows) == 3 and set(rows.features) == {"image", "mask", "image_id"}


def test_splits_below_classes(tmp_path, save_image, caplog):
    for name in ("circle/train/1.png", "circle/test/2.png", "square/train/3.png"):
        save_image(tmp_path / name)
    sets = load_dataset(str(tmp_path))
    assert {split: rows["label"][:] for split, rows in sets.items()} == {"train": [0, 1], "test": [0]}
    assert sets["train"].features["label"].names == ["circle", "square"]
    assert "the splits test, train are below the class folders" in caplog.text


def test_a_split_without_classes_has_labels_of_none(tmp_path, save_image, caplog):
    for name in ("train/cat/1.png", "train/dog/2.png", "test/3.png"):
        save_image(tmp_path / name)
    sets = load_dataset(str(tmp_path))
    assert sets["train"]["label"][:] == [0, 1] and sets["test"]["label"][:] == [None]
    assert "no image of test is in a class folder: its labels are None" in caplog.text


READERS = bundled_layouts().keys()
MOVABLE = [
    target
    for target, example in EXAMPLES.items()
    if example.reader in READERS
    and any(Path(path).suffix in (".xml", ".txt", ".json", ".csv", ".jsonl") for path in example.make())
    and any(Path(path).suffix in (".png", ".jpg") for path in example.make())
]


def rows_of(folder):
    sets = load_dataset(str(folder), transform=None)
    return {split: (sorted(rows.features), len(rows)) for split, rows in sets.items()}


@pytest.mark.parametrize("target", MOVABLE)
def test_annotations_in_an_unknown_folder_are_never_lost(target, tmp_path):
    """Moved elsewhere, they are still read, or the answer is an error: never rows without them."""
    for path, content in EXAMPLES[target].make().items():
        (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / path).write_bytes(content)
    before = rows_of(tmp_path / "set")
    texts = [
        path for path in (tmp_path / "set").rglob("*") if path.suffix in (".xml", ".txt", ".json", ".csv", ".jsonl")
    ]
    for path in texts:
        moved = tmp_path / "set/zzz" / path.relative_to(tmp_path / "set")
        moved.parent.mkdir(parents=True, exist_ok=True)
        path.rename(moved)
    try:
        after = rows_of(tmp_path / "set")
    except DataError:
        return
    assert {columns for columns in map(str, after.values())} == {columns for columns in map(str, before.values())}


@pytest.mark.parametrize(
    "unit", ["0.5 ", "1.0 ", "1 ", "1,", "1 , ", " ", ". ", "a.b ", "1.5e5 ", "1.png ", "-1.5,", "1\t"]
)
@pytest.mark.parametrize("start", ["0 ", "", "a.jpg ", "x "])
def test_lines_that_fit_nothing_take_no_time(start, unit):
    """Each number could be matched in two ways, and so a long line in more ways than there are atoms."""
    began = time.process_time()
    kind_of((start + unit * 4000 + "!").encode(), ".txt")
    assert time.process_time() - began < 2
