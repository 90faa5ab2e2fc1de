"""Tables with a row for each box or run-length code, as the tools write them."""

import shutil

import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as mask_tools

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.files.listing import Files
from dataset_scripts.core.load.detect import detect

ROBOFLOW = """filename,width,height,class,xmin,ymin,xmax,ymax
b_jpg.rf.1f0c.jpg,40,30,dog,3,4,23,14
a_jpg.rf.77aa.jpg,40,30,cat,0,0,40,30
b_jpg.rf.1f0c.jpg,40,30,cat,10,20,15,30
"""
WHEAT = """image_id,width,height,bbox,source
b6ab77fd7,40,30,"[8.0, 2.0, 16.0, 16.0]",usask_1
b6ab77fd7,40,30,"[0.0, 10.5, 4.5, 3.0]",usask_1
b53afdf5c,40,30,"[1.0, 2.0, 3.0, 4.0]",arvalis_1
"""
RETINANET = """/home/me/data/imgs/1.jpg,3,4,23,14,dog
imgs/1.jpg,10,20,15,30,cat
/home/me/data/imgs/2.jpg,,,,,
C:\\data\\imgs\\3.jpg,0,1,2,3,cat
"""
VOTT = """"image","xmin","ymin","xmax","ymax","label"
"1.jpg",1.5,2.25,11.5,22.25,"cat"
"1.jpg",0,0,40,30,"wild dog"
"""


def images(save_image, root, *paths, size=(40, 30)):
    return {path: save_image(root / path, size) for path in paths}


def objects(rows):
    """image_id -> what its objects are, with the names of classes."""
    names = rows.features["objects"]["category"].feature
    found = {}
    for row in rows.remove_columns("image").with_format(None):
        said = row["objects"]
        found[row["image_id"]] = said and said | {"category": names.int2str(said["category"])}
    return found


def assert_pixels(rows, saved):
    for row in rows.with_format(None):
        path = next(path for path in saved if path.startswith(f"{row['image_id']}."))
        assert (np.asarray(row["image"]) == saved[path]).all()


def test_roboflow(save_image, write_data, tmp_path):
    data = tmp_path / "data"
    names = ("a_jpg.rf.77aa", "b_jpg.rf.1f0c")
    saved = images(save_image, data, *(f"{split}/{name}.png" for split in ("train", "valid") for name in names))
    table = ROBOFLOW.replace(".jpg,", ".png,")
    write_data({f"{split}/_annotations.csv": table for split in ("train", "valid")} | {"README.roboflow.txt": "hello"})
    sets = load_dataset(str(data))
    assert list(sets) == ["train", "validation"] and sets["train"].features["objects"]["category"].feature.names == [
        "cat",
        "dog",
    ]
    assert objects(sets["train"]) == {
        "train/a_jpg.rf.77aa": {"bbox": [[0, 0, 40, 30]], "category": ["cat"], "area": [1200]},
        "train/b_jpg.rf.1f0c": {
            "bbox": [[3, 4, 20, 10], [10, 20, 5, 10]],
            "category": ["dog", "cat"],
            "area": [200, 50],
        },
    }
    assert set(objects(sets["validation"])) == {f"valid/{name}" for name in names}
    for rows in sets.values():
        assert_pixels(rows, saved)
    named = load_dataset("csv_boxes", data_dir=str(data))
    assert objects(named["train"]) == objects(sets["train"])
    shutil.make_archive(str(tmp_path / "whole"), "zip", data)
    packed = load_dataset(str(tmp_path / "whole.zip"))
    assert objects(packed["validation"]) == objects(sets["validation"])
    streamed = load_dataset(str(data), split="train", streaming=True)
    assert [row["image_id"] for row in streamed] == [f"train/{name}" for name in names]


def test_tables_of_splits(save_image, write_data, tmp_path):
    """TensorFlow Object Detection: images in one folder, train_labels.csv and test_labels.csv; any order and case."""
    images(save_image, tmp_path / "data", "Images/1.jpg", "Images/2.jpg")
    write_data(
        {
            "ann/train_labels.csv": "filename,width,height,class,xmin,ymin,xmax,ymax\n1.jpg,40,30,cat,1,2,11,12\n",
            "ann/test_labels.csv": "YMAX;XMAX;YMIN;XMIN;Class;FileName\n12;11;2;1;dog;2.jpg\n",
        }
    )
    sets = load_dataset(str(tmp_path / "data"))
    box = {"bbox": [[1, 2, 10, 10]], "area": [100]}
    assert objects(sets["train"]) == {"Images/1": box | {"category": ["cat"]}}
    assert objects(sets["test"]) == {"Images/2": box | {"category": ["dog"]}}


