"""The metrics on any number of processes are those that torch-fidelity computes on one."""

import functools
import importlib.util
import json
import os
import sys
import time

import datasets
import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch

pytest.importorskip("torch_fidelity")
import torch_fidelity
import torchvision
from sklearn.metrics.pairwise import polynomial_kernel
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from dataset_scripts import DataError, load_dataset
from recipes import fidelity
from recipes.core.data.images import to_8_bits
from recipes.core.errors import UserError
from recipes.core.fidelity import extractors, options, resizing, weights

MOBILENET = os.environ.get("MOBILENET")
pytestmark = pytest.mark.filterwarnings("ignore:.*mostly bias", "ignore:.*torch.jit")
ALL = {"isc": True, "fid": True, "kid": True, "prc": True}


@pytest.fixture(scope="session")
def worker(root):
    """The module of the worker; importing it registers its extractor."""
    spec = importlib.util.spec_from_file_location("fidelity_worker", root / "tests/workers/fidelity.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    torch.set_num_threads(1)  # as in the processes that it is compared with
    return module


def photos(folder, count, seed, size=(32, 32), suffix=".png"):
    """Writes smooth random pictures; returns the folder."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        small = PIL.Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        small.resize(size).save(folder / f"{number:04}{suffix}")
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("photos")
    return {
        name: str(photos(base / name, count, count)) for name, count in (("a", 103), ("b", 131), ("c", 5), ("d", 4))
    }


@pytest.fixture
def measure(worker, tmp_path):
    """`calculate_metrics` with the small extractor and a cache of the test's own."""

    def run(**given):
        defaults = {"feature_extractor": "small", "kid_subset_size": 4, "isc_splits": 2, "batch_size": 8}
        return fidelity.calculate_metrics(**{**defaults, "verbose": False, "cache_root": tmp_path / "cache", **given})

    return run


@pytest.fixture(scope="session")
def calls(folders):
    """The calls to ours and to torch-fidelity: sizes that nothing divides, fewer images than processes, generators."""
    plain = {"input1": folders["a"], "input2": folders["b"], "batch_size": 10, "kid_subset_size": 50}
    few = {"input1": folders["c"], "input2": folders["d"], "batch_size": 4, "kid_subset_size": 4, "isc_splits": 2}
    drawn = {"input1": {"classes": 0}, "input1_model_num_samples": 37, "input2": {"items": folders["b"]}}
    lengths = {"ppl": True, "ppl_sample_similarity": "distance", "ppl_reduction": "none", "ppl_epsilon": 1e-2}
    # torch-fidelity cannot trim any more.
    whole = {"ppl_discard_percentile_lower": None, "ppl_discard_percentile_higher": None}
    both = {"batch_size": 10, "kid_subset_size": 20, "isc_splits": 3, **lengths, **whole}
    classes = {"input1": {"classes": 4}, "input1_model_num_classes": 4}
    return [{**call, **ALL, "cache": False} for call in (plain, few, {**drawn, **both}, {**drawn, **both, **classes})]


@pytest.fixture(scope="session")
def theirs(worker, calls):
    with pytest.MonkeyPatch.context() as patch:
        # torch-fidelity needs this of old NumPy for conditional generators.
        patch.setattr(np, "int", int, raising=False)
        return worker.answers(torch_fidelity.calculate_metrics, calls)


@pytest.mark.parametrize("processes", [1, 3, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 4))])
def test_equal_to_torch_fidelity(root, run_processes, worker, calls, theirs, processes):
    if processes == 1:
        ours = worker.answers(fidelity.calculate_metrics, calls)
    else:
        output = run_processes(processes, root / "tests/workers/fidelity.py", json.dumps(calls)).stdout
        ours = json.loads(output.splitlines()[-1])
    assert ours == theirs  # every bit of every value
    assert set(theirs[2]) > {
        "inception_score_mean",
        "frechet_inception_distance",
        "precision",
        "perceptual_path_length_raw",
    }


