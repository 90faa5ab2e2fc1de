"""Named sets of scenes with boxes, masks and captions: files in the published form against torchvision's readers."""

import json
import re
import shutil

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision
from published_set import PublishedSetCase, pack, write_file, write_image
from torchvision.models.detection import FasterRCNN_MobileNet_V3_Large_FPN_Weights
from torchvision.transforms.functional import to_tensor

from dataset_scripts import load_dataset
from dataset_scripts.core.builders import published

CATEGORIES = FasterRCNN_MobileNet_V3_Large_FPN_Weights.DEFAULT.meta[
    "categories"
]  # of the published ids, with their gaps
COCO_NAMES = {number: name for number, name in enumerate(CATEGORIES) if name not in ("__background__", "N/A")}
THREE = {"train": "train", "validation": "val", "test": "test"}


def random_size(rng):
    return tuple(int(side) for side in rng.integers(20, 50, 2))


def random_box(rng, width, height, scale=1.0):
    """x, y, width and height of a box in an image, in steps of `scale`."""
    x, y = rng.integers(0, [width - 2, height - 2])
    size = rng.integers(1, [width - x, height - y])
    return [round(float(number) * scale, 2) for number in (x, y, *size)]


class TestCoco2017(PublishedSetCase):
    """All kinds of annotations, of images with and without objects."""

    name = "coco_2017"
    configs = ("detection", "instances", "keypoints", "captions")
    splits = {"train": "train", "validation": "val"}
    forms = ("published", "coco")
    parts = {"train": ["train2017.zip"], "validation": ["val2017.zip"]}

    def write(self, folder, rng):
        base = folder / "coco"
        for split, first in (("train", 9), ("val", 139)):
            images, boxes, captions, people = [], [], [], []
            for number in range(first, first + 24, 4):
                width, height = random_size(rng)
                name = f"{number:012}.jpg"
                write_image(base / f"{split}2017" / name, rng, width, height)
                images.append({"license": 1, "file_name": name, "height": height, "width": width, "id": number})
                for word in rng.permutation(["cat", "dog"]):
                    captions.append({"image_id": number, "id": len(captions), "caption": f"A {word} by {number}. \n"})
                for _ in range(0 if len(images) == 3 else 3):
                    entry = self.thing(rng, width, height, len(boxes)) | {"image_id": number}
                    points = rng.integers(0, [width, height, 3], (17, 3)) * rng.integers(0, 2, (17, 1))
                    person = {"category_id": 1, "keypoints": points.ravel().tolist(), "num_keypoints": 9}
                    people.append(entry | {"iscrowd": 0} | person)
                    boxes.append(entry)
            flat = [5.5, 8.25, 5.5, 8.25, 6.53, 8.25, 6.53, 8.25]  # two objects of the training set have no area
            boxes[0] |= {"bbox": [5.5, 8.25, 1.03, 0.0], "area": 0.0, "segmentation": [flat]}
            categories = [{"supercategory": "any", "id": number, "name": name} for number, name in COCO_NAMES.items()]
            for name, found, more in (
                ("instances", boxes, {"categories": categories}),
                ("captions", captions, {}),
                ("person_keypoints", people, {"categories": categories[:1]}),
                ("stuff", boxes, {"categories": categories}),
            ):
                content = {"info": {"year": 2017}, "licenses": [], "images": images, "annotations": found} | more
                write_file(base / f"annotations/{name}_{split}2017.json", json.dumps(content))
            pack(folder / f"published/{split}2017.zip", base, f"{split}2017")
        pack(folder / "published/annotations_trainval2017.zip", base, "annotations")

    def thing(self, rng, width, height, number):
        """An object, some of which are crowds with a mask."""
        x, y, w, h = box = random_box(rng, width, height, 0.97)
        thing = {"id": 7000 - number, "bbox": box, "area": w * h / 2, "iscrowd": 0}
        thing["category_id"] = int(rng.choice(list(COCO_NAMES)))
        thing["segmentation"] = [[x, y, x + w, y, x + w, y + h]]
        if number % 4 == 1:
            runs = rng.multinomial(width * height, np.ones(5) / 5).tolist()
            thing |= {"iscrowd": 1, "segmentation": {"counts": runs, "size": [height, width]}}
        return thing

    def expected(self, folder, part):
        captions = self.config == "captions"
        reader = torchvision.datasets.CocoCaptions if captions else torchvision.datasets.CocoDetection
        file = {"detection": "instances", "keypoints": "person_keypoints"}.get(self.config, self.config)
        theirs = reader(folder / f"coco/{part}2017", folder / f"coco/annotations/{file}_{part}2017.json")
        assert list(theirs.coco.imgs) == theirs.ids and len(theirs) == 6
        rows = []
        for number, (image, told) in zip(theirs.ids, theirs):
            assert len(told) == 2 or not captions
            column = (
                {"captions": [text.strip() for text in told]}
                if captions
                else {"objects": self.objects(theirs, image, told)}
            )
            rows.append({"image": image, "image_id": number} | column)
        return rows

    def objects(self, theirs, image, told):
        objects = {
            "bbox": np.reshape([thing["bbox"] for thing in told], (-1, 4)),
            "category": [COCO_NAMES[thing["category_id"]] for thing in told],
            "area": np.array([thing["area"] for thing in told]),
            "iscrowd": [thing["iscrowd"] for thing in told],
            "id": [thing["id"] for thing in told],
        }
        if self.config == "instances":
            masks = [theirs.coco.annToMask(thing) for thing in told]
            objects["mask"] = np.reshape(masks, (len(told), image.height, image.width))
        if self.config == "keypoints":
            points = np.reshape([thing["keypoints"] for thing in told], (len(told), 17 if told else 0, 3))
            objects |= {"keypoints": points[..., :2], "visible": points[..., 2]}
        return objects

    def classes(self, folder):
        if self.config != "captions":
            return list(COCO_NAMES.values())[: 1 if self.config == "keypoints" else None]

    def test_one_split_alone(self, folder):
        (folder / "published/train2017.zip").unlink()
        assert list(self.load(folder / "published")) == ["validation"]
        (folder / "published/annotations_trainval2017.zip").unlink()
        message = "no instances_val2017.json, which the split validation needs: it is in annotations_trainval2017.zip"
        self.assert_refused(folder / "published", message)
        (folder / "published/val2017.zip").unlink()
        self.assert_refused(
            folder / "published",
            "holds no train2017.zip, neither as a file nor in an archive: the split train needs it",
        )


