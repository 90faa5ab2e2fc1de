"""Systems other than Linux: `tests/platforms` removes what macOS and Windows lack, and real commands run without it."""

import ast
import json
import os
import subprocess
import sys

import pytest
import yaml

from recipes.core.config.tasks import Generate, Train
from recipes.core.help import describe

SHORT = ["cpu=true", "model.name=resnet8", "model.width=8", "epochs=0.2", "batch=12", "save_every=12", "threads=1"]


@pytest.fixture
def run_on(root, tmp_path):
    """Runs Python without what a system lacks, and with the encoding that a pipe has on Windows."""

    def run(platform, *words, timeout=240, status=0):
        environment = {"PLATFORM": platform, "PYTHONPATH": f"{root / 'tests/platforms'}{os.pathsep}{root}"}
        if platform == "windows":
            environment |= {"PYTHONIOENCODING": "cp1252", "PYTHONWARNDEFAULTENCODING": "1", "PYTHONUTF8": "0"}
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            encoding="cp1252",
            timeout=timeout,
        )
        assert done.returncode == status, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture
def photos(tmp_path, save_image):
    """A folder of classes; its name and that of one class are in no Western code page."""
    for split, count in (("train", 70), ("test", 6)):
        for name in ("数字", "b"):
            for number in range(count):
                save_image(tmp_path / "照片" / split / name / f"{number}.png", size=(8, 8), mode="L")
    return tmp_path / "照片"


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["macos", "windows"])
def test_a_training_without_what_a_system_lacks(root, run_on, platform, photos, tmp_path):
    workers = ["data.workers=1", "data.memory_gb=0"] if platform == "windows" else []  # which are spawned, not forked
    said = run_on(platform, root / "recipes/train.py", *SHORT, f"data.path={photos}", *workers, "out=run")
    assert "12 test images right" in said and (platform != "windows" or r"\u7167\u7247: 140 training" in said)
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text(encoding="utf-8"))["data"]["path"] == str(photos)
    assert not list((tmp_path / "run").glob("**/.*.partial")) and (tmp_path / "run/model.safetensors").is_file()


def texts_without_encoding(tree):
    """The lines that open a text file, or a pipe, in the encoding of the system, which on Windows is not UTF-8."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(keyword.arg in ("encoding", None) for keyword in node.keywords):
            continue
        options = {keyword.arg: keyword.value for keyword in node.keywords}
        name, is_method = (
            getattr(node.func, "attr", getattr(node.func, "id", None)),
            isinstance(node.func, ast.Attribute),
        )
        mode = options.get("mode", node.args[1] if len(node.args) > 1 else ast.Constant("r"))
        binary = any(isinstance(part, ast.Constant) and "b" in str(part.value) for part in ast.walk(mode))
        if "text" in options or (name in ("open", "fdopen") and not is_method and not binary):
            yield node.lineno
        elif is_method and (name == "write_text" and len(node.args) == 1 or name == "read_text" and not node.args):
            yield node.lineno


@pytest.mark.parametrize("package", ["dataset_scripts", "recipes"])
def test_text_files_are_utf8_on_every_system(root, package):
    found = [
        f"{path.relative_to(root)}:{line}"
        for path in sorted((root / package).rglob("*.py"))
        for line in texts_without_encoding(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found


@pytest.mark.parametrize("schema", [Train, Generate])
def test_help_prints_in_the_code_page_of_windows(schema):
    assert describe(schema).encode("cp1252")


@pytest.fixture
def run_on_mac_gpu(root, run_processes, tmp_path):
    """Runs a script on a device that holds no float64."""

    def run(*words):
        there = {"ACCELERATE_USE_CPU": "false"}
        return run_processes(1, root / "tests/workers/no_float64.py", *words, cwd=tmp_path, **there).stdout

    return run


def test_the_device_without_float64_refuses_it(run_on_mac_gpu, tmp_path):
    """Otherwise the tests below would prove nothing."""
    (tmp_path / "script.py").write_text(
        "import torch\n"
        "there = torch.nn.Linear(2, 2).to('mps')(torch.ones(1, 2, device='mps')).detach()\n"
        "assert there.device.type == 'mps' and there.cpu().double().device.type == 'cpu'\n"
        "for wrong in (there.double, lambda: there.to(torch.float64), lambda: torch.zeros(2, dtype=torch.float64, device='mps'),\n"
        "              lambda: torch.zeros(2).double().to('mps'), lambda: there.sum(dtype=torch.float64), there.numpy):\n"
        "    try:\n        wrong()\n    except TypeError:\n        continue\n    raise AssertionError('float64 was taken')\n"
    )
    run_on_mac_gpu(tmp_path / "script.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    "script, options",
    [
        (
            "train.py",
            [
                "model.name=cifarnet",
                "model.width=8",
                "data.size=16",
                "data.channels=3",
                "optim.name=muon",
                "augment.erase=0.5",
                "augment.mixup=0.4",
                "augment.auto=trivial",
                "optim.class_weights=true",
                "optim.clip=1",
            ],
        ),
        ("generate.py", ["model.width=4", "model.depth=1", "model.blocks=1", "flow.steps=1", "flow.guidance=1"]),
    ],
    ids=["train", "generate"],
)
def test_a_training_on_the_gpu_of_a_mac(root, run_on_mac_gpu, run_processes, tmp_path, script, options):
    options = [*options, "epochs=0.1", "save_every=64", "optim.ema=100", "threads=1"]
    said = run_on_mac_gpu(root / "recipes" / script, *options, "out=mps")
    assert "1 × mps" in said
    run_processes(1, root / "recipes" / script, *options, "cpu=true", "out=cpu", cwd=tmp_path)
    mps, cpu = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("mps", "cpu"))
    assert mps["device"] == "mps" and (mps["loss"], mps["train_loss"], mps["weights"]) == (
        cpu["loss"],
        cpu["train_loss"],
        cpu["weights"],
    )


@pytest.mark.parametrize("platform", ["macos", "windows"])
def test_reading_writing_locks_and_parsers_without_what_a_system_lacks(root, run_on, platform, tmp_path):
    run_on(platform, root / "tests/workers/portable.py", tmp_path)
