"""Named sets of scenes with boxes, masks and captions: files in the published form against torchvision's readers."""

import json
import re
import shutil
import tarfile

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision
from torchvision.models.detection import FasterRCNN_MobileNet_V3_Large_FPN_Weights
from torchvision.transforms.functional import to_tensor

from dataset_scripts import DataError, load_dataset

RNG = np.random.default_rng(23)
CATEGORIES = FasterRCNN_MobileNet_V3_Large_FPN_Weights.DEFAULT.meta[
    "categories"
]  # of the published ids, with their gaps
COCO_NAMES = {number: name for number, name in enumerate(CATEGORIES) if name not in ("__background__", "N/A")}
VOC_NAMES = ["aeroplane", "person", "tvmonitor"]


def pack(path, folder, *names):
    """Files and folders of a folder as an archive, of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        shutil.make_archive(str(path.with_suffix("")), "zip", folder, *names)
        return
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name in names:
            archive.add(folder / name, name)


def random_box(width, height, scale=1.0):
    """x, y, width and height of a box in an image, in steps of `scale`."""
    x, y = RNG.integers(0, [width - 2, height - 2])
    size = RNG.integers(1, [width - x, height - y])
    return [round(float(number) * scale, 2) for number in (x, y, *size)]


@pytest.fixture
def coco(tmp_path, save_image):
    """The folders as they are unpacked, with all three kinds of annotations, and others beside them."""
    base = tmp_path / "coco"
    for split, first in (("train", 9), ("val", 139)):
        images, boxes, captions, people = [], [], [], []
        for number in range(first, first + 24, 4):
            width, height = (int(side) for side in RNG.integers(20, 50, 2))
            name = f"{number:012}.jpg"
            save_image(base / f"{split}2017" / name, (width, height))
            images.append({"license": 1, "file_name": name, "height": height, "width": width, "id": number})
            for word in RNG.permutation(["cat", "dog"]):
                captions.append({"image_id": number, "id": len(captions), "caption": f"A {word} by {number}. \n"})
            for _ in range(0 if len(images) == 3 else 3):
                x, y, w, h = box = random_box(width, height, 0.97)
                entry = {"image_id": number, "id": 7000 - len(boxes), "bbox": box, "area": w * h / 2, "iscrowd": 0}
                entry["category_id"] = int(RNG.choice(list(COCO_NAMES)))
                entry["segmentation"] = [[x, y, x + w, y, x + w, y + h]]
                points = RNG.integers(0, [width, height, 3], (17, 3)) * RNG.integers(0, 2, (17, 1))
                people.append(entry | {"category_id": 1, "keypoints": points.ravel().tolist(), "num_keypoints": 9})
                if len(boxes) % 4 == 1:
                    runs = RNG.multinomial(width * height, np.ones(5) / 5).tolist()
                    entry |= {"iscrowd": 1, "segmentation": {"counts": runs, "size": [height, width]}}
                boxes.append(entry)
        flat = [5.5, 8.25, 5.5, 8.25, 6.53, 8.25, 6.53, 8.25]  # two objects of the published training set have no area
        boxes[0] |= {"bbox": [5.5, 8.25, 1.03, 0.0], "area": 0.0, "segmentation": [flat]}
        categories = [{"supercategory": "any", "id": number, "name": name} for number, name in COCO_NAMES.items()]
        for name, found, named in (
            ("instances", boxes, categories),
            ("captions", captions, None),
            ("person_keypoints", people, categories[:1]),
            ("stuff", boxes, categories),
        ):
            content = {"info": {"year": 2017}, "licenses": [], "images": images, "annotations": found}
            path = base / f"annotations/{name}_{split}2017.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content if named is None else content | {"categories": named}))
    return base


@pytest.fixture
def coco_packed(coco, tmp_path):
    for split in ("train", "val"):
        pack(tmp_path / f"coco_packed/{split}2017.zip", coco, f"{split}2017")
    pack(tmp_path / "coco_packed/annotations_trainval2017.zip", coco, "annotations")
    return tmp_path / "coco_packed"


@pytest.mark.parametrize("form", ["coco", "coco_packed"])
@pytest.mark.parametrize(
    "config, file",
    [
        ("detection", "instances"),
        ("instances", "instances"),
        ("keypoints", "person_keypoints"),
        ("captions", "captions"),
    ],
)
def test_coco_2017(coco, request, assert_as_on_card, form, config, file):
    folder = request.getfixturevalue(form)
    sets = load_dataset("coco_2017", config, data_dir=str(folder))
    assert list(sets) == ["train", "validation"]
    assert_as_on_card("coco_2017", sets["train"], config)
    for ours, split in (("train", "train"), ("validation", "val")):
        reader = torchvision.datasets.CocoCaptions if config == "captions" else torchvision.datasets.CocoDetection
        theirs = reader(coco / f"{split}2017", coco / f"annotations/{file}_{split}2017.json")
        expected = dict(zip(theirs.ids, theirs))
        assert sets[ours]["image_id"][:] == list(theirs.coco.imgs) and len(expected) == 6
        for row in sets[ours]:
            image, told = expected[row["image_id"]]
            assert torch.equal(row["image"], to_tensor(image))
            if config == "captions":
                assert row["captions"] == [caption.strip() for caption in told] and len(told) == 2
                continue
            objects = row["objects"]
            names = sets[ours].features["objects"]["category"].feature.names
            assert names == list(COCO_NAMES.values())[: 1 if config == "keypoints" else None]
            assert [names[place] for place in objects["category"]] == [
                COCO_NAMES[thing["category_id"]] for thing in told
            ]
            boxes = np.reshape([thing["bbox"] for thing in told], (-1, 4))
            assert objects["bbox"].shape == boxes.shape and np.allclose(objects["bbox"], boxes, atol=1e-5)
            assert np.allclose(objects["area"], [thing["area"] for thing in told])
            assert list(objects["id"]) == [thing["id"] for thing in told]
            assert list(objects["iscrowd"]) == [thing["iscrowd"] for thing in told]
            if config == "keypoints" and told:
                points = np.dstack([objects["keypoints"], objects["visible"]])
                assert np.array_equal(points.reshape(len(told), -1), [thing["keypoints"] for thing in told])
            assert ("mask" in objects) == (config == "instances")
            for mask, thing in zip(objects.get("mask", ()), told):
                assert np.array_equal(mask, theirs.coco.annToMask(thing))


def test_coco_2017_of_one_split(coco_packed, tmp_path):
    (coco_packed / "train2017.zip").unlink()
    assert list(load_dataset("coco_2017", data_dir=str(coco_packed))) == ["validation"]
    (coco_packed / "val2017.zip").unlink()
    with pytest.raises(DataError, match="holds no images in train2017 or val2017"):
        load_dataset("coco_2017", data_dir=str(coco_packed))


def write_voc(base, year, splits, first, save_image):
    """A part of a development kit: images with xml files, some with masks, and the lists of both."""
    root = base / f"VOCdevkit/VOC{year}"
    for folder in ("Annotations", "ImageSets/Main", "ImageSets/Segmentation", "ImageSets/Layout"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split in splits:
        names = [f"{first + number:06}" for number in range(4)]
        first += 4
        for place, name in enumerate(names):
            width, height = (int(side) for side in RNG.integers(20, 50, 2))
            save_image(root / f"JPEGImages/{name}.jpg", (width, height))
            things = []
            for _ in range(place):
                x, y, w, h = map(int, random_box(width, height))
                sides = {"xmax": x + w, "xmin": x + 1, "ymax": y + h, "ymin": y + 1}  # some files have such an order
                box = "".join(f"<{side}>{number}</{side}>" for side, number in sides.items())
                marks = f"<truncated>{RNG.integers(2)}</truncated><difficult>{RNG.integers(2)}</difficult>"
                name_and_pose = f"<name>{RNG.choice(VOC_NAMES)}</name><pose>Left</pose>"
                things.append(f"<object>{name_and_pose}{marks}<bndbox>{box}</bndbox></object>")
            size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
            text = f"<annotation><filename>{name}.jpg</filename>{size}{''.join(things)}</annotation>"
            (root / f"Annotations/{name}.xml").write_text(text)
            for folder in ("SegmentationClass", "SegmentationObject") if place % 2 else ():
                mask = PIL.Image.fromarray(RNG.choice([0, 1, 15, 20, 255], (height, width)).astype(np.uint8), "P")
                mask.putpalette(RNG.integers(0, 256, 768, np.uint8).tobytes())
                (root / folder).mkdir(exist_ok=True)
                mask.save(root / folder / f"{name}.png")
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{name}\n" for name in names))
        (root / f"ImageSets/Main/person_{split}.txt").write_text("".join(f"{name} -1\n" for name in names))
        (root / f"ImageSets/Layout/{split}.txt").write_text(f"{names[0]}  1\n")
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"{name}\n" for name in names[1::2]))
    return root


@pytest.fixture
def voc(tmp_path, save_image):
    """The year 2007 in its two parts and 2012, unpacked into one folder, and the archives."""
    base = tmp_path / "voc"
    for archive, year, splits, first in (
        ("VOCtrainval_06-Nov-2007", "2007", ("train", "val"), 1),
        ("VOCtest_06-Nov-2007", "2007", ("test",), 20),
        ("VOCtrainval_11-May-2012", "2012", ("train", "val"), 40),
    ):
        write_voc(tmp_path / archive, year, splits, first, save_image)
        pack(tmp_path / f"voc_{year}_packed/{archive}.tar", tmp_path / archive, "VOCdevkit")
        shutil.copytree(tmp_path / archive, base, dirs_exist_ok=True)
    lists = base / "VOCdevkit/VOC2012/ImageSets"  # what others put there: a list without annotations, another's masks
    (lists / "Main/test.txt").write_text("000099\n")
    (lists / "Segmentation/trainaug.txt").write_text("000040\n")
    return base


@pytest.mark.parametrize("year", ["2007", "2012"])
@pytest.mark.parametrize("packed", [False, True])
def test_voc(voc, tmp_path, assert_as_on_card, year, packed):
    folder = tmp_path / f"voc_{year}_packed" if packed else voc / "VOCdevkit"
    parts = {"train": "train", "validation": "val"} | ({"test": "test"} if year == "2007" else {})
    boxes = load_dataset(f"voc_{year}", data_dir=str(folder))
    masks = load_dataset(f"voc_{year}", "segmentation", data_dir=str(folder))
    assert list(boxes) == list(masks) == list(parts)
    assert_as_on_card(f"voc_{year}", boxes["train"], "detection")
    assert_as_on_card(f"voc_{year}", masks["train"], "segmentation")
    names = boxes["train"].features["objects"]["category"].feature.names
    assert len(names) == 20 and set(VOC_NAMES) < set(names)
    count = 0
    for ours, split in parts.items():
        for row, (image, told) in zip(boxes[ours], torchvision.datasets.VOCDetection(voc, year, split), strict=True):
            assert (
                torch.equal(row["image"], to_tensor(image))
                and row["image_id"] + ".jpg" == told["annotation"]["filename"]
            )
            things, objects = told["annotation"]["object"], row["objects"]
            for place, thing in enumerate(things):
                x, y, x2, y2 = (int(thing["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax"))
                assert objects["bbox"][place].tolist() == [x - 1, y - 1, x2 - x + 1, y2 - y + 1]
                assert names[objects["category"][place]] == thing["name"]
                assert objects["difficult"][place] == (thing["difficult"] == "1")
                count += 1
            assert len(objects["bbox"]) == len(things)
        for row, (image, mask) in zip(masks[ours], torchvision.datasets.VOCSegmentation(voc, year, split), strict=True):
            assert torch.equal(row["image"], to_tensor(image)) and np.array_equal(row["mask"], np.asarray(mask))
            instances = PIL.Image.open(voc / f"VOCdevkit/VOC{year}/SegmentationObject/{row['image_id']}.png")
            assert np.array_equal(row["instance_mask"], np.asarray(instances))
    assert count == 6 * len(parts)


def test_voc_of_another_year_or_without_lists(voc):
    with pytest.raises(DataError, match="holds the years 2012: choose one with year=…"):
        load_dataset("voc_2007", data_dir=str(voc / "VOCdevkit/VOC2012"))
    shutil.rmtree(voc / "VOCdevkit/VOC2007")
    shutil.rmtree(voc / "VOCdevkit/VOC2012/ImageSets")
    with pytest.raises(DataError, match="holds no ImageSets/Segmentation/train.txt of VOC2012"):
        load_dataset("voc_2012", "segmentation", data_dir=str(voc))


@pytest.fixture
def wider(tmp_path, save_image):
    """The four folders as they are unpacked, one image without a face, and a face that runs over the border."""
    base = tmp_path / "wider/widerface"
    (base / "wider_face_split").mkdir(parents=True)
    for split in ("train", "val", "test"):
        lines = []
        for number in range(5):
            width, height = (int(side) for side in RNG.integers(20, 50, 2))
            name = f"{number % 2}--Parade/{number % 2}_Parade_marchingband_1_{number}.jpg"
            save_image(base / f"WIDER_{split}/images" / name, (width, height))
            lines.append(name)
            if split == "test":
                continue
            faces = [
                [*map(int, random_box(width, height)), *RNG.integers(0, [3, 2, 2, 2, 3, 2])] for _ in range(number)
            ]
            if number == 4:
                faces[0][:4] = [width - 5, -3, 9, 10]
            lines += [str(number), *(" ".join(map(str, face)) + " " for face in faces or [[0] * 10])]
        name = "test_filelist" if split == "test" else f"{split}_bbx_gt"
        (base / f"wider_face_split/wider_face_{name}.txt").write_text("\n".join(lines) + "\n")
    for name in ("WIDER_train", "WIDER_val", "WIDER_test", "wider_face_split"):
        pack(tmp_path / f"wider_packed/{name}.zip", base, name)
    return base


def test_wider_face(wider, tmp_path, assert_as_on_card):
    columns = ("blur", "expression", "illumination", "occlusion", "pose", "invalid")  # what torchvision calls them
    meant = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")  # what the readme of the lists says
    for folder in (wider, wider.parent, tmp_path / "wider_packed"):
        sets = load_dataset("wider_face", data_dir=str(folder))
        assert list(sets) == ["train", "validation", "test"]
        for ours, split in (("train", "train"), ("validation", "val"), ("test", "test")):
            theirs = torchvision.datasets.WIDERFace(wider.parent, split)
            for number, (row, (image, told)) in enumerate(zip(sets[ours], theirs, strict=True)):
                assert torch.equal(row["image"], to_tensor(image))
                assert row["image_id"] == f"{number % 2}--Parade/{number % 2}_Parade_marchingband_1_{number}"
                if split == "test":
                    assert told is None and row["objects"] is None
                    continue
                boxes = told["bbox"][:number]  # torchvision takes the line of zeros for a face
                if number == 4:
                    boxes[0] = torch.tensor([image.width - 5, 0, 5, 7])
                assert np.array_equal(row["objects"]["bbox"].reshape(-1, 4), boxes)
                assert list(row["objects"]["category"]) == [0] * number
                for name, column in zip(meant, columns):
                    assert list(row["objects"][name]) == told[column][:number].tolist()
    assert sets["train"].features["objects"]["occlusion"].feature.names == ["none", "partial", "heavy"]
    assert_as_on_card("wider_face", sets["train"])


@pytest.mark.parametrize(
    "old, new, message",
    [
        (r"\n4\n", "\nfour\n", r"_gt.txt, line \d+: four is not the number of faces that follow"),
        (r"\n4\n", "\n40\n", r"line \d+: 40 is not the number of faces that follow"),
        (r"\n0\n0 ", "\n0\n7 ", "line 2: a count of 0 needs a line of zeros after it"),
        (r"--Parade/1_", "--Parade/2_", r"line \d+: there is no image 1--Parade/2_Parade_marchingband_1_1.jpg"),
        (r"\n1\n\d+ ", "\n1\n", r"line 6: '.*' is not x, y, width, height and blur, .*, as whole numbers"),
        (r"\n1\n(\d+ \d+ \d+ \d+) \d", r"\n1\n\1 3", "line 6: blur is 3, not 0 to 2"),
        (r"\n1\n\d+ ", "\n1\n900 ", r"line 6: \[900, .*\] \(x, y, width, height\) reaches out of the image"),
        (
            r"\n1\n(\d+ \d+) ",
            r"\n1\n\1 -",
            r"line 6: \[.*, -\d+, .*\] \(x, y, width, height\) (is not a box in|reaches out of) the",
        ),
    ],
)
def test_wider_face_that_is_damaged(wider, old, new, message):
    path = wider / "wider_face_split/wider_face_train_bbx_gt.txt"
    text = path.read_text()
    assert re.search(old, text)
    path.write_text(re.sub(old, new, text))
    with pytest.raises(DataError, match=message):
        load_dataset("wider_face", data_dir=str(wider))


def test_wider_face_turned_by_exif(wider):
    """The box of a face stays on it: it was drawn on the pixels as stored."""
    path = wider / "WIDER_val/images/1--Parade/1_Parade_marchingband_1_1.jpg"
    pixels = RNG.integers(0, 256, (30, 50, 3), np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(pixels).save(path, exif=exif)
    lists = wider / "wider_face_split/wider_face_val_bbx_gt.txt"
    lists.write_text(re.sub(r"\n1\n\d+ \d+ \d+ \d+ ", "\n1\n7 11 20 5 ", lists.read_text()))
    row = load_dataset("wider_face", data_dir=str(wider), split="validation")[1]
    x, y, w, h = map(int, row["objects"]["bbox"][0])
    stored = to_tensor(PIL.Image.open(path))[:, 11:16, 7:27]
    assert torch.equal(row["image"][:, y : y + h, x : x + w], torch.rot90(stored, -1, (1, 2)))


def test_cppe5(tmp_path, save_image, assert_as_on_card):
    names = ["Coverall", "Face_Shield", "Gloves", "Goggles", "Mask"]
    base = tmp_path / "cppe5"
    (base / "annotations").mkdir(parents=True)
    cut = {}
    for split, first in (("train", 1), ("test", 7)):
        images, things = [], []
        for number in range(first, first + 5):
            width, height = (int(side) for side in RNG.integers(20, 50, 2))
            save_image(base / f"images/{number}.png", (width, height))
            images.append({"file_name": f"{number}.png", "height": height, "width": width, "id": number})
            for _ in range(2):
                things.append(
                    {
                        "id": len(things),
                        "image_id": number,
                        "bbox": random_box(width, height),
                        "area": 7,
                        "category_id": len(things) % 5 + 1,
                        "iscrowd": 0,
                        "segmentation": [],
                        "ignore": 0,
                    }
                )
            if number == first:
                things[-1]["bbox"] = [width - 4, height - 6, 9, 8]
                cut[split, number] = [width - 4, height - 6, 4, 6]
        categories = [{"supercategory": "none", "id": number, "name": name} for number, name in enumerate(names, 1)]
        content = {"images": images, "type": "instances", "annotations": things, "categories": categories}
        (base / f"annotations/{split}.json").write_text(json.dumps(content))
    pack(tmp_path / "packed/dataset.tar.gz", base, "annotations", "images")
    for folder in (base, tmp_path / "packed"):
        sets = load_dataset("cppe5", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
        assert list(sets) == ["train", "test"]
        assert_as_on_card("cppe5", sets["train"])
        for split, rows in sets.items():
            assert rows.features["objects"]["category"].feature.names == names
            theirs = torchvision.datasets.CocoDetection(base / "images", base / f"annotations/{split}.json")
            for row, (image, told) in zip(rows, theirs, strict=True):
                boxes = [thing["bbox"] for thing in told]
                boxes[1] = cut.get((split, row["image_id"]), boxes[1])
                assert torch.equal(row["image"], to_tensor(image)) and np.array_equal(row["objects"]["bbox"], boxes)
                assert [place + 1 for place in row["objects"]["category"]] == [thing["category_id"] for thing in told]


@pytest.fixture
def ade(tmp_path, save_image):
    base = tmp_path / "ade/ADEChallengeData2016"
    scenes = []
    for split, short in (("training", "train"), ("validation", "val")):
        for number in range(1, 5):
            name, size = f"ADE_{short}_{number:08}", tuple(int(side) for side in RNG.integers(20, 50, 2))
            save_image(base / f"images/{split}/{name}.jpg", size)
            mask = PIL.Image.fromarray(RNG.integers(0, 151, size[::-1], np.uint8))
            (base / f"annotations/{split}").mkdir(parents=True, exist_ok=True)
            mask.save(base / f"annotations/{split}/{name}.png")
            scenes.append(f"{name} {['street', 'airport_terminal', 'misc'][number % 3]}")
    (base / "sceneCategories.txt").write_text("\n".join(scenes) + "\n")
    classes = ["wall", "building, edifice", *(f"thing {number}, other name " for number in range(3, 151))]
    lines = [f"{number}{' ' * (number == 22)}\t0.1\t9\t2\t{name}" for number, name in enumerate(classes, 1)]
    (base / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tName", *lines]) + "\n")
    for number in (1, 2):
        save_image(tmp_path / f"ade/release_test/testing/ADE_test_{number:08}.jpg", (20 + number, 30))
    (tmp_path / "ade/release_test/list.txt").write_text("ADE_test_00000001.jpg\nADE_test_00000002.jpg\n")
    for name in ("ADEChallengeData2016", "release_test"):
        pack(tmp_path / f"ade_packed/{name}.zip", tmp_path / "ade", name)
    return base


def test_ade20k(ade, tmp_path):
    scenes = dict(line.split() for line in (ade / "sceneCategories.txt").read_text().splitlines())
    for folder in (ade.parent, tmp_path / "ade_packed"):
        sets = load_dataset("ade20k", data_dir=str(folder))
        assert {split: len(rows) for split, rows in sets.items()} == {"train": 4, "validation": 4, "test": 2}
        names = sets["train"].features["label"].names
        assert names == ["airport_terminal", "misc", "street"]
        for split, part in (("train", "training"), ("validation", "validation")):
            for row in sets[split]:
                image = PIL.Image.open(ade / f"images/{part}/{row['image_id']}.jpg")
                mask = PIL.Image.open(ade / f"annotations/{part}/{row['image_id']}.png")
                assert torch.equal(row["image"], to_tensor(image)) and np.array_equal(row["mask"], np.asarray(mask))
                assert names[row["label"]] == scenes[row["image_id"]]
        for row in sets["test"]:
            image = PIL.Image.open(ade.parent / f"release_test/testing/{row['image_id']}.jpg")
            assert torch.equal(row["image"], to_tensor(image)) and row["mask"] is row["label"] is None
        told = sets["train"].info.description
        assert "Ids of masks: 0 other, 1 wall, 2 building, 3 thing 3, " in told and told.endswith(", 150 thing 150.")
    assert list(load_dataset("ade20k", data_dir=str(ade))) == ["train", "validation"]


@pytest.mark.parametrize(
    "name, old, new, message",
    [
        (
            "sceneCategories.txt",
            "ADE_val_00000002 misc\n",
            "",
            "ADE_val_00000002.jpg has no line in sceneCategories.txt",
        ),
        (
            "sceneCategories.txt",
            " misc\n",
            "\n",
            "sceneCategories.txt, line 2: 'ADE_train_00000002' is not the name of an",
        ),
        (
            "objectInfo150.txt",
            "\n2\t",
            "\n3\t",
            "objectInfo150.txt, line 3: .* is not the class 2 with its name in the",
        ),
    ],
)
def test_ade20k_that_is_damaged(ade, name, old, new, message):
    text = (ade / name).read_text()
    assert old in text
    (ade / name).write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        load_dataset("ade20k", data_dir=str(ade))
