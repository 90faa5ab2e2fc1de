"""Pretrained weights by name, fetched from a real server and a real Hub on loopback, by real processes."""

import hashlib
import io
import json
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import timm
import torch
import torchvision
import yaml
from torch import nn

from dataset_scripts import DataError
from dataset_scripts.core.builders import download
from recipes import load_model
from recipes.core.config.data import Data
from recipes.core.config.tasks import Model, Train
from recipes.core.errors import UserError
from recipes.core.fidelity import weights as of_extractors
from recipes.core.models.models import build_model, find_heads, load_tensors, read_timm
from recipes.core.models.pretrained import find_pretrained, follow, origin, published_names, start_from_weights
from recipes.core.models.weights import AtUrl, OnHub
from recipes.core.options import merge, to_yaml
from recipes.core.run.run_folder import difference

SQUEEZENET, TIMM = "squeezenet1_1", "resnet10t.c3_in1k"


pytestmark = pytest.mark.usefixtures("one_thread")


def in_bytes(model: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return file.getvalue()


def randomize(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.add_(noise * 0.2 if "running" in name else (noise - 0.5) * 0.05)
    return model.eval()


@pytest.fixture(scope="module")
def squeezenet():
    """The content of a file of weights in torchvision's form."""
    return in_bytes(torchvision.models.squeezenet1_1())


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted, content = self.headers.get("Range"), self.server.content
        self.server.requests.append(wanted)
        start = int(wanted[6:-1]) if wanted else 0
        if self.server.behaviour == "missing":
            return self.send_error(404)
        body, length = content[start:], len(content) - start
        if self.server.behaviour == "breaks" and len(self.server.requests) == 1:
            body = body[:100_000]
        if self.server.behaviour == "wrong":
            body = body[::-1]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(length))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(squeezenet):
    """Serves `squeezenet` under a name with its hash: `server.url`; notes the range of each request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.content, server.behaviour = [], squeezenet, "good"
    server.name = f"squeezenet1_1-{hashlib.sha256(squeezenet).hexdigest()[:8]}.pth"
    server.url = f"http://127.0.0.1:{server.server_port}/models/{server.name}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture
def online(monkeypatch, tmp_path):
    """Lets this process use the network; returns `checkpoints` in a new folder for torch.hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(download, "PAUSE", 0.01)
    hub = torch.hub.get_dir()
    torch.hub.set_dir(tmp_path / "hub")
    yield tmp_path / "hub/checkpoints"
    torch.hub.set_dir(hub)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes, of dark and of bright images."""
    folder, rng = tmp_path_factory.mktemp("data") / "photos", np.random.default_rng(0)
    for split in ("train", "test"):
        for label, name in enumerate(("dark", "bright")):
            (folder / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(100 * label, 100 * label + 100, (40, 44, 3), dtype=np.uint8)
                PIL.Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


def options(photos, out, **more):
    given = {"epochs": 1, "batch": 4, "cpu": "true", "data.path": photos, "data.workers": 0, "out": out, **more}
    return [f"{name}={value}" for name, value in given.items()]


def test_two_processes_fetch_once_and_the_next_run_makes_no_request(
    run_processes, root, server, squeezenet, photos, tmp_path
):
    """The probe's features are those of the file, its head is new; the input is that of the weights."""
    worker, home = root / "tests/workers/published.py", {"TORCH_HOME": str(tmp_path / "torch"), "HF_HUB_OFFLINE": "0"}
    words = ["finetune_folder", f"model.name={SQUEEZENET}", "model.train=head"]
    first = run_processes(2, worker, server.url, *words, *options(photos, tmp_path / "a"), **home)
    assert server.requests == [None]
    stored = tmp_path / "torch/hub/checkpoints" / server.name
    assert stored.read_bytes() == squeezenet
    sha256 = hashlib.sha256(squeezenet).hexdigest()
    said = f"torchvision's {SQUEEZENET} IMAGENET1K_V1, trained on such input, sha256 {sha256}"
    assert f"start      {said}\n" in first.stdout
    assert "3 × 224 × 224 (crop), mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225]" in first.stdout
    assert f"| started from | {said} |" in (tmp_path / "a/README.md").read_text()
    config = yaml.safe_load((tmp_path / "a/config.yaml").read_text())
    assert config["model"]["weights"] == "IMAGENET1K_V1" and config["model"]["weights_sha256"] == sha256
    trained = safetensors.torch.load_file(tmp_path / "a/model.safetensors")
    published = torch.load(stored, weights_only=True)
    head = ["classifier.1.weight", "classifier.1.bias"]
    assert [name for name in published if not torch.equal(trained[name], published[name])] == head
    assert len(trained["classifier.1.bias"]) == 2

    again = options(photos, tmp_path / "b", **{"model.pretrained": "true", "data.size": 64, "data.mean": "[0,0,0]"})
    second = run_processes(1, worker, server.url, f"model.name={SQUEEZENET}", *again, **home)
    assert server.requests == [None]
    assert "3 × 64 × 64 (crop), mean [0.0, 0.0, 0.0], std [0.229, 0.224, 0.225]" in second.stdout
    assert "IMAGENET1K_V1, trained on 224 × 224, mean [0.485, 0.456, 0.406]," in second.stdout


def test_what_cannot_be_fetched_is_one_line(run_processes, root, server, photos, tmp_path):
    server.behaviour = "missing"
    words = [f"model.name={SQUEEZENET}", "model.weights=DEFAULT", *options(photos, tmp_path / "out")]
    home = {"TORCH_HOME": str(tmp_path / "torch"), "HF_HUB_OFFLINE": "0"}
    result = run_processes(2, root / "tests/workers/published.py", server.url, *words, check=False, **home)
    (line,) = (line for line in result.stderr.splitlines() if "error" in line and server.name in line)
    place = tmp_path / "torch/hub/checkpoints" / server.name
    assert result.returncode == 1 and line.endswith(
        f"{server.name} could not be downloaded ({server.url}: HTTP 404 Not Found). "
        f"Otherwise, get {server.url} and put it at {place}"
    )
    assert not (tmp_path / "out").exists() and not place.exists()


def test_a_broken_connection_is_resumed(server, squeezenet, online):
    server.behaviour = "breaks"
    weights = AtUrl.named(server.url).obtain()
    assert server.requests == [None, "bytes=100000-"]
    assert weights.path == online / server.name and weights.path.read_bytes() == squeezenet
    assert weights.sha256 == hashlib.sha256(squeezenet).hexdigest() and weights.official


def test_wrong_bytes_are_refused_and_not_kept(server, squeezenet, online):
    server.behaviour = "wrong"
    refused = (
        rf"{server.name} could not be downloaded .*its sha256 is [0-9a-f]{{64}}, but that of the published file is"
    )
    with pytest.raises(DataError, match=refused) as error:
        AtUrl.named(server.url).obtain()
    assert str(error.value).endswith(f"Otherwise, get {server.url} and put it at {online / server.name}")
    assert not [path for path in online.iterdir() if path.stat().st_size]
    server.behaviour = "good"
    path = AtUrl.named(server.url).obtain().path
    path.write_bytes(squeezenet[::-1])
    assert AtUrl.named(server.url).obtain().path.read_bytes() == squeezenet  # it is fetched again


def test_without_the_net_the_server_is_not_asked(server, squeezenet, online, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    path, by_hand = online / server.name, f"get {server.url} and put it at {online / server.name}"
    with pytest.raises(DataError) as error:
        AtUrl.named(server.url).obtain()
    assert (
        str(error.value) == f"{server.name} is not on this machine, and HF_HUB_OFFLINE is set: unset it, or {by_hand}"
    )
    online.mkdir(parents=True)
    path.write_bytes(squeezenet[::-1])
    with pytest.raises(
        DataError, match=f"{path} is damaged: its sha256 is [0-9a-f]{{64}}, not [0-9a-f]{{8}}…; {by_hand}"
    ):
        AtUrl.named(server.url).obtain()
    path.write_bytes(squeezenet)
    assert AtUrl.named(server.url).obtain().official and not server.requests


def test_extractors_fetch_their_weights_in_the_same_way(server, squeezenet, online, monkeypatch):
    monkeypatch.setitem(of_extractors.PUBLISHED, "mobilenet-v2", AtUrl.named(server.url))
    assert of_extractors.obtain("mobilenet-v2", None).path.read_bytes() == squeezenet
    server.behaviour = "missing"
    (online / server.name).unlink()
    with pytest.raises(
        UserError, match=rf"^the weights of mobilenet-v2: .* at {online / server.name}, or give the file as --weights"
    ):
        of_extractors.obtain("mobilenet-v2", None)


@pytest.fixture(scope="module")
def resnet():
    """A timm model with weights as in a trained one."""
    torch.manual_seed(0)
    return randomize(timm.create_model("resnet10t"))


@pytest.fixture
def timm_hub(hub, resnet, tmp_path):
    """A Hub with that model, its state folder, and what a process needs to reach it."""
    endpoint, folder, state = hub(f"timm/{TIMM}", "model")
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(resnet.state_dict(), folder / "model.safetensors")
    (state / "repo.json").write_text(json.dumps({"private": False}))
    reach = {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }
    return folder, state, {**reach, "TORCH_HOME": str(tmp_path / "torch")}


@pytest.mark.slow
def test_timm_on_two_processes(run_processes, root, timm_hub, resnet, photos, tmp_path):
    """The download breaks off once; the next run uses the other spelling and makes no request."""
    folder, state, reach = timm_hub
    (state / "cut").touch()
    words = ["model.train=head", "data.size=64"]
    train = root / "recipes/train.py"
    first = ["model.name=timm/resnet10t", "model.weights=DEFAULT", *words, *options(photos, tmp_path / "a")]
    result = run_processes(2, train, *first, **reach)
    gets = [line for line in (state / "reads").read_text().splitlines() if line.startswith("GET")]
    assert len(gets) == 2 and gets[0] == "GET model.safetensors"
    assert re.fullmatch(r"GET model.safetensors bytes=[1-9]\d+-", gets[1])
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    trained = "trained on 176 × 176, mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225]"
    assert f"start      timm's resnet10t c3_in1k, {trained}, sha256 {sha256}\n" in result.stdout
    ours, theirs = load_model(tmp_path / "a")[0].state_dict(), resnet.state_dict()
    assert {name for name in theirs if not torch.equal(ours[name], theirs[name])} == {"fc.weight", "fc.bias"}
    before = (state / "reads").read_text()
    run_processes(
        1, train, f"model.name=timm/{TIMM}", "model.pretrained=true", *words, *options(photos, tmp_path / "b"), **reach
    )
    assert (state / "reads").read_text() == before


def test_the_hub_says_no_or_sends_wrong_bytes(timm_hub, tmp_path, monkeypatch):
    folder, state, reach = timm_hub
    constants, home = huggingface_hub.constants, tmp_path / "home"
    place, on_hub = home / f"models--timm--{TIMM}", OnHub(f"timm/{TIMM}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home))
    monkeypatch.setattr(constants, "ENDPOINT", reach["HF_ENDPOINT"])
    url = reach["HF_ENDPOINT"] + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)

    def refusal():
        with pytest.raises(UserError) as error:
            on_hub.obtain()
        return str(error.value)

    by_hand = f"Otherwise, run `hf download timm/{TIMM} model.safetensors` where the Hub can be reached"
    by_hand = f"{by_hand}, and copy {place.name} to {place}"
    begin = f"{constants.ENDPOINT}/timm/{TIMM} could not be fetched ("
    assert refusal() == f"{begin}HF_HUB_OFFLINE is set: unset it to reach the Hub). {by_hand}"
    assert not (state / "reads").exists()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    (state / "repo.json").write_text(json.dumps({"private": True}))
    assert refusal().startswith(f"{begin}{constants.ENDPOINT} answered 404") and refusal().endswith(by_hand)
    (state / "repo.json").write_text(json.dumps({"private": False}))
    (state / "wrong").touch()
    assert refusal().startswith(f"timm/{TIMM}: model.safetensors arrived damaged, with the sha256")
    assert not [path for path in (place / "blobs").iterdir() if path.stat().st_size]
    (state / "wrong").unlink()
    content, weights = (folder / "model.safetensors").read_bytes(), on_hub.obtain()
    assert weights.path.read_bytes() == content and weights.sha256 == hashlib.sha256(content).hexdigest()
    weights.path.resolve().write_bytes(content[::-1])  # as if the disk had changed it
    assert on_hub.obtain().path.read_bytes() == content
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert on_hub.obtain() == weights

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "other"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert on_hub.obtain().path.name == "pytorch_model.bin"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "third"))
    (folder / "pytorch_model.bin").unlink()
    assert refusal() == f"timm/{TIMM} on the Hub holds no weights: it has none of model.safetensors, pytorch_model.bin"