def test_all_kinds_of_input_give_the_same(measure, folders, tmp_path, worker):
    b, cache = {"input2": folders["b"], **ALL}, tmp_path / "cache"
    expected = measure(input1=folders["a"], **b)
    rows = load_dataset("imagefolder", data_dir=folders["a"], split="train")
    assert measure(input1=rows, **b) == expected
    assert measure(input1=rows.with_format("torch"), **b) == expected
    assert measure(input1=worker.Items(folders["a"]), **b) == expected
    nested = tmp_path / "set"
    for label in ("x", "y"):
        photos(nested / "train" / label, 9, ord(label))
    deep = measure(input1=str(nested), samples_find_deep=True, **b)
    assert measure(input1=str(nested), input1_split="train", **b) == deep
    pairs = torchvision.datasets.ImageFolder(nested / "train")  # Pillow images with labels
    assert measure(input1=pairs, **b) == deep
    with pytest.raises(UserError, match="has a transform, which is not applied"):
        measure(input1=rows.with_transform(lambda batch: batch), **b)
    # the cache holds a file of features, which is also an input
    for path in cache.glob("*/features.safetensors"):
        features = safetensors.torch.load_file(path)
        if len(features["pooled"]) == 103:
            np.savez(tmp_path / "a.npz", **{layer: value.numpy() for layer, value in features.items()})
            assert measure(input1=path, **b) == measure(input1=str(tmp_path / "a.npz"), **b) == expected


def test_statistics_are_an_input_of_fid_alone(measure, folders, tmp_path):
    expected = measure(input1=folders["a"], input2=folders["b"], fid=True)
    (path,) = [
        path
        for path in (tmp_path / "cache").glob("*/*.safetensors")
        if len(safetensors.torch.load_file(path)["pooled"]) == 131
    ]
    features = safetensors.torch.load_file(path)["pooled"].numpy()
    for name, dtype in (("same", np.float32), ("wide", np.float64)):
        statistics = {"mu": features.mean(0, dtype=dtype), "sigma": np.cov(features, rowvar=False)}
        np.savez(tmp_path / f"{name}.npz", **statistics)
        found = measure(input1=folders["a"], input2=tmp_path / f"{name}.npz", fid=True)
        assert found["frechet_inception_distance"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-5)
    assert measure(input1=folders["a"], input2=tmp_path / "same.npz", fid=True) == expected
    with pytest.raises(UserError, match=r"same\.npz holds statistics .* not for kid"):
        measure(input1=folders["a"], input2=tmp_path / "same.npz", kid=True)


def test_formats_and_modes(measure, tmp_path):
    """Files of any format give the result of their pixels; files that torch-fidelity would skip are read."""
    real = str(photos(tmp_path / "real", 20, 1))
    for suffix in (".bmp", ".tiff", ".webp"):
        random = np.random.default_rng(3)
        for kind, ending in (("png", ".png"), (suffix, suffix)):
            random = np.random.default_rng(3)
            (tmp_path / f"{suffix}{kind}").mkdir()
            for number in range(6):
                picture = PIL.Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8))
                picture.save(
                    tmp_path / f"{suffix}{kind}" / f"{number}{ending}",
                    **({"lossless": True} if ending == ".webp" else {}),
                )
        values = [measure(input1=str(tmp_path / f"{suffix}{kind}"), input2=real, fid=True) for kind in ("png", suffix)]
        assert values[0] == values[1]
    grey = np.arange(81, dtype=np.uint8).reshape(9, 9)
    for picture in (
        PIL.Image.fromarray(grey),
        PIL.Image.fromarray(np.dstack([grey, grey[::-1]]), "LA"),
        PIL.Image.fromarray(grey.astype(np.uint16) * 256 + 77),
        PIL.Image.fromarray(np.dstack([grey, grey, grey, grey[::-1]]), "RGBA"),
    ):
        assert np.array_equal(np.asarray(to_8_bits(picture, 3, "x")), np.dstack([grey] * 3)), picture.mode
    palette = PIL.Image.fromarray(grey, "P")
    palette.putpalette([value for index in range(256) for value in (255 - index, index, 7)])
    palette.info["transparency"] = bytes(range(256))
    expected = np.dstack([255 - grey, grey, np.full_like(grey, 7)])
    assert np.array_equal(np.asarray(to_8_bits(palette, 3, "x")), expected)
    with pytest.raises(DataError, match="mode F"):
        to_8_bits(PIL.Image.fromarray(grey.astype(np.float32)), 3, "x")