class VocCase(PublishedSetCase):
    """A year of the development kit, unpacked into one folder with the other year, and its archives."""

    configs = ("detection", "segmentation")
    forms = ("published", "VOCdevkit")
    parts = {split: [f"VOC20*/ImageSets/*/{name}.txt"] for split, name in THREE.items()}
    loose = "VOCdevkit"
    words = ["aeroplane", "person", "tvmonitor"]

    def write(self, folder, rng):
        for archive, year, splits, first in (
            ("VOCtrainval_06-Nov-2007", "2007", ("train", "val"), 1),
            ("VOCtest_06-Nov-2007", "2007", ("test",), 20),
            ("VOCtrainval_11-May-2012", "2012", ("train", "val"), 40),
        ):
            self.write_part(folder / archive, rng, year, splits, first)
            if year == self.year:
                pack(folder / f"published/{archive}.tar", folder / archive, "VOCdevkit")
            shutil.copytree(folder / archive, folder, dirs_exist_ok=True)
        lists = folder / "VOCdevkit/VOC2012/ImageSets"  # what others put there: a list without annotations, other masks
        write_file(lists / "Main/test.txt", "000099\n")
        write_file(lists / "Segmentation/trainaug.txt", "000040\n")

    def write_part(self, base, rng, year, splits, first):
        """A part of a development kit: images with xml files, some with masks, and the lists of both."""
        root = base / f"VOCdevkit/VOC{year}"
        for folder in ("Annotations", "ImageSets/Main", "ImageSets/Segmentation", "ImageSets/Layout"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for split in splits:
            names = [f"{first + number:06}" for number in range(4)]
            first += 4
            for place, name in enumerate(names):
                width, height = (int(side) for side in rng.integers(20, 50, 2))
                write_image(root / f"JPEGImages/{name}.jpg", rng, width, height)
                things = []
                for _ in range(place):
                    x, y, w, h = map(int, random_box(rng, width, height))
                    sides = {
                        "xmax": x + w,
                        "xmin": x + 1,
                        "ymax": y + h,
                        "ymin": y + 1,
                    }  # some files have such an order
                    box = "".join(f"<{side}>{number}</{side}>" for side, number in sides.items())
                    marks = f"<truncated>{rng.integers(2)}</truncated><difficult>{rng.integers(2)}</difficult>"
                    name_and_pose = f"<name>{rng.choice(self.words)}</name><pose>Left</pose>"
                    things.append(f"<object>{name_and_pose}{marks}<bndbox>{box}</bndbox></object>")
                size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
                text = f"<annotation><filename>{name}.jpg</filename>{size}{''.join(things)}</annotation>"
                (root / f"Annotations/{name}.xml").write_text(text)
                for folder in ("SegmentationClass", "SegmentationObject") if place % 2 else ():
                    mask = PIL.Image.fromarray(rng.choice([0, 1, 15, 20, 255], (height, width)).astype(np.uint8), "P")
                    mask.putpalette(rng.integers(0, 256, 768, np.uint8).tobytes())
                    (root / folder).mkdir(exist_ok=True)
                    mask.save(root / folder / f"{name}.png")
            (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{name}\n" for name in names))
            (root / f"ImageSets/Main/person_{split}.txt").write_text("".join(f"{name} -1\n" for name in names))
            (root / f"ImageSets/Layout/{split}.txt").write_text(f"{names[0]}  1\n")
            (root / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"{name}\n" for name in names[1::2]))

    def expected(self, folder, part):
        if self.config == "detection":
            theirs = torchvision.datasets.VOCDetection(folder, self.year, part)
            return [self.boxes(image, told["annotation"]) for image, told in theirs]
        theirs = torchvision.datasets.VOCSegmentation(folder, self.year, part)
        rows = []
        for path, (image, mask) in zip(theirs.images, theirs):
            name = path.rpartition("/")[2].removesuffix(".jpg")
            objects = PIL.Image.open(folder / f"VOCdevkit/VOC{self.year}/SegmentationObject/{name}.png")
            masks = {"mask": np.asarray(mask), "instance_mask": np.asarray(objects)}
            rows.append({"image": image, "image_id": name} | masks)
        return rows

    def boxes(self, image, told):
        things = told["object"]
        boxes = [[int(thing["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax")] for thing in things]
        objects = {
            "bbox": np.reshape([[x - 1, y - 1, x2 - x + 1, y2 - y + 1] for x, y, x2, y2 in boxes], (-1, 4)),
            "category": [thing["name"] for thing in things],
            "difficult": [thing["difficult"] == "1" for thing in things],
            "truncated": [thing["truncated"] == "1" for thing in things],
            "occluded": [False for _ in things],
            "pose": [thing["pose"] for thing in things],
            "parts": [[] for _ in things],
        }
        return {"image": image, "image_id": told["filename"].removesuffix(".jpg"), "objects": objects}

    def test_six_objects_in_a_split(self, folder):
        for part in self.splits.values():
            assert sum(len(row["objects"]["category"]) for row in self.expected(folder, part)) == 6

    def test_twenty_classes(self, folder):
        names = self.load(folder / "published")["train"].features["objects"]["category"].feature.names
        assert len(names) == 20 and set(self.words) < set(names)


class TestVoc2007(VocCase):
    name = "voc_2007"
    year = "2007"
    splits = THREE

    def test_a_folder_of_another_year(self, folder):
        self.assert_refused(folder / "VOCdevkit/VOC2012", "holds the years 2012: choose one with year=…")


class TestVoc2012(VocCase):
    name = "voc_2012"
    year = "2012"
    splits = {"train": "train", "validation": "val"}

    def test_downloaded_after_the_other_year(self, folder, monkeypatch):
        monkeypatch.setattr(published, "download_all", lambda *_: folder / "VOCdevkit")
        load_dataset("voc_2007", "detection", cache_dir=str(folder / "cache"))
        rows = self.load(None, split="train", cache_dir=str(folder / "cache"))
        self.assert_rows(rows, self.expected(folder, "train"))

    def test_without_lists(self, folder):
        shutil.rmtree(folder / "VOCdevkit/VOC2007")
        shutil.rmtree(folder / "VOCdevkit/VOC2012/ImageSets")
        self.config = "segmentation"
        self.assert_refused(folder / "VOCdevkit", "holds no ImageSets/Segmentation/train.txt, neither as")


class TestWiderFace(PublishedSetCase):
    """One image without a face, and a face that runs over the border; the test split has no boxes."""

    name = "wider_face"
    splits = THREE
    parts = {split: [f"WIDER_{name}.zip"] for split, name in THREE.items()}
    forms = ("published", "unpacked/widerface", "unpacked")
    columns = ("blur", "expression", "illumination", "occlusion", "pose", "invalid")  # what torchvision calls them
    meant = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")  # what the readme of the lists says

    def write(self, folder, rng):
        base = folder / "unpacked/widerface"
        for split in self.splits.values():
            lines = []
            for number in range(5):
                width, height = random_size(rng)
                name = f"{number % 2}--Parade/{number % 2}_Parade_marchingband_1_{number}.jpg"
                write_image(base / f"WIDER_{split}/images" / name, rng, width, height)
                lines.append(name)
                if split == "test":
                    continue
                marks = [0, [3, 2, 2, 2, 3, 2]]
                faces = [[*map(int, random_box(rng, width, height)), *rng.integers(*marks)] for _ in range(number)]
                if number == 4:
                    faces[0][:4] = [width - 5, -3, 9, 10]
                lines += [str(number), *(" ".join(map(str, face)) + " " for face in faces or [[0] * 10])]
            name = "test_filelist" if split == "test" else f"{split}_bbx_gt"
            write_file(base / f"wider_face_split/wider_face_{name}.txt", "\n".join(lines) + "\n")
        for name in ("WIDER_train", "WIDER_val", "WIDER_test", "wider_face_split"):
            pack(folder / f"published/{name}.zip", base, name)

    def expected(self, folder, part):
        rows = []
        for number, (image, told) in enumerate(torchvision.datasets.WIDERFace(folder / "unpacked", part)):
            assert (told is None) == (part == "test")
            name = f"{number % 2}--Parade/{number % 2}_Parade_marchingband_1_{number}"
            objects = told and self.faces(image, told, number)
            rows.append({"image": image, "image_id": name, "objects": objects})
        return rows

    def faces(self, image, told, number):
        boxes = told["bbox"][:number]  # torchvision takes the line of zeros for a face
        if number == 4:
            boxes[0] = torch.tensor([image.width - 5, 0, 5, 7])
        marks = {name: told[column][:number].tolist() for name, column in zip(self.meant, self.columns)}
        return {"bbox": boxes, "category": [0] * number} | marks

    def test_names_of_marks(self, folder):
        features = self.load(folder / "published", split="train").features
        assert features["objects"]["occlusion"].feature.names == ["none", "partial", "heavy"]

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
    def test_a_list_that_is_damaged(self, folder, old, new, message):
        path = folder / "unpacked/widerface/wider_face_split/wider_face_train_bbx_gt.txt"
        text = path.read_text()
        assert re.search(old, text)
        path.write_text(re.sub(old, new, text))
        self.assert_refused(folder / "unpacked/widerface", message)

    def test_an_image_turned_by_exif(self, folder, rng):
        """The box of a face stays on it: it was drawn on the pixels as stored."""
        wider = folder / "unpacked/widerface"
        path = wider / "WIDER_val/images/1--Parade/1_Parade_marchingband_1_1.jpg"
        pixels = rng.integers(0, 256, (30, 50, 3), np.uint8)
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        PIL.Image.fromarray(pixels).save(path, exif=exif)
        lists = wider / "wider_face_split/wider_face_val_bbx_gt.txt"
        lists.write_text(re.sub(r"\n1\n\d+ \d+ \d+ \d+ ", "\n1\n7 11 20 5 ", lists.read_text()))
        row = self.load(wider, split="validation")[1]
        x, y, w, h = map(int, row["objects"]["bbox"][0])
        stored = to_tensor(PIL.Image.open(path))[:, 11:16, 7:27]
        assert torch.equal(row["image"][:, y : y + h, x : x + w], torch.rot90(stored, -1, (1, 2)))


class TestCppe5(PublishedSetCase):
    """One box in each split runs over the border, and is cut."""

    name = "cppe5"
    forms = ("published", "cppe5")
    parts, loose = {"train": ["annotations/train.json"], "test": ["annotations/test.json"]}, "cppe5"

    def write(self, folder, rng):
        base, names = folder / "cppe5", self.classes(folder)
        for split, first in (("train", 1), ("test", 7)):
            images, things = [], []
            for number in range(first, first + 5):
                width, height = random_size(rng)
                write_image(base / f"images/{number}.png", rng, width, height)
                images.append({"file_name": f"{number}.png", "height": height, "width": width, "id": number})
                for _ in range(2):
                    thing = {"id": len(things), "image_id": number, "bbox": random_box(rng, width, height), "area": 7}
                    thing |= {"category_id": len(things) % 5 + 1, "iscrowd": 0, "segmentation": [], "ignore": 0}
                    things.append(thing)
                if number == first:
                    things[-1]["bbox"] = [width - 4, height - 6, 9, 8]
            categories = [{"supercategory": "none", "id": number, "name": name} for number, name in enumerate(names, 1)]
            content = {"images": images, "type": "instances", "annotations": things, "categories": categories}
            write_file(base / f"annotations/{split}.json", json.dumps(content))
        pack(folder / "published/dataset.tar.gz", base, "annotations", "images")

    def expected(self, folder, part):
        theirs = torchvision.datasets.CocoDetection(folder / "cppe5/images", folder / f"cppe5/annotations/{part}.json")
        rows = []
        for number, (image, told) in zip(theirs.ids, theirs):
            boxes = [thing["bbox"] for thing in told]
            if number in (1, 7):
                boxes[1] = [image.width - 4, image.height - 6, 4, 6]
            objects = {"bbox": np.array(boxes), "category": [thing["category_id"] - 1 for thing in told]}
            objects |= {key: [thing[key] for thing in told] for key in ("area", "iscrowd", "id")}
            rows.append({"image": image, "image_id": number, "objects": objects})
        return rows

    def classes(self, folder):
        return ["Coverall", "Face_Shield", "Gloves", "Goggles", "Mask"]


class TestAde20k(PublishedSetCase):
    """Scenes with masks, and a test split without; the truth is read from the files by Pillow."""

    name = "ade20k"
    splits = {"train": "training", "validation": "validation", "test": "testing"}
    parts = {"train": ["*/training"], "validation": ["*/validation"], "test": ["release_test"]}
    loose = "unpacked"
    forms = ("published", "unpacked")

    def write(self, folder, rng):
        base, scenes = folder / "unpacked/ADEChallengeData2016", []
        for split, short in (("training", "train"), ("validation", "val")):
            (base / f"annotations/{split}").mkdir(parents=True)
            for number in range(1, 5):
                name, (width, height) = f"ADE_{short}_{number:08}", random_size(rng)
                write_image(base / f"images/{split}/{name}.jpg", rng, width, height)
                mask = PIL.Image.fromarray(rng.integers(0, 151, (height, width), np.uint8))
                mask.save(base / f"annotations/{split}/{name}.png")
                scenes.append(f"{name} {['street', 'airport_terminal', 'misc'][number % 3]}")
        write_file(base / "sceneCategories.txt", "\n".join(scenes) + "\n")
        classes = ["wall", "building, edifice", *(f"thing {number}, other name " for number in range(3, 151))]
        lines = [f"{number}{' ' * (number == 22)}\t0.1\t9\t2\t{name}" for number, name in enumerate(classes, 1)]
        write_file(base / "objectInfo150.txt", "\n".join(["Idx\tRatio\tTrain\tVal\tName", *lines]) + "\n")
        for number in (1, 2):
            write_image(folder / f"unpacked/release_test/testing/ADE_test_{number:08}.jpg", rng, 20 + number, 30)
        write_file(folder / "unpacked/release_test/list.txt", "ADE_test_00000001.jpg\nADE_test_00000002.jpg\n")
        for name in ("ADEChallengeData2016", "release_test"):
            pack(folder / f"published/{name}.zip", folder / "unpacked", name)

    def expected(self, folder, part):
        base, rows = folder / "unpacked/ADEChallengeData2016", []
        scenes = dict(line.split() for line in (base / "sceneCategories.txt").read_text().splitlines())
        images = folder / "unpacked/release_test/testing" if part == "testing" else base / f"images/{part}"
        for path in sorted(images.iterdir()):
            mask = base / f"annotations/{part}/{path.stem}.png"
            row = {"image": PIL.Image.open(path), "mask": None, "label": scenes.get(path.stem), "image_id": path.stem}
            rows.append(row | {"mask": np.asarray(PIL.Image.open(mask))} if mask.exists() else row)
        return rows

    def classes(self, folder):
        return ["airport_terminal", "misc", "street"]

    def test_rows_that_were_written(self, folder):
        counts = {split: len(self.expected(folder, part)) for split, part in self.splits.items()}
        assert counts == {"train": 4, "validation": 4, "test": 2}

    def test_the_test_split_has_no_labels(self, folder):
        for row in self.load(folder / "published", split="test"):
            assert row["mask"] is row["label"] is None

    def test_names_of_ids_are_in_the_description(self, folder):
        told = self.load(folder / "published", split="train").info.description
        assert "Ids of masks: 0 other, 1 wall, 2 building, 3 thing 3, " in told
        assert told.endswith(", 150 thing 150.")

    def test_without_the_test_archive(self, folder):
        assert list(self.load(folder / "unpacked/ADEChallengeData2016")) == ["train", "validation"]

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
    def test_a_table_that_is_damaged(self, folder, name, old, new, message):
        path = folder / "unpacked/ADEChallengeData2016" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        self.assert_refused(path.parent, message)