def test_timm_as_timm_loads_it(resnet, tmp_path):
    """Another number of channels, a checkpoint around the weights, and an architecture whose files have other names."""
    torch.save({"state_dict": resnet.state_dict()}, tmp_path / "pytorch_model.bin")
    source = {"file": str(tmp_path / "pytorch_model.bin")}
    theirs = timm.create_model(
        "resnet10t", pretrained=True, pretrained_cfg_overlay=source, in_chans=1, num_classes=1000
    )
    config = Model(name="timm/resnet10t", weights="c3_in1k")
    state = read_timm(config, tmp_path / "pytorch_model.bin", "here", 1)
    assert state.keys() == theirs.state_dict().keys() and state["conv1.0.weight"].shape[1] == 1
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in state.items())
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="^here: .*Missing key"):
        read_timm(config, tmp_path / "pytorch_model.bin", "here", 3)


def asked(name, weights=None, pretrained=None, **more):
    return find_pretrained(Model(name=name, weights=weights, pretrained=pretrained, **more))


def test_both_spellings_mean_the_same():
    v2 = torchvision.models.ResNet50_Weights.IMAGENET1K_V2
    found = asked("resnet50", "DEFAULT")
    assert found == asked("resnet50", pretrained=True) == asked("resnet50", "IMAGENET1K_V2")
    assert found == asked("resnet50", "IMAGENET1K_V2", True)
    assert found.file.url == v2.url and found.file.name == v2.url.split("/")[-1] and found.file.sha256 in v2.url
    assert (found.size, found.mean) == (224, [0.485, 0.456, 0.406])
    assert asked("resnet50", "IMAGENET1K_V1").file != found.file
    found = asked("timm/resnet50", "DEFAULT")
    assert found == asked("timm/resnet50", pretrained=True) == asked("timm/resnet50.a1_in1k", pretrained=True)
    assert found == asked("timm/resnet50", "a1_in1k") and found.file.repo == "timm/resnet50.a1_in1k"
    assert asked("timm/resnet50.a2_in1k", "DEFAULT").file.repo == "timm/resnet50.a2_in1k"
    assert asked("timm/gcvit_tiny", pretrained=True).file == AtUrl.named(timm.get_pretrained_cfg("gcvit_tiny").url)
    assert (
        asked("timm/resnet50.a1_in1k") is None
        and asked("resnet50") is None
        and asked("resnet50", pretrained=False) is None
    )