def test_images_of_several_sizes_need_resize(measure, folders, tmp_path):
    mixed = photos(tmp_path / "mixed", 5, 0)
    photos(mixed, 2, 1, size=(40, 20))
    with pytest.raises(UserError, match=r"image 2 is \(3, 32, 32\), but image 0 is \(3, 20, 40\): set resize=N"):
        measure(input1=str(mixed), input2=folders["b"], fid=True, workers=0)
    for option in ("resize", "samples_resize_and_crop"):
        measure(input1=str(mixed), input2=folders["b"], fid=True, **{option: 16})
    cropped = torch_fidelity.calculate_metrics(
        input1=str(mixed),
        input2=folders["b"],
        fid=True,
        feature_extractor="small",
        batch_size=8,
        cuda=False,
        verbose=False,
        samples_resize_and_crop=16,
    )
    assert measure(input1=str(mixed), input2=folders["b"], fid=True, samples_resize_and_crop=16) == cropped
    (mixed / "0003.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="0003.png"):
        measure(input1=str(mixed), input2=folders["b"], fid=True, resize=16, workers=0)


def test_cache_is_used_and_never_stale(measure, folders, tmp_path, worker, monkeypatch):
    data = photos(tmp_path / "data", 20, 0, suffix=".bmp")
    run = functools.partial(measure, input1=str(data), input2=folders["b"], fid=True)
    first = run()
    calls = []
    forward = worker.Small.forward
    monkeypatch.setattr(
        worker.Small, "forward", lambda self, images: calls.append(len(images)) or forward(self, images)
    )
    assert run(input1_cache_name="mine") == first and not calls
    # other pixels in files of the same names, sizes and times
    times = {path: path.stat() for path in data.iterdir()}
    photos(data, 20, 1, suffix=".bmp")
    for path, state in times.items():
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert run(input1_cache_name="mine") != first and sum(calls) == 20
    # another transform, batch size, dtype or layer; one file fewer
    for changed in ({"resize": 8}, {"batch_size": 7}, {"feature_layer_fid": "logits"}):
        calls.clear()
        run(**changed)
        assert calls, changed
    next(data.iterdir()).unlink()
    calls.clear()
    run()
    assert sum(calls) == 19
    # rows that point to files, and a torch Dataset, which has no identity but its pixels
    rows = datasets.Dataset.from_dict({"image": sorted(map(str, data.iterdir()))}).cast_column(
        "image", datasets.Image()
    )
    for source in (rows, worker.Items(data)):
        named = {"input1": source, "input1_cache_name": "mine"}
        before = run(**named)
        calls.clear()
        assert run(**named) == before and not calls
        photos(data, 20, 2 + isinstance(source, datasets.Dataset), suffix=".bmp")
        assert run(**named) != before and calls


def test_goes_on_after_a_kill(root, start_processes, measure, folders, tmp_path, worker):
    call = {
        "input1": folders["a"],
        "input2": folders["b"],
        "fid": True,
        "batch_size": 4,
        "cache_root": str(tmp_path / "cache"),
    }
    process = start_processes(1, root / "tests/workers/fidelity.py", json.dumps([call]), "0.2")
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "cache").glob("*/shard-*"))) < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.kill()
    calls = []
    torch.set_num_threads(1)
    original = worker.Small.forward
    worker.Small.forward = lambda self, images: calls.append(len(images)) or original(self, images)
    try:
        resumed = measure(**call)
    finally:
        worker.Small.forward = original
    assert 131 < sum(calls) < 103 + 131 - 8
    assert resumed == measure(**call | {"cache": False})
    assert not list((tmp_path / "cache").glob("*/shard-*")) and not list((tmp_path / "cache").glob("run-*"))


def test_path_lengths_are_trimmed_as_published(measure, worker):
    generator = worker.as_input({"classes": 3})
    given = {"input1": generator, "input1_model_num_samples": 300, "ppl": True, "ppl_sample_similarity": "distance"}
    given |= {"ppl_epsilon": 1e-2, "batch_size": 64}
    none = {"ppl_discard_percentile_lower": None, "ppl_discard_percentile_higher": None}
    lengths = np.sort(measure(**given, **none, ppl_reduction="none")["perceptual_path_length_raw"])
    kept = lengths[int(0.01 * 299) : int(np.ceil(0.99 * 299)) + 1]
    found = measure(**given)
    assert found["perceptual_path_length_mean"] == pytest.approx(kept.mean(), rel=1e-9)
    assert found["perceptual_path_length_std"] == pytest.approx(kept.std(), rel=1e-9)


def test_torchscript_generator(measure, worker, folders, tmp_path):
    traced = torch.jit.trace(worker.Generate(0), torch.randn(2, 6))
    traced.save(tmp_path / "generator.pth")
    given = {"input2": folders["b"], "input1_model_num_samples": 30, "fid": True}
    with pytest.raises(UserError, match="input1_model_z_size"):
        measure(input1=str(tmp_path / "generator.pth"), **given)
    values = [
        measure(input1=source, input1_model_z_size=6, **given)
        for source in (tmp_path / "generator.pth", worker.Generate(0))
    ]
    assert values[0] == values[1]


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """A file of random weights of Inception."""

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, *args):
            pass

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save({}, path)
    torch.manual_seed(0)
    blank = Blank("inception-v3-compat", ["2048"], str(path))
    torch.save(blank.state_dict(), path)
    return path


