"""COCO's json as other tools write it: Label Studio, VIA, Roboflow, CVAT, and people."""

import json
import shutil

import datasets
import numpy as np
import pytest

from dataset_scripts import DataError, load_dataset

ANT = [{"id": 1, "name": "ant"}]


@pytest.fixture
def write(tmp_path, save_image):
    """Writes json files and images of 40 x 30 pixels; returns the folder."""

    def make(texts, images, size=(40, 30)):
        for name in images:
            save_image(tmp_path / "data" / name, size)
        for name, content in texts.items():
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
        return str(tmp_path / "data")

    return make


def coco(images, annotations=(), categories=ANT):
    """A json; images as {id: file name}, annotations as (image id, box) or with more keys."""
    return {
        "images": [{"id": number, "file_name": name, "width": 40, "height": 30} for number, name in images.items()],
        "annotations": [
            {"id": place, "image_id": image, "category_id": 1, "bbox": box, "area": 7, "iscrowd": 0} | dict(*more)
            for place, (image, box, *more) in enumerate(annotations, 1)
        ],
        "categories": categories,
    }


def boxes(rows):
    return [objects and objects["bbox"] for objects in rows["objects"]]


def paths(rows):
    return [image["path"] for image in rows.cast_column("image", datasets.Image(decode=False))["image"]]


def load(folder, split="train", **options):
    return load_dataset(folder, split=split, transform=None, **options)


def test_label_studio(write):
    names = {
        0: "..\\..\\label-studio\\label-studio\\media\\upload\\3\\1b2f-ant 1.jpg",
        1: "C:\\Users\\ann\\AppData\\Local\\label-studio\\media\\upload\\3\\77ab-2.jpg",
        2: "images/0c4d-3.jpg",
        3: "/label-studio/data/media/upload/3/9e9e-4.jpg",
    }
    annotations = [
        (0, [1.5, 2.5, 10.25, 8.0], {"category_id": 1, "segmentation": [], "ignore": 0, "area": 82.0, "id": 0})
    ]
    annotations += [(1, [3, 4, 5, 6], {"category_id": 0}), (3, [7, 8, 9, 10], {"category_id": 0})]
    content = coco(names, annotations, [{"id": 0, "name": "bee"}, {"id": 1, "name": "ant"}])
    images = ["images/1b2f-ant 1.jpg", "images/77ab-2.jpg", "images/0c4d-3.jpg", "images/9e9e-4.jpg"]
    rows = load(write({"result.json": content}, images))
    assert paths(rows) == images
    assert rows.features["objects"]["category"].feature.names == ["bee", "ant"]
    assert boxes(rows) == [[[1.5, 2.5, 10.25, 8]], [[3, 4, 5, 6]], [], [[7, 8, 9, 10]]]
    assert [objects["category"] for objects in rows["objects"]] == [[1], [0], [], [0]]
    assert rows[0]["objects"]["area"] == [82] and rows["image_id"] == [0, 1, 2, 3]


def test_via(write):
    """It writes -1 for sizes that it has not seen, image ids as text, and polygons as plain lists of numbers."""
    content = {
        "info": {"year": 2024, "description": "VIA project exported to COCO format using VGG Image Annotator"},
        "images": [
            {"id": n, "width": -1, "height": -1, "file_name": f"{n}.jpg", "license": 0, "coco_url": f"./{n}.jpg"}
            for n in range(2)
        ],
        "annotations": [
            {
                "segmentation": [5, 6, 15, 6, 15, 26, 5, 26],
                "area": 200,
                "bbox": [5, 6, 10, 20],
                "iscrowd": 0,
                "id": 1,
                "image_id": "0",
                "category_id": 2,
            },
            {
                "segmentation": [],
                "area": None,
                "bbox": [1, 2, 3, 4],
                "iscrowd": 0,
                "id": 2,
                "image_id": "1",
                "category_id": 1,
            },
        ],
        "licenses": [{"id": 0, "name": "Unknown License", "url": ""}],
        "categories": [
            {"supercategory": "type", "id": 1, "name": "bird"},
            {"supercategory": "type", "id": 2, "name": "cat"},
        ],
    }
    rows = load_dataset(write({"via_project_coco.json": content}, ["0.jpg", "1.jpg"]), split="train", masks=True)
    assert rows["image_id"] == [0, 1]
    mask = rows[0]["objects"]["mask"][0].numpy()
    expected = np.zeros((30, 40), bool)
    expected[6:26, 5:15] = True
    assert np.array_equal(mask, expected)
    objects = rows[1]["objects"]
    assert objects["bbox"].tolist() == [[1, 2, 3, 4]] and objects["category"].tolist() == [0]
    assert objects["area"].tolist() == [12] and not objects["mask"].any()  # no area is that of the box