def test_same_names_in_two_splits(save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "train/1.jpg", "test/1.jpg")
    table = "filename,class,xmin,ymin,xmax,ymax\n1.jpg,{},1,2,11,12\n"
    write_data({f"{split}_labels.csv": table.format(split) for split in ("train", "test")})
    sets = load_dataset(str(tmp_path / "data"))
    assert objects(sets["train"])["train/1"]["category"] == ["train"]
    assert objects(sets["test"])["test/1"]["category"] == ["test"]


def test_split_column(save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "1.jpg", "2.jpg")
    head = "image,split,xmin,ymin,xmax,ymax,label\n"
    write_data({"boxes.csv": head + "1.jpg,train,1,2,3,4,a\n2.jpg,VAL,1,2,3,4,a\n1.jpg,train,1,2,3,4,a\n"})
    sets = load_dataset(str(tmp_path / "data"))
    assert {split: list(objects(rows)) for split, rows in sets.items()} == {"train": ["1"], "validation": ["2"]}
    write_data({"boxes.csv": head + "1.jpg,train,1,2,3,4,a\n2.jpg,train,1,2,3,4,a\n1.jpg,val,1,2,3,4,a\n"})
    with pytest.raises(DataError, match="line 4: its split is val, and that of its image train"):
        load_dataset(str(tmp_path / "data"))


def test_retinanet(save_image, write_data, tmp_path):
    saved = images(save_image, tmp_path / "data", *(f"imgs/{number}.jpg" for number in (1, 2, 3)))
    write_data({"annotations.csv": RETINANET, "classes.csv": "dog,0\ncat,1\nemu,2\n"})
    rows = load_dataset(str(tmp_path / "data"), split="train")
    assert rows.features["objects"]["category"].feature.names == ["dog", "cat", "emu"]
    assert objects(rows) == {
        "imgs/1": {"bbox": [[3, 4, 20, 10], [10, 20, 5, 10]], "category": ["dog", "cat"], "area": [200, 50]},
        "imgs/2": {"bbox": [], "category": [], "area": []},
        "imgs/3": {"bbox": [[0, 1, 2, 2]], "category": ["cat"], "area": [4]},
    }
    assert len(saved) == len(rows)
    write_data({"classes.csv": "cat,0\n"})
    with pytest.raises(DataError, match="line 1: dog is not in the table of classes"):
        load_dataset(str(tmp_path / "data"))


def test_wheat(save_image, write_data, tmp_path):
    names = ("b6ab77fd7", "b53afdf5c", "empty")
    images(save_image, tmp_path / "data", *(f"train/{name}.jpg" for name in names), "test/2fd875eaa.jpg")
    write_data({"train.csv": WHEAT, "sample_submission.csv": "image_id,PredictionString\n2fd875eaa,1.0 0 0 50 50\n"})
    with pytest.raises(
        DataError, match="1 of 4 images have no annotation, such as train/empty.jpg: .*unlisted='empty'"
    ):
        load_dataset(str(tmp_path / "data"))
    sets = load_dataset(str(tmp_path / "data"), unlisted="empty", classes=["wheat"])
    wheat = ["wheat"]
    assert objects(sets["train"]) == {
        "train/b53afdf5c": {"bbox": [[1, 2, 3, 4]], "category": wheat, "area": [12], "source": ["arvalis_1"]},
        "train/b6ab77fd7": {
            "bbox": [[8, 2, 16, 16], [0, 10.5, 4.5, 3]],
            "category": wheat * 2,
            "area": [256, 13.5],
            "source": ["usask_1"] * 2,
        },
        "train/empty": {"bbox": [], "category": [], "area": [], "source": []},
    }
    assert objects(sets["test"]) == {"test/2fd875eaa": None}


def test_corners_as_text(save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "1.jpg")
    write_data({"train.csv": 'image_id,bbox\n1,"[1.0, 2.0, 3.5, 4.0]"\n1,"(10 20 30 30)"\n1,\n'})
    rows = load_dataset(str(tmp_path / "data"), split="train", bbox="xyxy")
    assert objects(rows)["1"]["bbox"] == [[1, 2, 2.5, 2], [10, 20, 20, 10]]
    with pytest.raises(DataError, match="object 2 .*reaches out of the image"):
        load_dataset(str(tmp_path / "data"))
    with pytest.raises(DataError, match="bbox='xy': it is 'xywh' or 'xyxy'"):
        load_dataset(str(tmp_path / "data"), bbox="xy")