def test_contradictions_and_unknown_names_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({}, "DEFAULT")
    torch.save({}, "own.pth")
    for options, message in (
        (
            ("resnet50", "DEFAULT", False),
            "model.pretrained=false, but model.weights=DEFAULT: leave out one of them, or set",
        ),
        (
            ("resnet50", "own.pth", True),
            "model.pretrained=true asks for published weights, but model.weights=own.pth for a file",
        ),
        (
            ("resnet50", "IMAGENET1K_V3"),
            "is not a file; the published weights of resnet50 are DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2",
        ),
        (("resnet50", "default"), "model.weights=default is not a file; the published weights of resnet50 are DEFAULT"),
        (("timm/resnet50.a1_in1k", "a2_in1k"), "the published weights of timm/resnet50.a1_in1k are DEFAULT, a1_in1k"),
        (("resnet20", None, True), "no weights are published for resnet20: set model.weights to a local file"),
        (("timm/resnet10", None, True), "no model.name=timm/resnet10: timm has"),
        (("timm/botnet50ts_256", None, True), "no weights are published for timm/botnet50ts_256"),
        (
            ("vit_h_14", "DEFAULT"),
            "torchvision builds a different vit_h_14 for IMAGENET1K_SWAG_E2E_V1, for images of 518 pixels",
        ),
        (("resnet50", str(tmp_path)), "is not a file"),
    ):
        with pytest.raises(UserError) as error:
            asked(*options)
        assert message in str(error.value) and len(str(error.value)) < 500, str(error.value)
    assert asked("resnet50", "./DEFAULT") is None and asked("resnet50", "own.pth") is None
    with pytest.raises(UserError, match="model.weights_sha256=ab is the hash of a file: set model.weights"):
        asked("resnet50", weights_sha256="ab")