def roboflow(split, annotated=(1, 2)):
    """A folder of an export: the category 0 is the project."""
    categories = [{"id": 0, "name": "insects", "supercategory": "none"}]
    categories += [{"id": n, "name": name, "supercategory": "insects"} for n, name in ((1, "ant"), (2, "bee"))]
    names = {n: f"{split}-{n}_jpg.rf.0a1b2c3d.jpg" for n in range(3)}
    annotations = [(n, [n, 1, 10, 10], {"category_id": n, "segmentation": []}) for n in annotated]
    return {f"{split}/_annotations.coco.json": coco(names, annotations, categories)}, [
        f"{split}/{name}" for name in names.values()
    ]


def test_roboflow(write, caplog):
    texts, images = {"README.dataset.txt": "# insects", "README.roboflow.txt": "insects - v1"}, []
    for split in ("train", "valid", "test"):
        more, names = roboflow(split)
        texts, images = texts | more, images + names
    folder = write(texts, images)
    sets = load_dataset(folder, transform=None)
    assert {split: len(rows) for split, rows in sets.items()} == {"train": 3, "validation": 3, "test": 3}
    for rows in sets.values():
        assert rows.features["objects"]["category"].feature.names == ["ant", "bee"]
        assert boxes(rows) == [[], [[1, 1, 10, 10]], [[2, 1, 10, 10]]]
        assert [objects["category"] for objects in rows["objects"]] == [[], [0], [1]]
    assert "insects is only the name above other categories, and is no class" in caplog.text


PEOPLE = [{"id": 1, "name": "person", "supercategory": "person"}, {"id": 2, "name": "car", "supercategory": "vehicle"}]
SAME = [{"id": 0, "name": "ant", "supercategory": "none"}, {"id": 2, "name": "ant", "supercategory": "ant"}]
ANIMALS = [{"id": 1, "name": "animal", "supercategory": ""}, {"id": 2, "name": "cat", "supercategory": "animal"}]
KINDS = [{"id": 1, "name": "animal", "supercategory": "being"}, {"id": 2, "name": "cat", "supercategory": "animal"}]


@pytest.mark.parametrize(
    "categories, is_used, names",
    [
        (PEOPLE, False, ["person", "car"]),  # COCO's person is above itself
        (SAME, False, ["ant"]),
        (ANIMALS, False, ["cat"]),
        (ANIMALS, True, ["animal", "cat"]),
        (KINDS, False, ["animal", "cat"]),
    ],
)
def test_a_root_is_only_above_others(write, categories, is_used, names):
    annotations = [(1, [1, 1, 2, 2], {"category_id": 2})] + [(1, [3, 3, 2, 2])] * is_used
    rows = load(write({"a.json": coco({1: "1.jpg"}, annotations, categories)}, ["1.jpg"]))
    assert rows.features["objects"]["category"].feature.names == names
    assert rows[0]["objects"]["category"][0] == len(names) - 1


