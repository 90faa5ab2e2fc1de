"""PASCAL VOC against torchvision's readers."""

import re
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision

from dataset_scripts import DataError, load_dataset
from dataset_scripts.layouts.voc.voc import CLASSES

BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


def box_of(rng, width, height):
    (x, x2), (y, y2) = np.sort(rng.integers(1, width + 1, 2)), np.sort(rng.integers(1, height + 1, 2))
    return BOX.format(x, y, x2, y2)


def annotation(rng, name, width, height):
    """An xml file with up to three objects, one with parts."""
    objects = ""
    for number in range(rng.integers(0, 4)):
        part = f"<part><name>head</name>{box_of(rng, width, height)}</part>" if number == 1 else ""
        objects += (
            f"<object><name>{rng.choice(CLASSES)}</name><pose>Left</pose><truncated>{rng.integers(2)}</truncated>"
            f"<difficult>{rng.integers(2)}</difficult>{box_of(rng, width, height)}{part}</object>\n"
        )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>\n<folder>VOC2012</folder><filename>{name}.jpg</filename>\n{size}\n{objects}</annotation>\n"


def palette_image(pixels):
    image = PIL.Image.fromarray(pixels, "P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    return image


@pytest.fixture
def voc(tmp_path, save_image):
    """VOCdevkit/VOC2012 with lists for both tasks."""
    rng = np.random.default_rng(14)
    root = tmp_path / "VOCdevkit/VOC2012"
    for folder in (
        "Annotations",
        "SegmentationClass",
        "SegmentationObject",
        "ImageSets/Main",
        "ImageSets/Segmentation",
    ):
        (root / folder).mkdir(parents=True)
    names = [f"2007_{number:06}" for number in range(12)]
    for number, name in enumerate(names):
        width, height = (int(side) for side in rng.integers(20, 50, 2))
        save_image(root / "JPEGImages" / f"{name}.jpg", (width, height))
        (root / f"Annotations/{name}.xml").write_text(annotation(rng, name, width, height))
        if number % 2 == 0:
            for folder in ("SegmentationClass", "SegmentationObject"):
                ids = rng.choice([0, 1, 7, 20, 255], (height, width)).astype(np.uint8)
                palette_image(ids).save(root / folder / f"{name}.png")
    for task, listed in (("Main", names), ("Segmentation", names[::2])):
        half = len(listed) * 2 // 3
        for split, part in (("train", listed[:half]), ("val", listed[half:]), ("trainval", listed)):
            (root / f"ImageSets/{task}/{split}.txt").write_text("".join(f"{name}\n" for name in part))
    for split in ("train", "val"):
        lines = (root / f"ImageSets/Main/{split}.txt").read_text().split()
        (root / f"ImageSets/Main/aeroplane_{split}.txt").write_text(
            "".join(f"{name} {(-1) ** k: d}\n" for k, name in enumerate(lines))
        )
    return root


def test_detection_equals_torchvision(voc, tmp_path, caplog):
    sets = load_dataset(str(voc))
    assert (
        "read as voc (12 image files, 12 xml files, 6 mask files, 6 instance mask files, with JPEGImages)"
        in caplog.text
    )
    assert list(sets) == ["train", "validation"]
    names = sets["train"].features["objects"]["category"].feature.names
    assert names == CLASSES
    parts = 0
    for ours, theirs in (("train", "train"), ("validation", "val")):
        expected = torchvision.datasets.VOCDetection(tmp_path, "2012", theirs)
        for row, (image, told) in zip(sets[ours], expected, strict=True):
            assert torch.equal(row["image"], torchvision.transforms.functional.to_tensor(image))
            objects = told["annotation"].get("object", [])
            assert row["image_id"] + ".jpg" == told["annotation"]["filename"] and len(row["objects"]["bbox"]) == len(
                objects
            )
            for place, thing in enumerate(objects):
                x, y, x2, y2 = (int(thing["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax"))
                assert row["objects"]["bbox"][place].tolist() == [x - 1, y - 1, x2 - x + 1, y2 - y + 1]
                assert (
                    names[row["objects"]["category"][place]] == thing["name"]
                    and row["objects"]["pose"][place] == "Left"
                )
                for mark in ("difficult", "truncated"):
                    assert row["objects"][mark][place] == bool(int(thing[mark]))
                told_parts = thing.get("part", [])
                told_parts = [told_parts] if isinstance(told_parts, dict) else told_parts
                for part, told_part in zip(row["objects"]["parts"][place], told_parts, strict=True):
                    x, y, x2, y2 = (int(told_part["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax"))
                    assert part["name"] == "head" and list(part["bbox"]) == [x - 1, y - 1, x2 - x + 1, y2 - y + 1]
                    parts += 1
    assert parts


def test_segmentation_equals_torchvision(voc, tmp_path):
    sets = load_dataset("voc", "segmentation", data_dir=str(voc))
    for ours, theirs in (("train", "train"), ("validation", "val")):
        expected = torchvision.datasets.VOCSegmentation(tmp_path, "2012", theirs)
        for row, (image, mask) in zip(sets[ours], expected, strict=True):
            assert torch.equal(row["image"], torchvision.transforms.functional.to_tensor(image))
            assert np.array_equal(row["mask"], np.asarray(mask)) and row["mask"].max() == 255
            instances = PIL.Image.open(voc / f"SegmentationObject/{row['image_id']}.png")
            assert np.array_equal(row["instance_mask"], np.asarray(instances))


def test_years_and_the_prefix_of_2011(voc, tmp_path):
    shutil.copytree(voc, voc.parent / "VOC2007")
    (voc.parent / "VOC2007/ImageSets/Main/train.txt").write_text("2007_000003\n")
    with pytest.raises(DataError, match="holds the years 2007, 2012: choose one with year=…"):
        load_dataset("voc", data_dir=str(voc.parent))
    rows = load_dataset("voc", data_dir=str(voc.parent), year=2007, split="train")
    assert [row["image_id"] for row in rows] == ["2007_000003"]
    (tmp_path / "TrainVal").mkdir()
    shutil.rmtree(voc.parent / "VOC2007")
    whole = load_dataset(str(voc))
    voc.parent.rename(tmp_path / "TrainVal/VOCdevkit")
    again = load_dataset(str(tmp_path / "TrainVal"))
    assert {split: rows["image_id"][:] for split, rows in whole.items()} == {
        split: rows["image_id"][:] for split, rows in again.items()
    }


def test_without_lists(tmp_path, save_image):
    rng = np.random.default_rng(3)
    for split in ("train", "valid"):
        for number in range(3):
            save_image(tmp_path / split / f"{number}.png", (30, 20))
            text = annotation(rng, str(number), 30, 20).replace(
                "</annotation>", f"<object><name>robot</name>{BOX.format(1, 1, 9, 9)}</object></annotation>"
            )
            (tmp_path / split / f"{number}.xml").write_text(text)
    sets = load_dataset(str(tmp_path))
    assert {split: len(rows) for split, rows in sets.items()} == {"train": 3, "validation": 3}
    names = sets["train"].features["objects"]["category"].feature.names
    assert "robot" in names and names == sorted(names)
    edges = load_dataset("voc", data_dir=str(tmp_path), one_based=False, split="train")
    assert edges[0]["objects"]["bbox"][-1].tolist() == [1, 1, 8, 8]


def test_streaming_num_proc_and_zip(voc, tmp_path):
    whole = load_dataset(str(voc), split="train", transform=None)
    shutil.make_archive(str(tmp_path / "packed"), "zip", voc.parent)
    for other in (
        load_dataset(str(voc), split="train", transform=None, streaming=True),
        load_dataset(str(voc), split="train", transform=None, num_proc=2, cache_dir=str(tmp_path / "two")),
        load_dataset(str(tmp_path / "packed.zip"), split="train", transform=None),
    ):
        for row, same in zip(whole, other, strict=True):
            assert np.array_equal(row.pop("image"), same.pop("image")) and row == same


@pytest.mark.parametrize("orientation", [6, 8])
def test_boxes_turn_with_the_image(tmp_path, orientation):
    stored = np.zeros((20, 36, 3), np.uint8)
    stored[3:9, 5:16] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "JPEGImages").mkdir()
    PIL.Image.fromarray(stored).save(tmp_path / "JPEGImages/1.png", exif=exif)
    (tmp_path / "Annotations").mkdir()
    size = "<size><width>36</width><height>20</height></size>"
    (tmp_path / "Annotations/1.xml").write_text(
        f"<annotation>{size}<object><name>x</name>{BOX.format(6, 4, 16, 9)}</object></annotation>"
    )
    row = load_dataset(str(tmp_path), split="train")[0]
    x, y, width, height = row["objects"]["bbox"][0].int().tolist()
    inside = torch.zeros(36, 20, dtype=torch.bool)
    inside[y : y + height, x : x + width] = True
    assert torch.equal(row["image"][0] == 1, inside)


def test_masks_turn_with_the_image(tmp_path):
    rng = np.random.default_rng(8)
    stored = np.arange(20 * 36, dtype=np.uint16)
    # No two pixels are alike.
    stored = np.stack([stored // 256, stored % 256, 0 * stored], -1).reshape(20, 36, 3).astype(np.uint8)
    ids = rng.integers(0, 21, (20, 36), np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    for folder in ("JPEGImages", "SegmentationClass"):
        (tmp_path / folder).mkdir()
    PIL.Image.fromarray(stored).save(tmp_path / "JPEGImages/1.png", exif=exif)
    palette_image(ids).save(tmp_path / "SegmentationClass/1.png")
    row = load_dataset(str(tmp_path), split="train")[0]
    pixels = (row["image"] * 255).round().int()
    assert row["mask"].shape == (36, 20) and np.array_equal(row["mask"], ids.ravel()[pixels[0] * 256 + pixels[1]])
    PIL.Image.fromarray(stored).save(tmp_path / "SegmentationClass/1.png")
    with pytest.raises(DataError, match="SegmentationClass/1.png holds colours, not ids: pass colors="):
        load_dataset(str(tmp_path))
    PIL.Image.fromarray(np.repeat(ids[:, :, None], 3, 2)).save(tmp_path / "SegmentationClass/1.png")  # grey, as RGB
    assert torch.equal(load_dataset(str(tmp_path), split="train")[0]["mask"], row["mask"])
    palette_image(ids[:9]).save(tmp_path / "SegmentationClass/1.png")
    with pytest.raises(DataError, match="SegmentationClass/1.png has 36 x 9 pixels, but its image has 20 x 36"):
        load_dataset(str(tmp_path))


def test_images_without_objects_have_lists_of_the_same_types(voc):
    rows = load_dataset(str(voc), split="train")
    filled = next(row["objects"] for row in rows if len(row["objects"]["bbox"]) > 1)
    bare = next(row["objects"] for row in rows if not len(row["objects"]["bbox"]))
    assert list(bare) == list(filled)
    for name, values in filled.items():
        assert type(bare[name]) is type(values) and len(bare[name]) == 0, name
        if isinstance(values, torch.Tensor):
            assert bare[name].dtype == values.dtype and bare[name].shape[1:] == values.shape[1:], name
    assert {name: values.dtype for name, values in bare.items() if isinstance(values, torch.Tensor)} == {
        "bbox": torch.float32,
        "category": torch.int64,
        "difficult": torch.bool,
        "truncated": torch.bool,
        "occluded": torch.bool,
    }
    assert bare["pose"] == bare["parts"] == []


def test_lists_of_other_tools(voc, caplog):
    main = voc / "ImageSets/Main"
    for path in main.glob("*"):
        path.unlink()
    (main / "default.txt").write_bytes(b"\xef\xbb\xbf2007_000001.jpg\r\n2007_000002.jpg\r\n")
    (main / "test.txt").write_text("2007_000003\n")
    (voc / "Annotations/2007_000003.xml").unlink()
    sets = load_dataset(str(voc))
    assert {split: rows["image_id"][:] for split, rows in sets.items()} == {
        "train": ["2007_000001", "2007_000002"],
        "test": ["2007_000003"],
    }
    assert sets["test"][0]["objects"] is None and "no image of test has an annotation: theirs are None" in caplog.text
    assert "9 images are in no list, such as" in caplog.text
    (main / "trainval.txt").write_text("2007_000001\n")
    assert list(load_dataset(str(voc))) == ["train", "test", "trainval"]
    (main / "test.txt").write_text("../../../secret\n")
    with pytest.raises(DataError, match="test.txt, line 1: there is no image ../../../secret"):
        load_dataset(str(voc))


def test_the_name_in_the_xml_is_not_followed(tmp_path, save_image):
    pixels = save_image(tmp_path / "set/JPEGImages/1.png")
    save_image(tmp_path / "secret.png")
    (tmp_path / "set/Annotations").mkdir()
    (tmp_path / "set/Annotations/1.xml").write_text("<annotation><filename>../../secret.png</filename></annotation>")
    row = load_dataset(str(tmp_path / "set"), split="train", transform=None)[0]
    assert np.array_equal(row["image"], pixels)


def replace(path, old, new):
    path.write_text(path.read_text().replace(old, new, 1))


FIRST = "2007_000001"
OBJECT = f"<object><name>cat</name>{BOX.format(1, 1, 5, 5)}</object></annotation>"
CHANGES = {
    "cut off": (lambda root, xml: xml.write_text(xml.read_text()[:-9]), rf"{FIRST}.xml cannot be read as xml"),
    "entities": (
        lambda root, xml: xml.write_text('<!DOCTYPE x [<!ENTITY a "b">]><annotation>&a;</annotation>'),
        rf"{FIRST}.xml cannot be read as xml",
    ),
    "empty": (lambda root, xml: xml.write_text(""), rf"^\S+/Annotations/{FIRST}.xml is empty$"),
    "other root": (lambda root, xml: xml.write_text("<html></html>"), rf"{FIRST}.xml holds <html>"),
    "no box": (
        lambda root, xml: replace(xml, "</annotation>", "<object><name>cat</name></object></annotation>"),
        r"object \d+ \(cat\) has no bndbox",
    ),
    "no number": (
        lambda root, xml: replace(xml, "</annotation>", OBJECT.replace("<xmin>1", "<xmin>one")),
        "xmin is 'one', not a number",
    ),
    "outside": (
        lambda root, xml: replace(xml, "</annotation>", OBJECT.replace("<xmax>5", "<xmax>500")),
        "reaches out of the image",
    ),
    "size": (lambda root, xml: replace(xml, "<width>", "<width>9"), "but the image has"),
    "mark": (
        lambda root, xml: replace(xml, "</annotation>", OBJECT.replace("<bndbox>", "<difficult>7</difficult><bndbox>")),
        "difficult is '7'",
    ),
    "no image": (
        lambda root, xml: (root / f"JPEGImages/{FIRST}.jpg").unlink(),
        rf"train.txt, line 2: there is no image {FIRST}",
    ),
    "no xml": (lambda root, xml: xml.unlink(), rf"train.txt, line 2: {FIRST} has no xml file"),
    "twice": (
        lambda root, xml: replace(root / "ImageSets/Main/train.txt", f"{FIRST}\n", f"{FIRST}\n2007_000000\n"),
        "train.txt, line 3: 2007_000000 is listed twice",
    ),
    "two stems": (
        lambda root, xml: shutil.copy(root / f"JPEGImages/{FIRST}.jpg", root / f"JPEGImages/{FIRST}.png"),
        rf"{FIRST} may be JPEGImages/{FIRST}.jpg or",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_faults(voc, what, caplog):
    change, message = CHANGES[what]
    whole = len(load_dataset(str(voc), split="train"))
    change(voc, voc / f"Annotations/{FIRST}.xml")
    with pytest.raises(DataError, match=message):
        load_dataset(str(voc))
    rows = load_dataset(str(voc), split="train", on_error="skip")
    assert len(rows) == whole - (what != "twice") and "1 skipped, such as:" in caplog.text
    assert re.search(message.strip("^$"), caplog.text)


def test_given_classes(voc):
    with pytest.raises(DataError, match=r"object \d+ \(\w+\): it is not one of the classes cat, dog"):
        load_dataset("voc", data_dir=str(voc), classes=["cat", "dog"])
    assert (
        load_dataset("voc", data_dir=str(voc), classes=CLASSES[::-1], split="train")
        .features["objects"]["category"]
        .feature.names
        == CLASSES[::-1]
    )


def test_the_example_of_the_card(voc, root):
    example = re.findall(
        r"```python\n(.*?)```", (root / "dataset_scripts/layouts/voc/README.md").read_text(), re.DOTALL
    )[1]
    scope = {}
    exec(
        example.replace("path/to/VOC2012", str(voc)).replace(
            "ds[0]", "next(row for row in ds if len(row['objects']['bbox']))"
        ),
        scope,
    )
    assert scope["picture"].shape == scope["row"]["image"].shape and not torch.equal(
        scope["picture"], scope["row"]["image"]
    )


HOSTILE = {  # the content of some 10 MB of xml -> message
    "nested": (b"<annotation>" + b"<a>" * 3_300_000, "nested deeper than 32"),
    "elements": (b"<annotation>" + b"<a/>" * 2_500_000 + b"</annotation>", "more than 200,000 elements"),
    "attributes": (
        b"<annotation " + b" ".join(b'a%d=""' % n for n in range(900_000)) + b"/>",
        "more than 200,000 attributes",
    ),
    "utf-16": (("<annotation>" + "<a/>" * 1_300_000 + "</annotation>").encode("utf-16"), "more than 200,000 elements"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_xml_of_very_many_elements_takes_little_memory(tmp_path, name):
    content, message = HOSTILE[name]
    (tmp_path / "a.xml").write_bytes(content)
    code = f"""
import resource
from dataset_scripts import DataError
from dataset_scripts.core.files.listing import Files
from dataset_scripts.layouts.voc.annotation import survey
files = Files.of({str(tmp_path)!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    survey(files, "a.xml")
except DataError as error:
    print(error, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, sep="|")
"""
    said, memory = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split("|")
    assert re.search(f"a.xml cannot be read as xml: .*{message}", said) and int(memory) < 150 << 10