def test_every_classifier_of_torchvision_has_its_input_and_a_hash():
    for name in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(name):
            assert weights.name in published_names(name)
            if name.startswith("vit_") and "E2E" in weights.name:
                continue
            found = asked(name, weights.name)
            image = PIL.Image.fromarray(np.full((900, 900, 3), (10, 120, 250), np.uint8))
            theirs = weights.transforms()(image)
            ours = (torch.tensor([10, 120, 250]) / 255 - torch.tensor(found.mean)) / torch.tensor(found.std)
            if name not in ("googlenet", "inception_v3"):
                torch.testing.assert_close(ours, theirs[:, 0, 0], rtol=1e-5, atol=1e-5)
            assert (
                theirs.shape[1] == found.size
                and len(found.file.sha256) >= 8
                and found.file.url.endswith(found.file.name)
            )


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
def test_a_network_that_normalises_its_input_itself(tmp_path):
    """torchvision's GoogLeNet does so with published weights; ours gets its input in that range, and one head."""
    theirs = torchvision.models.googlenet(transform_input=True, aux_logits=True, init_weights=False)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of one batch, so that the signal reaches the end
    x = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        theirs.train()(x)
    torch.save(theirs.eval().state_dict(), tmp_path / "weights.pth")
    ours = build_model(Model(name="googlenet", weights=str(tmp_path / "weights.pth")), 3, 1000).eval().double()
    theirs, x = theirs.double(), x.double()
    found, given = asked("googlenet", "DEFAULT"), torchvision.models.GoogLeNet_Weights.DEFAULT.transforms()

    def normalized(mean, std):
        mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (mean, std))
        return (x - mean) / std

    with torch.no_grad():
        expected, wrong = theirs(normalized(given.mean, given.std)), ours(normalized(given.mean, given.std))
        torch.testing.assert_close(ours(normalized(found.mean, found.std)), expected)
    assert (wrong - expected).abs().max() > 0.1