def test_vott(save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "vott-csv-export/1.jpg")
    write_data({"vott-csv-export/Animals-export.csv": VOTT})
    rows = load_dataset(str(tmp_path / "data"), split="train")
    assert objects(rows) == {
        "vott-csv-export/1": {
            "bbox": [[1.5, 2.25, 10, 20], [0, 0, 40, 30]],
            "category": ["cat", "wild dog"],
            "area": [200, 1200],
        }
    }


def test_columns_of_objects(save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "1.jpg")
    head = "image_id,x,y,width,height,confidence,rater,code,class_name\n"
    write_data({"boxes.csv": head + "1,1,2,3,4,0.5,1,007,a\n1,1,2,3,4,,2,12,a\n"})
    rows = load_dataset(str(tmp_path / "data"), split="train")
    assert objects(rows)["1"] == {
        "bbox": [[1, 2, 3, 4]] * 2,
        "category": ["a", "a"],
        "area": [12, 12],
        "confidence": [0.5, None],
        "rater": [1, 2],
        "code": ["007", "12"],
    }


def code_of(mask):
    """A mask as Kaggle's run-length code: pixels are counted from 1, down the columns."""
    pixels = np.concatenate([[0], mask.T.ravel(), [0]])
    borders = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    borders[1::2] -= borders[::2]
    return " ".join(map(str, borders))


def random_masks(count, size=(30, 40)):
    rng = np.random.default_rng(3)
    masks = np.zeros((count, *size), bool)
    for mask in masks:
        (top, bottom), (left, right) = np.sort(rng.integers(0, size[0], 2)), np.sort(rng.integers(0, size[1], 2))
        mask[top : bottom + 1, left : right + 1] = rng.random((bottom - top + 1, right - left + 1)) < 0.7
        mask[top, left] = True
    masks[0] = True  # the whole image
    masks[1] = False
    masks[1, :, 7] = True  # a run that is a whole column
    return masks


def assert_masks(said, masks):
    decoded = mask_tools.decode(said["segmentation"]).transpose(2, 0, 1)
    assert (decoded == masks).all()
    for box, area, mask in zip(said["bbox"], said["area"], masks):
        ys, xs = np.nonzero(mask)
        assert box == [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1] and area == mask.sum()


@pytest.mark.parametrize("nothing", ["", "-1"])
def test_masks(nothing, save_image, write_data, tmp_path):
    """Airbus and the Data Science Bowl: ImageId,EncodedPixels with several rows per image."""
    images(save_image, tmp_path / "data", "train_v2/a.jpg", "train_v2/b.jpg", "test_v2/c.jpg")
    masks = random_masks(6)
    lines = [f"a.jpg,{code_of(mask)}\n" for mask in masks] + [f"b.jpg,{nothing}\n"]
    head = "ImageId,EncodedPixels\n"
    write_data(
        {"train_ship_segmentations_v2.csv": head + "".join(lines), "sample_submission_v2.csv": f"{head}c.jpg,1 2\n"}
    )
    sets = load_dataset(str(tmp_path / "data"))
    found = objects(sets["train"])
    assert_masks(found["train_v2/a"], masks)
    assert found["train_v2/a"]["category"] == ["object"] * 6
    assert found["train_v2/b"] == {"bbox": [], "category": [], "area": [], "segmentation": []}
    assert objects(sets["test"]) == {"test_v2/c": None}


@pytest.mark.parametrize("joined", [True, False])
def test_masks_of_classes(joined, save_image, write_data, tmp_path):
    """Severstal: ImageId_ClassId with a row for each class, or a column ClassId and rows for defects only."""
    images(save_image, tmp_path / "data", "train_images/x.jpg", "train_images/y_1.jpg")
    masks = random_masks(2)
    if joined:
        rows = [
            ("x.jpg", 10, code_of(masks[0])),
            ("x.jpg", 2, ""),
            ("y_1.jpg", 2, code_of(masks[1])),
            ("y_1.jpg", 10, ""),
        ]
        table = "ImageId_ClassId,EncodedPixels\n" + "".join(f"{name}_{number},{code}\n" for name, number, code in rows)
    else:
        rows = [("x.jpg", 10, code_of(masks[0])), ("y_1.jpg", 2, code_of(masks[1]))]
        table = "ImageId,ClassId,EncodedPixels\n" + "".join(f"{name},{number},{code}\n" for name, number, code in rows)
    write_data({"train.csv": table})
    rows = load_dataset(str(tmp_path / "data"), split="train")
    assert rows.features["objects"]["category"].feature.names == ["2", "10"]
    found = objects(rows)
    assert_masks(found["train_images/x"], masks[:1])
    assert_masks(found["train_images/y_1"], masks[1:])
    assert [found[name]["category"] for name in found] == [["10"], ["2"]]