def test_ids_as_text(write):
    """Of images, categories and annotations; numbers as text are in the order of numbers, and equal to numbers."""
    categories = [{"id": "10", "name": "ten"}, {"id": "9", "name": "nine"}, {"id": "b", "name": "bee"}]
    content = coco({"x7": "1.jpg", "007": "2.jpg"}, [], categories)
    content["annotations"] = [
        {"id": "u-1", "image_id": "007", "category_id": "10", "bbox": [1, 2, 3, 4]},
        {"id": 5, "image_id": "x7", "category_id": 9, "bbox": [5, 6, 7, 8]},
        {"id": None, "image_id": "x7", "category_id": "b", "bbox": [6, 6, 7, 8]},
    ]
    rows = load(write({"a.json": content}, ["1.jpg", "2.jpg"]))
    assert rows["image_id"] == ["x7", "007"] and rows.features["objects"]["id"].feature.dtype == "string"
    assert rows.features["objects"]["category"].feature.names == ["nine", "ten", "bee"]
    assert [objects["id"] for objects in rows["objects"]] == [["5", None], ["u-1"]]
    assert [objects["category"] for objects in rows["objects"]] == [[0, 2], [1]]


def test_categories_of_two_files_with_ids_as_text_and_numbers(write):
    first = coco({1: "1.jpg"}, [(1, [1, 1, 2, 2])])
    second = coco({"2": "2.jpg"}, [("2", [3, 3, 2, 2], {"category_id": "1"})], [{"id": "1", "name": "ant"}])
    sets = load_dataset(write({"train.json": first, "val.json": second}, ["1.jpg", "2.jpg"]), transform=None)
    for rows in sets.values():
        assert rows.features["objects"]["category"].feature.names == ["ant"] and rows[0]["objects"]["category"] == [0]


def test_cvat(write):
    """An export of CVAT: rectangles without a segmentation, polygons, and masks as run lengths."""
    counts = [30 * 5 + 4, 6, 24, 6, 30 * 40 - 30 * 5 - 4 - 36]
    mask = {"counts": counts, "size": [30, 40]}
    flags = {"attributes": {"occluded": False, "rotation": 0.0}}
    annotations = [
        (1, [2.5, 3.5, 10.0, 8.0], {"segmentation": [], "area": 80.0, **flags}),
        (1, [1.0, 1.0, 8.0, 4.0], {"segmentation": [[1.0, 1.0, 9.0, 1.0, 9.0, 5.0, 1.0, 5.0]], "area": 32.0, **flags}),
        (2, [5, 4, 2, 6], {"segmentation": mask, "area": 12, "iscrowd": 1, "attributes": {"occluded": False}}),
    ]
    content = coco({1: "street/1.jpg", 2: "street/2.jpg"}, annotations, [{"id": 1, "name": "car", "supercategory": ""}])
    content |= {"licenses": [{"name": "", "id": 0, "url": ""}], "info": {"contributor": "", "date_created": ""}}
    folder = write({"annotations/instances_default.json": content}, ["images/street/1.jpg", "images/street/2.jpg"])
    rows = load_dataset(folder, split="train", masks=True)
    first, second = rows[0]["objects"], rows[1]["objects"]
    assert first["bbox"].tolist() == [[2.5, 3.5, 10, 8], [1, 1, 8, 4]] and first["area"].tolist() == [80, 32]
    assert not first["mask"][0].any() and first["mask"][1].sum() == 32 and first["mask"][1, 1:5, 1:9].all()
    expected = np.zeros((30, 40), bool)
    expected[4:10, 5:7] = True
    assert np.array_equal(second["mask"][0].numpy(), expected) and second["iscrowd"].tolist() == [True]


def test_images_in_several_folders(write):
    """Each is found by the end of its name; one that may be two is named."""
    images = ["monday/cam1/1.jpg", "monday/cam2/1.jpg", "tuesday/cam1/1.jpg", "tuesday/2.jpg"]
    names = {1: "/data/cams/monday/cam2/1.jpg", 2: "2.jpg", 3: "tuesday/cam1/1.jpg", 4: "D:\\monday\\cam1\\1.jpg"}
    content = coco(names, [(n, [n, n, 5, 5]) for n in names])
    folder = write({"labels.json": content}, images)
    rows = load(folder)
    assert paths(rows) == [images[1], images[3], images[2], images[0]]
    assert boxes(rows) == [[[n, n, 5, 5]] for n in names]
    write({"labels.json": coco(names | {1: "1.jpg"})}, [])
    with pytest.raises(
        DataError, match="image 1: 1.jpg may be monday/cam1/1.jpg or monday/cam2/1.jpg: give the whole path"
    ):
        load(folder)