def test_float64_is_float64(measure, worker, inception):
    """Features do not depend on the batch, nor on the 24th bit; torch-fidelity's own option computes in float32."""
    chosen = options.complete({"isc": True, "input1": "x", "feature_extractor_internal_dtype": "float64"})
    batch = torch.stack([worker.pil_to_tensor(PIL.Image.effect_noise((40, 40), 90).convert("RGB")) for _ in range(2)])
    built = extractors.build("inception-v3-compat", ["2048"], chosen, weights.obtain("inception-v3-compat", inception))
    double = extractors.run(built, batch)["2048"]
    alone = torch.cat([extractors.run(built, batch[[index]])["2048"] for index in range(2)])
    assert double.dtype == torch.float64 and not torch.equal(double, double.float().double())
    assert torch.allclose(double, alone, rtol=1e-12, atol=1e-15)
    single = extractors.build(
        "inception-v3-compat",
        ["2048"],
        chosen | {"feature_extractor_internal_dtype": None},
        weights.obtain("inception-v3-compat", inception),
    )
    single = extractors.run(single, batch)["2048"]
    assert single.dtype == torch.float32 and 1e-8 < (single - double).abs().max() / double.abs().max() < 1e-4


def test_weights_are_checked(measure, folders, inception, tmp_path):
    run = functools.partial(measure, input1=folders["c"], input2=folders["d"], fid=True, feature_layer_fid="64")
    run = functools.partial(run, feature_extractor=None, batch_size=3)
    with pytest.raises(UserError, match=r"there is no file .*nowhere\.pth"):
        run(feature_extractor_weights_path=tmp_path / "nowhere.pth")
    with pytest.warns(UserWarning, match="not the published weights"):
        value = run(feature_extractor_weights_path=inception)
    with pytest.warns(UserWarning, match="not the published weights"):
        expected = torch_fidelity.calculate_metrics(
            input1=folders["c"],
            input2=folders["d"],
            fid=True,
            batch_size=3,
            cuda=False,
            verbose=False,
            feature_layer_fid="64",
            feature_extractor_weights_path=inception,
        )
        assert run(weights={"inception-v3-compat": inception}) == value == expected
    with pytest.raises(UserError, match="feature_extractor_weights_path serves one extractor"):
        run(feature_extractor_weights_path=inception, prc=True)
    named = tmp_path / "inception-6726825d.pth"
    named.write_bytes(inception.read_bytes())
    with pytest.raises(UserError, match="is damaged: its sha256 is"):
        run(feature_extractor_weights_path=named)
    with pytest.raises(
        UserError,
        match=r"weights of mobilenet-v2: mobilenet_v2-b0353104.pth is not on this machine, and HF_HUB_OFFLINE",
    ):
        run(feature_extractor="mobilenet-v2", feature_layer_fid="1280")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth does not hold the weights of inception"):
        run(feature_extractor_weights_path=tmp_path / "other.pth")
    torch.save({"run": os.system}, tmp_path / "code.pth")
    with pytest.raises(UserError, match=r"code\.pth is not a dict of tensors"):
        run(feature_extractor_weights_path=tmp_path / "code.pth")


def test_options_are_checked(measure, folders):
    for given, message in (
        ({"kid_subset_siz": 5, "fid": True}, "no option kid_subset_siz: did you mean kid_subset_size?"),
        ({}, "no metric is selected"),
        ({"fid": True, "input2": None}, "input2 is missing"),
        ({"fid": True, "feature_extractor": "incepton"}, "feature_extractor=incepton: choose one of"),
        ({"fid": True, "feature_layer_fid": "2048"}, "feature_layer_fid=2048: small has pooled, logits"),
        ({"kid": True, "kid_subset_size": 1000}, "kid_subset_size=1000, but there are 103"),
        ({"ppl": True}, "ppl needs a generator"),
        ({"fid": True, "input2": "no/such/folder"}, "no/such/folder"),
        ({"fid": True, "input2": 5}, "input2 is of type int"),
    ):
        with pytest.raises(UserError, match=message.replace("?", r"\?")):
            measure(**{"input1": folders["a"], "input2": folders["b"], **given})