def test_mask_of_a_turned_photo(write_data, tmp_path):
    """The code is of the image as it is shown, which is what programs of the contest decode."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "data").mkdir()
    PIL.Image.new("RGB", (30, 40)).save(tmp_path / "data/1.jpg", exif=exif)  # shown as 40 x 30
    masks = random_masks(3)
    write_data({"train.csv": "ImageId,rle\n" + "".join(f"1,{code_of(mask)}\n" for mask in masks)})
    assert_masks(objects(load_dataset(str(tmp_path / "data"), split="train"))["1"], masks)


def blobs(size):
    """Masks of an ellipse, a triangle, two parts and a single tall line, (height, width) `size`."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    ellipse = ((x - width / 2) / (width / 3)) ** 2 + ((y - height / 2) / (height / 4)) ** 2 < 1
    return np.array([ellipse, (x + y < 15), (x < 5) & (y > 3) ^ (x > 9) & (x < 14) & (y < 9), (x == 3) & (y > 1)])


@pytest.mark.parametrize("size", [(30, 40), (40, 30), (31, 30), (200, 21)])
@pytest.mark.parametrize("order", ["rows", "columns"])
def test_order_of_codes(order, size, save_image, write_data, tmp_path):
    """Sartorius and others count along the rows: a transposed mask's code is refused, unless the caller says so."""
    images(save_image, tmp_path / "data", "1.png", size=size[::-1])
    masks = blobs(size)
    codes = [code_of(mask if order == "columns" else mask.T) for mask in masks]
    write_data({"train.csv": "ImageId,EncodedPixels\n" + "".join(f"1.png,{code}\n" for code in codes)})
    named = {"path": "csv_boxes", "data_dir": str(tmp_path / "data"), "split": "train"}
    assert_masks(objects(load_dataset(**named, order=order))["1"], masks)
    if order == "columns":
        assert_masks(objects(load_dataset(**named))["1"], masks)
    else:
        with pytest.raises(
            DataError, match=r"1.png, object 1 \(object\): its run-length code looks as if .*order='rows'"
        ):
            load_dataset(**named)
    with pytest.raises(DataError, match="order='C': it is 'columns' or 'rows'"):
        load_dataset(**named, order="C")


FAULTS = {
    "1.jpg,a,1,2,3": r"line 2: 5 values, not 6: 1.jpg, a, 1, 2, 3",
    "1.jpg,a,1,2,x,4": r"line 2: no box of four numbers: 1, 2, x, 4",
    "1.jpg,a,1,2,,4": r"line 2: no box of four numbers",
    "1.jpg,a,1,2,nan,4": r"line 2: no box of four numbers",
    "1.jpg,a,5,2,3,4": r"line 2: the box ends before it begins: 5, 2, 3, 4",
    "1.jpg,a,0.1,0.2,0.3,0.4": r"line 2: the box \[0.1, 0.2, 0.3, 0.4\] is like fractions of the image.*relative=True",
    "1.jpg,,1,2,3,4": r"line 2: the object has no class",
    "3.jpg,a,1,2,3,4": r"line 2: there is no image 3.jpg",
    "1.JPG,a,1,2,3,4": r"line 2: there is no image 1.JPG in .*, but 1.jpg",
    ",a,1,2,3,4": r"line 2: it names no image",
    "1.jpg,a,1,2,3,400": r"object 1 \(a\): \[1, 2, 2, 398\].* reaches out of the image .*boxes=\"clip\"",
    '1.jpg,"a,1,2,3,4': r"line 2: a quote in it has no end",
    "1.jpg,\udcff,1,2,3,4": r"line 2: it is not in UTF-8",
    "1.jpg,a\0,1,2,3,4": r"line 2: it holds a zero byte",
}


@pytest.mark.parametrize("line", FAULTS)
def test_faults(line, save_image, write_data, tmp_path):
    """A fault is an error, or leaves out its whole image."""
    images(save_image, tmp_path / "data", "1.jpg", "2.jpg")
    table = f"filename,class,xmin,ymin,xmax,ymax\n{line}\n1.jpg,a,2,2,3,3\n2.jpg,b,1,2,3,4\n"
    write_data({"boxes.csv": table.encode("utf-8", "surrogateescape")})
    with pytest.raises(DataError, match=FAULTS[line]):
        load_dataset("csv_boxes", data_dir=str(tmp_path / "data"))
    rows = load_dataset("csv_boxes", data_dir=str(tmp_path / "data"), on_error="skip", split="train")
    is_of_image = line.startswith("1.jpg")
    assert list(objects(rows)) == (["2"] if is_of_image else ["1", "2"])


