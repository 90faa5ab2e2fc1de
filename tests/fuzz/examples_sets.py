"""Examples of the named sets that read files in their own format, and of other files: cards, configs, models."""

import io
import json
import zipfile

import numpy as np
import safetensors.torch
import torch
from examples import EXAMPLES, Folder, encode, example, image, on_disk, palette, pixels
from examples_binary import arrays, gzip_of, mat_of, npy_of, tar_of, zip_of

from dataset_scripts.core.load.script import PACKAGE


@example("wider_face")
def wider_face() -> Folder:
    face = "1 1 4 3 0 0 0 0 0 0 \n"
    files = {}
    for split in ("train", "val", "test"):
        names = [f"0--Parade/0_Parade_{n}.jpg" for n in range(3)]
        files |= {f"WIDER_{split}/images/{name}": image(n, "JPEG") for n, name in enumerate(names)}
        faces = [f"0\n{'0 ' * 10}\n", f"1\n{face}", f"2\n{face}{face}"]
        lines = names if split == "test" else [f"{name}\n{count}" for name, count in zip(names, faces)]
        name = "test_filelist" if split == "test" else f"{split}_bbx_gt"
        files[f"wider_face_split/wider_face_{name}.txt"] = "\n".join(lines).encode()
    return files


@example("celeba")
def celeba() -> Folder:
    names = [f"{n:06}.jpg" for n in range(3)]
    lists = {
        "list_eval_partition.txt": "".join(f"{name} {n}\n" for n, name in enumerate(names)),
        "list_attr_celeba.txt": "3\nBald Male \n" + "".join(f"{name} -1  1\n" for name in names),
        "identity_CelebA.txt": "".join(f"{name} 7\n" for name in names),
        "list_landmarks_align_celeba.txt": "3\n"
        + " ".join("abcdefghij")
        + "\n"
        + "".join(f"{name} {' 1 2' * 5}\n" for name in names),
    }
    images = {f"img_align_celeba/{name}": image(n, "JPEG") for n, name in enumerate(names)}
    return images | {name: text.encode() for name, text in lists.items()}


@example("flowers102")
def flowers102() -> Folder:
    ids = {"trnid": [[1, 3]], "valid": [[2]], "tstid": [[4]]}
    return {f"jpg/image_{n:05}.jpg": image(n, "JPEG") for n in range(1, 5)} | {
        "imagelabels.mat": mat_of({"labels": np.array([[1, 2, 102, 3]], np.uint8)}),
        "setid.mat": mat_of({name: np.array(numbers, np.uint16) for name, numbers in ids.items()}),
    }


@example("gtsrb")
def gtsrb() -> Folder:
    head, files = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2", {}
    for kind in (0, 7):
        folder = f"GTSRB/Final_Training/Images/{kind:05}"
        names = [f"00000_{n:05}.ppm" for n in range(2)]
        files |= {f"{folder}/{name}": image(n, "PPM") for n, name in enumerate(names)}
        table = [f"{head};ClassId", *(f"{name};8;6;1;1;6;5;{kind}" for name in names)]
        files[f"{folder}/GT-{kind:05}.csv"] = "\r\n".join(table).encode()
    files |= {"GTSRB/Final_Test/Images/00000.ppm": image(9, "PPM")}
    return files | {"GT-final_test.csv": f"{head};ClassId\n00000.ppm;8;6;1;1;6;5;3\n".encode()}


@example("imagenet_1k")
def imagenet_1k() -> Folder:
    words = {"n01440764": "tench, Tinca tinca", "n02012849": "crane"}
    kinds = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")]
    synsets = np.array([(n, *item, "what it is", 0) for n, item in enumerate(words.items(), 1)], kinds)[:, None]
    kit = {
        "ILSVRC2012_devkit_t12/data/meta.mat": mat_of({"synsets": synsets}),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": b"2\n1\n",
    }
    train = {f"{wnid}.tar": tar_of({f"{wnid}_{n}.JPEG": image(n, "JPEG") for n in (1, 2)}) for wnid in words}
    val = {f"ILSVRC2012_val_{n:08}.JPEG": image(n, "JPEG") for n in (1, 2)}
    return {
        "ILSVRC2012_devkit_t12.tar.gz": gzip_of(tar_of(kit)),
        "ILSVRC2012_img_train.tar": tar_of(train),
        "ILSVRC2012_img_val.tar": tar_of(val),
    }