def test_what_is_given_stays():
    found = asked("resnet50", "DEFAULT")
    assert follow(Data(), found) == Data(size=224, channels=3, mean=found.mean, std=found.std)
    given = Data(size=96, channels=3, mean=[0.1] * 3, std=[0.2] * 3)
    assert follow(given, found) == given
    assert follow(Data(channels=1), found) == Data(size=224, channels=1)  # mean and std are measured
    assert asked("timm/vit_base_patch16_sapiens2", "DEFAULT").size is None  # its images are not square


def test_a_run_is_known_by_what_it_started_from(tmp_path):
    torch.save(build_model(Model(name="resnet8", width=4), 1, 2).state_dict(), tmp_path / "own.pth")
    config = Train(model=Model(name="resnet8", width=4, weights=str(tmp_path / "own.pth")))
    started = start_from_weights(config)
    sha256 = hashlib.sha256((tmp_path / "own.pth").read_bytes()).hexdigest()
    assert started == replace(config, model=replace(config.model, weights_sha256=sha256))
    assert origin(started.model, started.data) == f"own.pth, sha256 {sha256}"
    (tmp_path / "config.yaml").write_text(to_yaml(started))
    assert start_from_weights(merge(Train, tmp_path / "config.yaml", [])) == started
    assert difference(tmp_path, started) is None
    torch.save(build_model(Model(name="resnet8", width=4), 1, 2).state_dict(), tmp_path / "own.pth")
    assert f"model.weights_sha256 ({sha256}, now " in difference(tmp_path, start_from_weights(config))
    with pytest.raises(UserError, match=rf"own.pth: its sha256 is [0-9a-f]{{64}}, not model.weights_sha256={sha256}"):
        start_from_weights(started)
    assert origin(Model(), Data()) == "random weights" and start_from_weights(Train()) == Train()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_network_that_asks_for_its_version(tmp_path, suffix):
    """The layout of MnasNet has changed; .safetensors keeps no version."""
    theirs = randomize(torchvision.models.mnasnet0_5(num_classes=4))
    path = tmp_path / f"weights{suffix}"
    torch.save(theirs.state_dict(), path) if suffix == ".pth" else safetensors.torch.save_file(
        theirs.state_dict(), path
    )
    ours = build_model(Model(name="mnasnet0_5", weights=str(path)), 3, 4)
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in theirs.state_dict().items())
    load_tensors(ours, dict(theirs.state_dict()))
    # Files from before batch normalisation had counters:
    old = {name: value for name, value in theirs.state_dict().items() if "num_batches" not in name}
    torch.save(old, tmp_path / "old.pth")
    build_model(Model(name="mnasnet0_5", weights=str(tmp_path / "old.pth")), 3, 4)


def test_weights_without_a_head_and_weights_that_are_no_numbers(tmp_path):
    theirs = randomize(torchvision.models.squeezenet1_1(num_classes=4))
    state = theirs.state_dict()
    (head,) = find_heads(theirs)
    torch.save({name: value for name, value in state.items() if not name.startswith(head)}, tmp_path / "features.pth")
    ours = build_model(Model(name=SQUEEZENET, weights=str(tmp_path / "features.pth"), train="head"), 3, 4).state_dict()
    assert {name for name in state if not torch.equal(state[name], ours[name])} == {f"{head}.weight", f"{head}.bias"}
    # As in the weights that torchvision publishes for a detector, VGG16's IMAGENET1K_FEATURES.
    state["features.0.weight"][0] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(UserError, match="nan.pth does not fit model.name: features.0.weight is not finite"):
        build_model(Model(name=SQUEEZENET, weights=str(tmp_path / "nan.pth")), 3, 4)