CODES = {
    "1 2 3": "line 2: no run-length code: 1 2 3",
    "1 x": "line 2: no run-length code",
    "0 3": r"object 1 \(object\): its run-length code reaches out of the image of 40 x 30 pixels",
    "1199 3": "reaches out of the image",
    "5 0": "reaches out of the image",
    "1 5 3 2": "has a pixel twice",
}


@pytest.mark.parametrize("code", CODES)
def test_faults_of_codes(code, save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "1.jpg", "2.jpg")
    write_data({"train.csv": f"ImageId,EncodedPixels\n1.jpg,{code}\n1.jpg,7 2\n2.jpg,7 2\n"})
    with pytest.raises(DataError, match=CODES[code]):
        load_dataset(str(tmp_path / "data"))
    rows = load_dataset(str(tmp_path / "data"), on_error="skip", split="train")
    assert list(objects(rows)) == ["2"]


def test_sizes(save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "1.jpg")
    head = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    write_data({"boxes.csv": head + "1.jpg,80,60,a,1,2,3,4\n"})
    with pytest.raises(DataError, match="the image is 80 x 60 there, and has 40 x 30 pixels"):
        load_dataset(str(tmp_path / "data"))
    write_data({"boxes.csv": head + "1.jpg,40,30,a,1,2,3,4\n1.jpg,40,31,a,1,2,3,4\n"})
    with pytest.raises(DataError, match="line 3: the image has another size in a row before it"):
        load_dataset(str(tmp_path / "data"))


def test_fractions_and_clip(save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "1.jpg")
    head = "filename,class,xmin,ymin,xmax,ymax\n"
    write_data({"boxes.csv": head + "1.jpg,a,0.25,0.5,0.5,1\n"})
    rows = load_dataset("csv_boxes", data_dir=str(tmp_path / "data"), split="train", relative=True)
    assert objects(rows)["1"]["bbox"] == [[10, 15, 10, 15]]
    write_data({"boxes.csv": head + "1.jpg,a,-5,10,10,90\n"})
    rows = load_dataset("csv_boxes", data_dir=str(tmp_path / "data"), boxes="clip", split="train")
    assert objects(rows)["1"] == {"bbox": [[0, 10, 10, 20]], "category": ["a"], "area": [200]}
    rows = load_dataset("csv_boxes", data_dir=str(tmp_path / "data"), boxes="clip", masks=True, split="train")
    mask = np.zeros((30, 40), bool)
    mask[10:30, :10] = True
    assert (mask_tools.decode(objects(rows)["1"]["segmentation"][0]) == mask).all()


def test_two_tables_of_an_image(save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "1.jpg", "2.jpg")
    head = "filename,class,xmin,ymin,xmax,ymax\n"
    write_data({"a.csv": head + "1.jpg,a,1,2,3,4\n", "b.csv": head + "1.jpg,b,1,2,3,4\n2.jpg,b,1,2,3,4\n"})
    with pytest.raises(
        DataError, match=r"b.csv: 1.jpg is also annotated in a.csv: remove one, or choose by annotations='a.csv'"
    ):
        load_dataset(str(tmp_path / "data"))
    rows = load_dataset(str(tmp_path / "data"), on_error="skip", split="train")
    assert list(objects(rows)) == ["2"]
    rows = load_dataset(
        "csv_boxes", data_dir=str(tmp_path / "data"), annotations="b.csv", ignore=["a.csv"], split="train"
    )
    assert list(objects(rows)) == ["1", "2"]


def test_boxes_and_codes(save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "1.jpg", "2.jpg")
    write_data({"a.csv": "filename,class,xmin,ymin,xmax,ymax\n1.jpg,a,1,2,3,4\n", "b.csv": "ImageId,rle\n2.jpg,1 2\n"})
    with pytest.raises(
        DataError, match="a.csv holds boxes and b.csv holds run-length codes: choose one by annotations="
    ):
        load_dataset(str(tmp_path / "data"))


def test_other_tables_are_not_taken(save_image, write_data, tmp_path):
    images(save_image, tmp_path / "data", "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    write_data({"labels.csv": "filename,label\n1.jpg,a\n2.jpg,b\n3.jpg,a\n4.jpg,b\n"})
    assert detect(Files.of(tmp_path / "data")).name == "csv_list"
    with pytest.raises(DataError, match="has no file in the format of csv_boxes"):
        load_dataset("csv_boxes", data_dir=str(tmp_path / "data"))