@example("imagenet_kaggle", "imagenet_1k")
def imagenet_kaggle() -> Folder:
    data = "ILSVRC/Data/CLS-LOC"
    return {
        f"{data}/train/n01440764/n01440764_1.JPEG": image(1, "JPEG"),
        f"{data}/train/n02012849/n02012849_1.JPEG": image(2, "JPEG"),
        f"{data}/val/ILSVRC2012_val_00000001.JPEG": image(3, "JPEG"),
        "LOC_val_solution.csv": b"ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 85 1 499 272 \n",
        "LOC_synset_mapping.txt": b"n01440764 tench, Tinca tinca\nn02012849 crane\n",
    }


@example("tiny_imagenet")
def tiny_imagenet() -> Folder:
    wnids = ("n01443537", "n02012849")
    return {f"train/{wnid}/images/{wnid}_0.JPEG": image(n, "JPEG") for n, wnid in enumerate(wnids)} | {
        "val/images/val_0.JPEG": image(7, "JPEG"),
        "test/images/test_0.JPEG": image(8, "JPEG"),
        "val/val_annotations.txt": b"val_0.JPEG\tn02012849\t0\t32\t44\t62\n",
        "wnids.txt": "\n".join(wnids).encode(),
        "words.txt": b"n01443537\tgoldfish, Carassius auratus\nn02012849\tcrane\n",
    }


@example("food101")
def food101() -> Folder:
    names = ["apple_pie/1", "hot_dog/2"]
    lists = {f"meta/{split}.txt": f"{name}\n".encode() for split, name in zip(("train", "test"), names)}
    return (
        {f"images/{name}.jpg": image(1, "JPEG") for name in names}
        | {"meta/classes.txt": b"apple_pie\nhot_dog\n"}
        | lists
    )


@example("fgvc_aircraft")
def fgvc_aircraft() -> Folder:
    files = {f"data/images/{n:07}.jpg": image(n, "JPEG") for n in range(3)} | {
        "data/variants.txt": b"707-320\nF/A-18\n"
    }
    lists = {
        f"data/images_variant_{split}.txt": b"%07d F/A-18\n" % n for n, split in enumerate(("train", "val", "test"))
    }
    return files | lists


@example("oxford_iiit_pet")
def oxford_iiit_pet() -> Folder:
    names = ["Abyssinian_1", "beagle_2"]
    files = {f"images/{name}.jpg": image(n, "JPEG") for n, name in enumerate(names)}
    files |= {f"annotations/trimaps/{name}.png": encode(pixels(n, channels=1) % 3 + 1) for n, name in enumerate(names)}
    return files | {"annotations/trainval.txt": b"Abyssinian_1 1 1 1\n", "annotations/test.txt": b"beagle_2 2 2 1\n"}


@example("ade20k")
def ade20k() -> Folder:
    files, scenes = {}, ""
    for split, short in (("training", "train"), ("validation", "val")):
        name = f"ADE_{short}_00000001"
        files |= {f"images/{split}/{name}.jpg": image(1, "JPEG"), f"annotations/{split}/{name}.png": palette(1)}
        scenes += f"{name} street\n"
    lines = ["Idx\tRatio\tTrain\tVal\tName", *(f"{n}\t0.1\t9\t2\tthing {n}, other" for n in range(1, 151))]
    return files | {"sceneCategories.txt": scenes.encode(), "objectInfo150.txt": "\n".join(lines).encode()}


@example("usps")
def usps() -> Folder:
    line = "7 " + " ".join(f"{n}:{n / 256 - 0.5:.3g}" for n in range(1, 257)) + " \n"
    return {"usps": (line * 2).encode(), "usps.t": line.encode()}