@pytest.fixture
def clouds(tmp_path):
    """Writes features as files, and returns their paths."""

    def write(**arrays):
        for name, array in arrays.items():
            np.savez(tmp_path / f"{name}.npz", pooled=array.astype(np.float32))
        return [tmp_path / f"{name}.npz" for name in arrays]

    return write


def test_known_distances(measure, clouds):
    random = np.random.default_rng(0)
    x = random.normal(size=(4000, 16))
    same, shifted = clouds(x=x, y=x + np.eye(16)[0] * 3)
    assert measure(input1=same, input2=same, fid=True)["frechet_inception_distance"] == pytest.approx(0, abs=1e-5)
    assert measure(input1=same, input2=shifted, fid=True)["frechet_inception_distance"] == pytest.approx(9, rel=1e-4)


def test_a_lost_mode_costs_recall_not_precision(measure, clouds):
    random = np.random.default_rng(0)
    modes = np.repeat(np.eye(8) * 20, 50, 0)
    real, dropped = clouds(real=modes + random.normal(size=(400, 8)), drop=modes[:200] + random.normal(size=(200, 8)))
    values = measure(input1=dropped, input2=real, prc=True)
    assert values["precision"] > 0.85 and 0.4 < values["recall"] < 0.55
    values = measure(input1=real, input2=dropped, prc=True)
    assert values["recall"] > 0.85 and 0.4 < values["precision"] < 0.55


