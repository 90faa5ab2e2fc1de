"""The environment and accelerate's default config never change arithmetic silently: config.yaml or errors show it."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import accelerate
import pytest
import torch
import yaml
from accelerate.commands import launch as launching

from recipes.core.errors import UserError
from recipes.core.ranks.environment import REFUSED, fault_of
from recipes.core.ranks.runtime import start

SHORT = ["model.name=resnet8", "model.width=8", "epochs=0.1", "batch=48", "threads=1"]
# Variables of accelerate that change no number, or only with one that is refused.
HARMLESS = re.compile(
    "ACCELERATE_(DEBUG_MODE|DEBUG_RDV_FILE|LOG_LEVEL|ENABLE_RICH|CONFIG_DS_FIELDS|IN_TPU_POD|NUM_PROCESSES|BYPASS_DEVICE_MAP"
    "|INIT_INCLUDE_BUFFERS|ALLOW_CP_STANDALONE|CPU_AFFINITY|USE_CPU|TORCH_DEVICE|MIXED_PRECISION|GRADIENT_CLIPPING|DYNAMO_.*|FP8_.*"
    "|DEEPSPEED_.*|USE_SAGEMAKER|SAGEMAKER_DISTRIBUTED_TYPE|)"
)


SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture(scope="module")
def launch(root, run_processes, tmp_path_factory):
    """Trains by `accelerate launch` under a default config file and an environment; returns the process and its run folder.

    Unless it is `real`, the launcher and the training are forks: the one gets the environment that the other has made.
    """

    def run(config=None, words=(), launcher=(), real=False, **environment):
        folder = tmp_path_factory.mktemp("launch")
        home = folder / "home"
        (home / "accelerate").mkdir(parents=True)
        plain = {
            "compute_environment": "LOCAL_MACHINE",
            "distributed_type": "NO",
            "num_processes": 1,
            "num_machines": 1,
            "machine_rank": 0,
            "mixed_precision": "no",
            "use_cpu": True,
            "debug": False,
            "main_training_function": "main",
            "same_network": True,
            "downcast_bf16": "no",
        }
        (home / "accelerate/default_config.yaml").write_text(yaml.safe_dump(plain | (config or {})), encoding="utf-8")
        datasets_cache = {"HF_DATASETS_CACHE": f"{os.environ['HF_HOME']}/datasets"}
        environment = datasets_cache | {"HF_HOME": str(home), "PYTHONPATH": str(root)} | environment
        train = [root / "recipes/train.py", *SHORT, f"out={folder / 'run'}", *words]
        if real:
            command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", *launcher, *train]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | environment)
        else:
            (folder / "show.py").write_text(SHOW)
            made = run_processes(1, Path(launching.__file__), *launcher, folder / "show.py", cwd=folder, **environment)
            done = run_processes(1, *train, cwd=folder, check=False, **json.loads(made.stdout.splitlines()[-1]))
        return done, folder / "run"

    return run


def weights(folder: Path) -> str:
    return json.loads((folder / "metrics.json").read_text())["weights"]


@pytest.fixture(scope="module")
def plain(launch):
    done, folder = launch(real=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return weights(folder)


@pytest.mark.slow
def test_what_is_no_part_of_a_run_changes_no_bit(launch, plain):
    config = {
        "debug": True,
        "downcast_bf16": "yes",
        "fsdp_config": {"fsdp_version": 2},
        "dynamo_config": {"dynamo_backend": "NO"},
    }
    done, folder = launch(config, launcher=["--num_cpu_threads_per_process=2"], MKL_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert weights(folder) == plain


@pytest.mark.slow
def test_the_precision_of_the_launcher_is_taken_and_shown_unless_the_option_is_given(launch, plain):
    done, folder = launch({"mixed_precision": "bf16"})
    assert done.returncode == 0 and "precision bf16" in done.stdout and "CPU threads 1," in done.stdout, done.stderr[
        -3000:
    ]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["precision"], config["threads"]) == ("bf16", 1) and weights(folder) != plain
    done, folder = launch({"mixed_precision": "bf16"}, ["precision=no"])
    assert done.returncode == 0 and weights(folder) == plain


@pytest.mark.slow
@pytest.mark.parametrize(
    "config, message",
    [
        (
            {"distributed_type": "FSDP", "fsdp_config": {"fsdp_version": 2}},
            "ACCELERATE_USE_FSDP=true asks for more than data parallelism",
        ),
        ({"dynamo_config": {"dynamo_backend": "EAGER"}}, "ACCELERATE_DYNAMO_BACKEND=EAGER would compile the model"),
    ],
    ids=["FSDP", "dynamo"],
)
def test_a_default_config_that_the_recipes_cannot_follow_is_refused_in_one_line(launch, config, message):
    done, folder = launch(config)
    [line] = [line for line in done.stderr.splitlines() if line.startswith("train.py: error")]
    assert done.returncode != 0 and message in line and not folder.exists()


@pytest.mark.parametrize(
    "script, words",
    [
        ("generate.py", ["sample", "nowhere"]),
        ("evaluate.py", ["nowhere"]),
        ("fidelity.py", ["--isc", "--input1", "nowhere"]),
    ],
)
def test_every_recipe_looks_at_the_environment_first(root, run_processes, script, words, tmp_path):
    variables = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}
    done = run_processes(1, root / "recipes" / script, *words, cwd=tmp_path, check=False, **variables)
    assert done.returncode == 1 and "would divide the gradients" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "variables, message",
    [
        (
            {"ACCELERATE_MIXED_PRECISION": "fp8"},
            "the launcher's mixed_precision is fp8: set it to no, bf16 or fp16, or pass precision=",
        ),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, "precision=fp16 needs a GPU"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "ACCELERATE_USE_MEGATRON_LM=true asks for more than data parallelism"),
    ],
)
def test_refused_before_anything_is_started(monkeypatch, variables, message):
    # A machine with a GPU that the launcher was told not to use.
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    for name, value in ({"ACCELERATE_USE_CPU": "true"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        start(False, None, None, None)


def test_the_table():
    assert fault_of({}) is None
    for name, (harmless, advice) in REFUSED.items():
        assert all(fault_of({name: value}) is None for value in harmless)
        for value in ("4", "bf16", "inductor"):
            assert fault_of({name: value}) == f"{name}={value} {advice}"
    # As the launcher writes them.
    assert fault_of({"ACCELERATE_DYNAMO_BACKEND": "NO", "ACCELERATE_USE_FSDP": "False"}) is None


@pytest.mark.skipif(
    importlib.metadata.version("accelerate") != "1.15.0", reason="its variables were looked through in 1.15.0"
)
def test_every_variable_of_accelerate_is_known():
    found = set()
    for path in Path(accelerate.__file__).parent.rglob("*.py"):
        if "test_utils" not in path.parts:
            found |= set(re.findall(r"[\"'](ACCELERATE_[A-Z0-9_]*)[\"']", path.read_text(encoding="utf-8")))
    assert len(found) > 30
    assert not {name for name in found - REFUSED.keys() if not HARMLESS.fullmatch(name)}