@example("omniglot")
def omniglot() -> Folder:
    dots = [encode(pixels(n, 105, 105, 1) > 127) for n in range(2)]
    return {f"images_background/Greek/character01/0001_{n + 1:02}.png": dots[n] for n in range(2)} | {
        "images_evaluation/ULOG/character01/0002_01.png": dots[0]
    }


@example("pcam")
def pcam() -> Folder:
    import h5py

    def write(folder):
        for split in ("train", "valid", "test"):
            for key, array in (("x", arrays(2, 4, 4, 3)), ("y", np.array([0, 1], np.uint8).reshape(2, 1, 1, 1))):
                with h5py.File(folder / f"camelyonpatch_level_2_split_{split}_{key}.h5", "w") as file:
                    file[key] = array

    return on_disk(write)


@example("card")
def card() -> Folder:
    return {"README.md": (PACKAGE / "mnist/README.md").read_bytes()}


@example("stock_parquet", "stock")
def stock_parquet() -> Folder:
    import datasets

    rows = {"image": [{"bytes": image(n), "path": None} for n in range(3)], "label": [0, 1, 0]}
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["ant", "bee"]))
    buffer = io.BytesIO()
    datasets.Dataset.from_dict(rows, features).to_parquet(buffer)
    configs = "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n"
    return {
        "data/train-00000-of-00001.parquet": buffer.getvalue(),
        "README.md": f"---\n{configs}---\n\n# Set\n".encode(),
    }


@example("recipe_config", "config")
def recipe_config() -> Folder:
    config = (
        "data:\n  path: digits\n  mean: [0.5]\naugment:\n  flip: 0.5\noptim:\n  lr: 2e-3\n  clip: null\nepochs: 1.5\n"
    )
    return {
        "run.yaml": config.encode(),
        "options.txt": b"batch=32\noptim.lr=1e-3\ndata.std=[0.1]\nmodel.name=resnet8\n",
    }


@example("model_folder", "model")
def model_folder() -> Folder:
    from recipes.core.config.tasks import Model
    from recipes.core.models.models import build_model
    from recipes.core.models.saved import weights_of

    torch.manual_seed(0)
    info = {
        "architecture": "resnet8",
        "width": 1,
        "labels": ["ant", "bee"],
        "channels": 1,
        "size": 8,
        "resize": "whole",
        "mean": [0.5],
        "std": [0.25],
    }
    weights = weights_of(build_model(Model("resnet8", 1), 1, 2))
    return {"config.json": json.dumps(info).encode(), "model.safetensors": weights}


@example("checkpoint")
def checkpoint() -> Folder:
    import hashlib

    state, progress = io.BytesIO(), json.dumps({"samples": 64, "epoch": 1.5, "best": {"accuracy": 0.5}}).encode()
    torch.save({"model": {"weight": torch.arange(6.0).view(2, 3)}, "optimizer": {"state": {0: {"step": 3}}}}, state)
    files = {"state.pt": state.getvalue(), "progress.json": progress}
    manifest = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    folder = "checkpoints/000000000064"
    return {
        f"{folder}/{name}": content
        for name, content in (files | {"manifest.json": json.dumps(manifest).encode()}).items()
    }


@example("features")
def features() -> Folder:
    values = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    return {
        "a.npz": zip_of({"2048.npy": npy_of(values)}, zipfile.ZIP_STORED),
        "b.npz": zip_of({"mu.npy": npy_of(values.mean(0)), "sigma.npy": npy_of(np.cov(values.T))}),
        "c.safetensors": safetensors.torch.save({"2048": torch.from_numpy(values)}),
    }


@example("images")
def images() -> Folder:
    kinds = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "QOI", "AVIF", "DDS")
    files = {f"{kind.lower()}.{kind.lower()}": image(n, kind) for n, kind in enumerate(kinds) if kind != "QOI"}
    exif = EXAMPLES["coco_boxes"].make()["train/2.jpg"]
    return files | {"turned.jpg": exif, "palette.png": palette(1)}
