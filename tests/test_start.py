"""Commands that start without libraries that take seconds to import, and signals during imports and at the very end."""

import os
import signal
import subprocess
import sys
import time

import pytest

LIGHT = "import sys; {}; assert not {{'torch', 'datasets', 'accelerate'}} & sys.modules.keys()"


@pytest.mark.parametrize(
    "what", ["import dataset_scripts.core.cli", "import recipes.core.commands", "import dataset_scripts"]
)
def test_commands_begin_light(root, what):
    subprocess.run([sys.executable, "-c", LIGHT.format(what)], cwd=root, check=True)


def test_public_names_are_where_the_package_says(root):
    import dataset_scripts

    names = [name for names in dataset_scripts._HOMES.values() for name in names]
    assert sorted(names) == sorted(dataset_scripts.__all__)
    assert all(getattr(dataset_scripts, name).__module__.startswith("dataset_scripts.core.") for name in names)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dataset_scripts.nothing  # noqa: B018


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_given_up_while_it_starts(root, tmp_path, number):
    command = [sys.executable, "-m", "dataset_scripts.core.cli", "train", f"out={tmp_path / 'run'}"]
    run = subprocess.Popen(
        command, cwd=root, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(root)}
    )
    time.sleep(1.0)  # it is importing torch now
    run.send_signal(number)
    errors = run.communicate(timeout=60)[1]
    assert run.returncode == 75 and errors.strip().endswith("stopped; the same command starts it again"), errors
    assert "Traceback" not in errors


ENDING = """
import os, signal, sys, threading
from recipes.core.ranks import signals
signals.listen()
class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), numbers=signals.SIGNALS, write=os.write):
        for number in numbers:  # Python has given the handlers up by now
            kill(pid, number)
        write(1, b"outlived")
sys.late = Late()
"""


def test_a_signal_that_comes_when_all_is_done_changes_nothing(root):
    done = subprocess.run([sys.executable, "-c", ENDING], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "outlived", "")