def test_precision_in_blocks_equals_whole(measure, clouds):
    """More rows than one block holds, and ties: samples that both sides share."""
    random = np.random.default_rng(0)
    count = 1228
    real = random.normal(size=(count, 24))
    fake = np.concatenate([real[: count // 3], random.normal(size=(900, 24)) * 1.1])
    whole = torch_fidelity.metric_prc.prc_features_to_metric(
        *(torch.from_numpy(side.astype(np.float32)) for side in (fake, real)), verbose=False
    )
    assert measure(**dict(zip(("input1", "input2"), clouds(fake=fake, real=real))), prc=True) == whole


def test_uncertainty(measure, clouds):
    """Against closed forms and brute force: the bias is gone, and the error covers the truth."""
    scale = np.linspace(0.5, 2, 32)
    truth, corrected, raw, errors = float(((scale - 1) ** 2).sum()), [], [], []
    for seed in range(6):
        random = np.random.default_rng(seed)
        x, y = random.normal(size=(700, 32)) * scale, random.normal(size=(900, 32))
        values = measure(**dict(zip(("input1", "input2"), clouds(x=x, y=y))), fid=True, kid=True, uncertainty=True)
        raw.append(values["frechet_inception_distance"])
        corrected.append(values["frechet_inception_distance_unbiased"])
        errors.append(values["frechet_inception_distance_se"])
    assert np.mean(raw) - truth > 5 * abs(np.mean(corrected) - truth)
    assert np.abs(np.array(corrected) - truth).max() < 4 * np.mean(errors)
    assert 0.4 < np.std(raw, ddof=1) / np.mean(errors) < 2.5
    x, y = (side.astype(np.float32).astype(np.float64) for side in (x, y))
    kernel = functools.partial(polynomial_kernel, degree=3, gamma=None, coef0=1)
    inside = [(kernel(side).sum() - kernel(side).trace()) / (len(side) * (len(side) - 1)) for side in (x, y)]
    assert values["kernel_inception_distance_exact"] == pytest.approx(sum(inside) - 2 * kernel(x, y).mean(), rel=1e-9)
    assert abs(values["kernel_inception_distance_exact"] - values["kernel_inception_distance_mean"]) < 1
    assert (values["n1"], values["n2"], values["d"]) == (700, 900, 32)
    few = clouds(p=x[:20], q=y[:25])
    with pytest.warns(UserWarning, match="20 images and 32 dimensions"):
        values = measure(input1=few[0], input2=few[1], fid=True, uncertainty=True)
    assert "frechet_inception_distance_unbiased" not in values and values["frechet_inception_distance_se"] > 0


def test_command_line(root, run_processes, folders, tmp_path):
    """On two processes, from weights to pictures; the weights are random."""
    torch.manual_seed(0)
    weights_file = tmp_path / "mobilenet.pth"
    torch.save(torchvision.models.mobilenet_v2().state_dict(), weights_file)
    arguments = [
        "--isc",
        "--kid",
        "--prc",
        "--input1",
        folders["c"],
        "--input2",
        folders["d"],
        "--kid-subset-size",
        "4",
    ]
    arguments += [
        "--feature-extractor",
        "mobilenet-v2",
        "--weights",
        f"mobilenet-v2={weights_file}",
        "--isc-splits",
        "2",
    ]
    arguments += ["--cache-root", tmp_path / "cache", "--out", tmp_path / "out", "--workers", "0"]
    result = run_processes(2, root / "recipes/fidelity.py", *arguments)
    assert "| Recall | " in result.stdout and "not the published weights" in result.stderr
    record = json.loads((tmp_path / "out/metrics.json").read_text())
    assert record["processes"] == 2 and record["extractors"]["mobilenet-v2"]["official"] is False
    assert record["metrics"]["n1"] == 5 and record["inputs"]["input2"]["mobilenet-v2"]["images"] == 4
    for name in ("features.png", "samples.png"):
        assert np.asarray(PIL.Image.open(tmp_path / "out" / name)).std() > 5
    again = run_processes(1, root / "recipes/fidelity.py", *arguments, check=False)
    assert (
        again.returncode == 1 and again.stderr.count("already holds results") == 1 and "Traceback" not in again.stderr
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_resizing_equals_that_of_torch_fidelity(dtype):
    for height, width, size in ((32, 32, 299), (48, 64, 224), (700, 300, 224), (1, 5, 9), (299, 299, 299)):
        pixels = torch.randint(0, 256, (2, 3, height, width)).to(dtype)
        expected = interpolate_bilinear_2d_like_tensorflow1x(pixels, size=(size, size), align_corners=False)
        assert torch.equal(resizing.resize(pixels, (size, size)), expected)


@pytest.mark.skipif(not MOBILENET, reason="MOBILENET=path of torchvision's mobilenet_v2-b0353104.pth is not given")
def test_real_features_see_every_degradation(measure, tmp_path):
    """Blur, JPEG and noise raise the distance, more so the stronger they are (photos from scikit-learn)."""
    from PIL import ImageFilter
    from sklearn.datasets import load_sample_images

    pictures = [PIL.Image.fromarray(picture) for picture in load_sample_images().images]

    def crops(name, seed, change=lambda picture, random: picture):
        random = np.random.default_rng(seed)
        (tmp_path / name).mkdir()
        for number in range(80):
            picture = pictures[number % len(pictures)]
            left, top = random.integers(0, picture.width - 64), random.integers(0, picture.height - 64)
            change(picture.crop((left, top, left + 64, top + 64)), random).save(tmp_path / name / f"{number:03}.png")
        return str(tmp_path / name)

    def jpeg(quality):
        def change(picture, random):
            picture.save(tmp_path / "x.jpg", quality=quality)
            return PIL.Image.open(tmp_path / "x.jpg").convert("RGB")

        return change

    def noise(sigma):
        def change(picture, random):
            noisy = np.asarray(picture) + random.normal(0, sigma, (64, 64, 3))
            return PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8))

        return change

    def blur(radius):
        return lambda picture, random: picture.filter(ImageFilter.GaussianBlur(radius))

    reference = crops("reference", 1)
    given = {
        "feature_extractor": "mobilenet-v2",
        "weights": {"mobilenet-v2": MOBILENET},
        "kid": True,
        "kid_subset_size": 80,
    }

    def distance(name, *change):
        values = measure(input1=crops(name, 2, *change), input2=reference, **given, kid_subsets=1)
        return values["kernel_inception_distance_mean"]

    clean = distance("clean")
    assert clean < distance("jpeg40", jpeg(40)) < distance("jpeg8", jpeg(8))
    assert clean < distance("noise8", noise(8)) < distance("noise30", noise(30))
    assert clean < distance("blur1", blur(1)) < distance("blur2", blur(2))


def test_options_of_both_dialects_mean_the_same():
    dashes = [
        "--isc",
        "--kid",
        "--input1",
        "a",
        "--input2=b",
        "--batch-size",
        "8",
        "--no-uncertainty",
        "--weights",
        "vgg16=x.pth",
    ]
    words = [
        "isc=true",
        "fid=false",
        "kid=true",
        "input1=a",
        "input2=b",
        "batch_size=8",
        "uncertainty=false",
        "weights=vgg16=x.pth",
    ]
    assert options.parse(dashes, "") == options.parse(words, "")
    with pytest.raises(UserError, match="isc=maybe must be true or false"):
        options.parse(["isc=maybe"], "")