def test_objects_without_boxes_have_those_of_their_shapes(write):
    counts = [30 * 5 + 4, 6, 24, 6, 30 * 40 - 30 * 5 - 4 - 36]
    annotations = [
        (1, None, {"segmentation": [[1, 2, 9, 2, 5, 8.5], [20, 20, 30, 21, 25, 28]]}),
        (1, [], {"segmentation": {"counts": counts, "size": [30, 40]}, "area": None}),
    ]
    rows = load(write({"a.json": coco({1: "1.jpg"}, annotations)}, ["1.jpg"]))
    assert boxes(rows) == [[[1, 2, 29, 26], [5, 4, 2, 6]]] and rows[0]["objects"]["area"] == [7, 12]
    folder = write({"a.json": coco({1: "1.jpg"}, [(1, None)])}, [])
    with pytest.raises(DataError, match=r"annotation 1: bbox is None, not \[x, y, width, height\]"):
        load(folder)


@pytest.mark.parametrize("nothing", [[], [[]], None])
def test_boxes_among_masks_have_an_empty_mask(write, nothing):
    square = [[2, 3, 12, 3, 12, 13, 2, 13]]
    annotations = [(1, [1, 2, 3, 4], {"segmentation": nothing}), (1, [2, 3, 10, 10], {"segmentation": square})]
    rows = load_dataset(write({"a.json": coco({1: "1.jpg"}, annotations)}, ["1.jpg"]), split="train", masks=True)
    masks = rows[0]["objects"]["mask"]
    assert masks.shape == (2, 30, 40) and not masks[0].any()
    assert masks[1].sum() == 100 and masks[1, 3:13, 2:12].all()


def test_boxes_over_the_border(write):
    """Cut with boxes="clip": the area is at most that of what is left; others keep theirs."""
    annotations = [
        (1, [30, 20, 20, 20], {"area": 400}),  # the whole box
        (1, [-10, 5, 20, 10], {"area": 50}),  # a polygon within it
        (1, [0.1, 0.1, 39.3, 29.7], {"area": 600.5}),  # float32 rounds its sides
        (1, [50, 5, 4, 4], {"area": 16}),
        (1, [35, 25, 10, 10], {"area": None}),
    ]
    folder = write({"a.json": coco({1: "1.jpg"}, annotations)}, ["1.jpg"])
    with pytest.raises(DataError, match=r'\[30, 20, 20, 20\] .* reaches out of .* \(boxes="clip" cuts it there\)'):
        load(folder)
    objects = load(folder, boxes="clip")[0]["objects"]
    assert objects["bbox"] == [
        [30, 20, 10, 10],
        [0, 5, 10, 10],
        pytest.approx([0.1, 0.1, 39.3, 29.7]),
        [40, 5, 0, 4],
        [35, 25, 5, 5],
    ]
    assert objects["area"] == [100, 50, 600.5, 0, 25]
    with pytest.raises(DataError, match="boxes='cut': it is 'raise' or 'clip'"):
        load(folder, boxes="cut")


def test_a_large_box_that_is_not_cut_keeps_its_area(write):
    folder = write({"a.json": coco({1: "1.png"}, [(1, [0.3, 0.7, 2999.1, 1999.3], {"area": 3e6})])}, [])
    write({}, ["1.png"], (3001, 2002))
    path = f"{folder}/a.json"
    text = open(path).read().replace('"width": 40', '"width": 3001').replace('"height": 30', '"height": 2002')
    open(path, "w").write(text)
    assert load(folder, boxes="clip")[0]["objects"]["area"] == [3e6]


