"""`dataset-scripts info PATH`: what a folder is, without loading it."""

import json

import pytest

from dataset_scripts.core.look.folder import describe_folder

VOC = (
    "<annotation><filename>{name}</filename><size><width>9</width><height>7</height><depth>3</depth></size>"
    "<object><name>{label}</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object>"
    "</annotation>"
)


@pytest.fixture
def boxes(tmp_path, save_image):
    for split, label in (("train", "cat"), ("train", "dog"), ("val", "cat")):
        save_image(tmp_path / f"{split}/pictures/{label}.png")
        (tmp_path / f"{split}/boxes").mkdir(exist_ok=True)
        (tmp_path / f"{split}/boxes/{label}.xml").write_text(VOC.format(name=f"{label}.png", label=label))
    (tmp_path / "README.md").write_text("text")
    return tmp_path


@pytest.fixture
def info(root, run_processes):
    def run(*words):
        done = run_processes(1, root / "tests/workers/command.py", "info", *words, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_folder_that_is_understood(info, boxes):
    said = describe_folder(boxes)
    assert said["layout"] == "voc" and "3 of the images with an xml file" in said["evidence"]
    assert said["splits"] == {"train": 2, "validation": 1} and said["classes"] == ["cat", "dog"]
    assert said["columns"]["image"] == "image" and said["columns"]["objects"].startswith("{bbox, category")
    assert (said["fault"], said["left"], said["others"]) == (None, [], 1)
    status, output, _ = info(boxes)
    assert status == 0 and "split     train: 2 rows\n" in output and "classes   2: cat, dog\n" in output
    assert json.loads(info(boxes, "--json")[1]) == said


def test_a_folder_that_is_not(info, boxes, save_image):
    save_image(boxes / "figure.png")
    assert describe_folder(boxes)["fault"].startswith(f"{boxes}: 1 of 4 images have no annotation, such as figure.png")
    (boxes / "figure.png").unlink()
    said = describe_folder(boxes, layout="image_folder")
    assert said["left"] == [
        "3 xml files like VOC annotations in train/boxes/, val/boxes/ "
        "(train/boxes/cat.xml, train/boxes/dog.xml, val/boxes/cat.xml)"
    ]
    status, output, _ = info(boxes, "layout=image_folder")
    assert status == 1 and "left over 3 xml files like VOC annotations" in output
    assert info(boxes, "ignore=README.md")[0] == 0


def test_a_fault_and_files_that_are_left_over(info, boxes, save_image):
    """The fault hid what was left over, and each was found only when the other was mended."""
    save_image(boxes / "train/pictures/bare.png")
    (boxes / "codes.npy").write_bytes(b"x")
    said = describe_folder(boxes)
    assert said["fault"].startswith(f"{boxes}: 1 of 4 images have no annotation, such as train/pictures/bare.png")
    assert said["left"] == ["1 .npy files (codes.npy)"] and said["splits"] == {"train": 2, "validation": 1}
    status, output, _ = info(boxes)
    assert status == 1 and "left over 1 .npy files" in output and "\nfault     " in output


def test_the_evidence_is_said_once(info, boxes):
    _, output, errors = info(boxes, "ignore=*.md")
    assert output.count("3 of the images with an xml file") == 1 and "read as" not in errors
    assert errors.count("1 files are left out, as ignore=… says") == 1


def test_what_is_nothing(info, tmp_path):
    (tmp_path / "1.xml").write_text(VOC.format(name="1.jpg", label="cat"))
    said = describe_folder(tmp_path)
    assert said["layout"] is None and "holds no images, but xml files like VOC annotations" in said["fault"]
    status, _, errors = info(tmp_path / "nowhere")
    assert status == 2 and errors.startswith(f"dataset-scripts: there is no file or folder {tmp_path}/nowhere, and ")
    assert info("mnist")[0] == 0 and info("mnist", "layout=coco")[0] == 2
