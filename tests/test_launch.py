"""Launching: `dataset-scripts train`, its exit status, and launches that start fewer processes than requested."""

import json
import os
import signal
import subprocess
import sys
import time
from unittest import mock

import psutil
import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command, launch_command_parser

from dataset_scripts import DataError
from recipes.core.commands import configs
from recipes.core.errors import UserError
from recipes.core.ranks import signals
from recipes.core.ranks.launch import CONFIGS, find_config, launch
from recipes.core.ranks.runtime import lost_processes

RECIPE = ["model.name=resnet8", "model.width=8", "batch=48", "data.memory_gb=0"]


@pytest.fixture(scope="module")
def environment(root, tmp_path_factory):
    """The variables under which `dataset_scripts` finds the commands of setup.cfg, as in an installation."""
    folder = tmp_path_factory.mktemp("installed")
    setup = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "egg_info", "--egg-base", folder]
    subprocess.run(setup, cwd=root, check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{root}", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def command(environment, tmp_path):
    """Starts `dataset-scripts …` as a shell does."""
    started = []

    def start(*words):
        command = [sys.executable, "-m", "dataset_scripts.core.cli", *map(str, words)]
        started.append(
            subprocess.Popen(
                command,
                env=environment,
                cwd=tmp_path,
                start_new_session=True,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
        process.communicate()


def without_bars(errors):
    return [line for line in errors.replace("\r", "\n").splitlines() if line.strip() and "/s]" not in line]


@pytest.mark.parametrize(
    "options, number, target",
    [
        ([], signal.SIGINT, "group"),
        pytest.param(["--num-processes=2"], signal.SIGUSR1, "command", marks=pytest.mark.slow),
        pytest.param(["--config_file", "cpu_2"], signal.SIGTERM, "every process", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_ends_with_75_and_a_quiet_launcher(command, tmp_path, options, number, target):
    run = command("train", *options, *RECIPE, "epochs=20", f"out={tmp_path / 'run'}")
    log, end = tmp_path / "run/log.jsonl", time.monotonic() + 120
    while not log.exists() or not log.stat().st_size:
        assert run.poll() is None and time.monotonic() < end, run.communicate()[1][-3000:]
        time.sleep(0.05)
    children = psutil.Process(run.pid).children(recursive=True)
    if target == "command":
        run.send_signal(number)
    else:
        os.killpg(run.pid, number)
    if target == "every process":
        for child in children:
            child.send_signal(number)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 75 and without_bars(errors) == []
    assert output.count("run the same command to continue") == 1 and f"equal on {2 if options else 1} of" in output


@pytest.mark.parametrize("options", [[], pytest.param(["--config_file=cpu_2"], marks=pytest.mark.slow)])
def test_an_error_is_one_line_and_its_status(command, tmp_path, options):
    run = command("train", *options, "data.path=/no/such/place", f"out={tmp_path / 'run'}")
    errors = without_bars(run.communicate(timeout=120)[1])
    assert run.returncode == 1 and len(errors) == 1 and errors[0].startswith("train.py: error")


def test_a_launch_config_is_a_file_or_the_name_of_one_that_comes_along(tmp_path):
    with pytest.raises(UserError, match="no launch config nix: give a yaml file, or one of cpu, cpu_2, "):
        find_config("nix")
    assert find_config("cpu_2") == CONFIGS / "cpu_2.yaml"
    (tmp_path / "own").write_text("num_processes: 1\n")
    assert find_config(str(tmp_path / "own")) == tmp_path / "own"


def test_the_launch_configs_are_written_out(root, tmp_path):
    assert configs([str(tmp_path / "launch")]) == 0
    for source in (root / "accelerate_configs").iterdir():
        assert (tmp_path / "launch" / source.name).read_text() == source.read_text()
    (tmp_path / "launch/cpu.yaml").write_text("mine")
    with pytest.raises(DataError, match="cpu.yaml already exists"):
        configs([str(tmp_path / "launch")])
    assert (tmp_path / "launch/cpu.yaml").read_text() == "mine"


@pytest.mark.parametrize("options", [[], ["--config_file=cpu"], ["--config_file=cpu_2", "--num_processes=1"]], ids=str)
def test_accelerate_warns_of_no_value_that_is_not_given(monkeypatch, caplog, tmp_path, options):
    monkeypatch.setattr("accelerate.commands.launch.default_config_file", str(tmp_path / "none"))
    monkeypatch.setattr("recipes.core.ranks.launch.default_config_file", str(tmp_path / "none"))
    # With this many cores, accelerate would set threads, and warn.
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    made = []
    monkeypatch.setattr(
        "recipes.core.ranks.launch.run", lambda arguments: made.append(_validate_launch_command(arguments)) or 0
    )
    assert launch("train", [*options, "batch=64", "my.yaml"]) == 0 and caplog.text == ""
    ((arguments, *_),) = made
    assert arguments.module and arguments.training_script == "recipes.train"
    assert arguments.training_script_args == ["batch=64", "my.yaml"] and arguments.num_processes == 1
    _validate_launch_command(launch_command_parser().parse_args(["train.py"]))
    assert "had defaults used instead" in caplog.text


# ---- launches that start fewer processes than requested


SAY = "import json, os; print(json.dumps(dict(os.environ)))"


def child_environments(capfd, tmp_path, monkeypatch, *options):
    """The variables that the processes of an `accelerate launch` see."""
    monkeypatch.setattr("accelerate.commands.launch.default_config_file", str(tmp_path / "none"))
    (tmp_path / "say.py").write_text(SAY)
    capfd.readouterr()
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    launch_command(launch_command_parser().parse_args([*options, str(tmp_path / "say.py")]))
    for (
        number,
        handler,
    ) in handlers.items():  # torchrun leaves its handlers in place, which forked processes would inherit
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


CONFIG = (
    "compute_environment: LOCAL_MACHINE\ndistributed_type: {}\nnum_processes: 2\nmixed_precision: 'no'\nuse_cpu: {}\n"
)


@pytest.mark.parametrize(
    "options",
    [
        ["--num_processes=2"],
        ["--num_processes=2", "--cpu"],
        [
            "--num_processes=2",
            "--num_machines=2",
            "--machine_rank=0",
            "--main_process_ip=127.0.0.1",
            "--main_process_port=1",
        ],
        ["MULTI_CPU", "true"],
        ["'NO'", "false"],
        ["'NO'", "true"],
        ["MULTI_GPU", "true", "--cpu"],
    ],
    ids=" ".join,
)
def test_one_process_instead_of_two_is_seen(capfd, tmp_path, monkeypatch, options):
    if not options[0].startswith("--"):
        (tmp_path / "config.yaml").write_text(CONFIG.format(*options[:2]))
        options = ["--config_file", str(tmp_path / "config.yaml"), *options[2:]]
    (variables,) = child_environments(capfd, tmp_path, monkeypatch, *options)
    with mock.patch.dict(os.environ, variables, clear=True):
        assert lost_processes()


def test_sound_launches_pass(capfd, tmp_path, monkeypatch):
    for options, count in (
        (["--num_processes=1"], 1),
        (["--num_processes=2", "--multi_gpu", "--main_process_port=0"], 2),
    ):
        found = child_environments(capfd, tmp_path, monkeypatch, *options)
        assert len(found) == count
        for variables in found:
            assert any(name in variables for name in signals.LAUNCHED)  # a process knows that it has a launcher
            with mock.patch.dict(os.environ, variables, clear=True):
                assert not lost_processes()
    for plain in ({"MASTER_PORT": "29500"}, {}):
        with mock.patch.dict(os.environ, plain, clear=True):
            assert not lost_processes()


def test_a_recipe_does_not_hide_other_packages(root):
    program = (
        "import importlib.util, runpy, sys; sys.path.insert(0, 'recipes'); sys.argv = ['train.py', '--help'];"
        "runpy.run_path('recipes/train.py', run_name='__main__');"
        "found = [importlib.util.find_spec(name) for name in ('core', 'evaluate', 'push', 'generate')];"
        "assert not any(spec and 'recipes' in str(spec.origin) for spec in found), found"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