def test_a_split_without_annotations(write, tmp_path, caplog):
    """test2017 beside annotated folders, unpacked, and in an archive of its own."""
    texts = {
        f"annotations/instances_{split}2017.json": coco({n: f"{n:012}.jpg"}, [(n, [n, 1, 2, 3])])
        for n, split in ((1, "train"), (2, "val"))
    }
    images = ["train2017/000000000001.jpg", "val2017/000000000002.jpg", "test2017/000000000003.jpg"]
    folder = write(texts, images)
    (tmp_path / "zips").mkdir()
    for part in ("annotations", "train2017", "val2017", "test2017"):
        shutil.make_archive(str(tmp_path / f"zips/{part}"), "zip", folder, part)
    for place in (folder, str(tmp_path / "zips")):
        sets = load_dataset(place, transform=None)
        assert {split: boxes(rows) for split, rows in sets.items()} == {
            "train": [[[1, 1, 2, 3]]],
            "validation": [[[2, 1, 2, 3]]],
            "test": [None],
        }
        assert sets["test"][0]["image"].size == (40, 30)
    assert "no annotation file lists the images of test: theirs are None" in caplog.text


def test_image_info(write, caplog):
    """A json of images alone: their objects are None, whatever the task is; one with annotations goes before it."""
    info = coco({3: "000000000003.jpg"})
    del info["annotations"]
    points = {"keypoints": [1, 2, 2, 3, 4, 1], "num_keypoints": 2}
    texts = {
        "annotations/image_info_test2017.json": info,
        "annotations/person_keypoints_val2017.json": coco({2: "000000000002.jpg"}, [(2, [1, 1, 4, 4], points)]),
    }
    folder = write(texts, ["val2017/000000000002.jpg", "test2017/000000000003.jpg"])
    sets = load_dataset(folder, transform=None)
    assert sets["validation"][0]["objects"]["keypoints"] == [[[1, 2, 2], [3, 4, 1]]]
    assert sets["test"]["image_id"] == [3] and sets["test"]["objects"] == [None]
    assert "image_info_test2017.json: it annotates nothing: the objects of its images are None" in caplog.text
    write({"annotations/image_info_val2017.json": coco({2: "000000000002.jpg"})}, [])
    assert len(load(folder, "validation")[0]["objects"]["bbox"]) == 1
    assert "image_info_val2017.json, without annotations, is left out" in caplog.text


def test_keypoints_are_known_by_content(write):
    person = [{"id": 1, "name": "person", "keypoints": ["nose", "ear"], "skeleton": [[1, 2]]}]
    boxed = coco({1: "1.jpg"}, [(1, [1, 1, 4, 4], {"keypoints": [5, 6, 2, 0, 0, 0]})], person)
    rows = load(write({"_annotations.coco.json": boxed}, ["1.jpg"]))
    assert rows[0]["objects"]["keypoints"] == [[[5, 6, 2], [0, 0, 0]]]
    rows = load(write({"_annotations.coco.json": coco({1: "1.jpg"}, [(1, [1, 1, 4, 4])], person)}, []))
    assert "keypoints" not in rows.features["objects"] and boxes(rows) == [[[1, 1, 4, 4]]]


def test_folders_that_the_caller_chooses(write, caplog):
    """images= of two sizes of the same names, annotations= of two versions."""
    texts = {f"v{n}/train.json": coco({1: "1.jpg"}, [(1, [n, n, 5, 5])]) for n in (1, 2)}
    folder = write(texts, ["full/1.jpg"])
    write({}, ["small/1.jpg"], (20, 15))
    with pytest.raises(DataError, match="v1/train.json and v2/train.json are both for the split train"):
        load(folder, images="full")
    with pytest.raises(DataError, match="images of v2/train.json may lie in full, small: choose one by images=…"):
        load(folder, annotations="v2")
    for chosen in ("v2", "v2/train.json"):
        rows = load(folder, images="full", annotations=chosen)
        assert boxes(rows) == [[[2, 2, 5, 5]]] and rows[0]["image"].size == (40, 30)
    assert "files outside of full, v2 are left out" in caplog.text
    with pytest.raises(DataError, match="image 1 is 40 x 30 there, but 20 x 15 in small/1.jpg"):
        load(folder, images="small", annotations="v1")
