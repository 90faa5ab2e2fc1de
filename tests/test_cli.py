"""The command `dataset-scripts`, run as a person runs it."""

import gzip
import json
import os
import struct
import subprocess
import sys

import datasets
import numpy as np
import pytest

from dataset_scripts import load_dataset
from dataset_scripts.core.cli import main
from dataset_scripts.core.load.script import bundled_names


@pytest.fixture
def cli(capsys):
    """Runs a command; returns its exit status, output and errors."""

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse, after --help
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def mnist(tmp_path):
    """The four files of MNIST with fewer images."""
    rng = np.random.default_rng(1)
    for prefix, count in (("train", 30), ("t10k", 20)):
        with gzip.open(tmp_path / f"{prefix}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">HBBIII", 0, 8, 3, count, 28, 28) + rng.bytes(count * 784))
        with gzip.open(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">HBBI", 0, 8, 1, count) + bytes(number % 10 for number in range(count)))
    return tmp_path


def test_a_seed_below_zero(cli, tmp_path):
    status, _, errors = cli("preview", "digits", "-o", tmp_path / "sheet.png", "--seed", "-5")
    assert status == 2 and errors.splitlines()[-1] == "dataset-scripts: seed=-5: it is 0 or more"


def test_list_names_everything(cli):
    status, output, _ = cli("list")
    assert status == 0 and all(f"  {name} " in output for name in bundled_names())
    status, output, _ = cli("list", "--json")
    kinds = {item["name"]: item["kind"] for item in json.loads(output)}
    assert kinds["digits"] == kinds["mnist"] == "set" and kinds["coco"] == kinds["image_folder"] == "layout"


def test_info(cli):
    status, output, _ = cli("info", "mnist")
    assert status == 0 and "60,000 rows" in output and "storage.googleapis.com" in output
    assert json.loads(cli("info", "mnist", "--json")[1])["rows"] == {"train": 60000, "test": 10000}
    status, _, errors = cli("info", "mnits")
    assert status == 2 and "no file or folder mnits, and 'mnits' does not come with the package" in errors
    assert len(errors.splitlines()) == 1


def test_the_command_itself(root):
    result = subprocess.run(
        [sys.executable, "-m", "dataset_scripts.core.cli", "info", "nothing"], capture_output=True, text=True, cwd=root
    )
    assert result.returncode == 2 and "'nothing' does not come with the package" in result.stderr


def test_verify(cli, mnist, tmp_path, save_image):
    status, output, _ = cli("verify", "digits")
    assert status == 0 and "1,438 rows" in output and "sound" in output
    status, output, _ = cli("verify", "mnist", "--data-dir", mnist, "--json")
    report = json.loads(output)
    assert status == 1 and not report["ok"]  # the right format, other content
    assert "bytes, but the published file has 9912422" in report["files"]["train-images-idx3-ubyte.gz"]
    assert report["rows"]["train"] == {"found": 30, "published": 60000}
    assert report["classes"]["test"] == {str(digit): 2 for digit in range(10)} and report["unreadable"] == []
    for name in ("ant", "bee", "cat"):
        save_image(tmp_path / "photos" / name / "1.png", (30, 20))
    broken = tmp_path / "photos/bee/1.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    for processes in (1, 2):
        status, output, _ = cli("verify", tmp_path / "photos", "--num-proc", processes)
        assert status == 1 and "train, row 1" in output and "not as it should be" in output


def test_verify_of_a_part(cli, mnist):
    for path in mnist.glob("train-*"):
        path.unlink()
    status, output, _ = cli("verify", "mnist", "--data-dir", mnist)
    assert status == 1 and "train        missing, published 60,000\ntest         20 rows, published 10,000" in output


def test_preview(cli, tmp_path):
    status, output, _ = cli("preview", "digits", "-o", tmp_path / "look", "--rows", 3)
    assert status == 0 and output.split() == [
        str(tmp_path / "look" / name) for name in ("sheet.png", "report.html", "report.json")
    ]
    assert json.loads((tmp_path / "look/report.json").read_text())
    status, _, errors = cli("preview", tmp_path / "gone", "-o", tmp_path / "x.png")
    assert status == 2 and not (tmp_path / "x.png").exists() and errors


def test_new_writes_a_script_that_loads_and_is_tested(cli, tmp_path, save_image, root):
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            save_image(tmp_path / "photos" / split / name / "1.png")
    status, output, errors = cli("new", tmp_path / "my_pets", "--data", tmp_path / "photos")
    assert status == 0 and f'load_dataset("{tmp_path / "my_pets"}", split="train")' in output, errors
    rows = load_dataset(str(tmp_path / "my_pets"), split="train")
    assert rows.features["label"].names == ["cat", "dog"] and rows[0]["image"].shape == (3, 7, 9)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", tmp_path / "my_pets"], capture_output=True, text=True, cwd=tmp_path
    )
    assert "2 passed" in result.stdout, result.stdout
    save_image(tmp_path / "photos/train/dog/2.png")  # the script notices a changed file too
    assert len(load_dataset(str(tmp_path / "my_pets"), split="train")) == 3
    for arguments, message in (
        ((tmp_path / "my_pets", "--data", tmp_path / "photos"), "exists already"),
        ((tmp_path / "mnist", "--data", tmp_path / "photos"), "'mnist' cannot name a script"),
        ((tmp_path / "my-pets", "--data", tmp_path / "photos"), "'my-pets' cannot name a script"),
        ((tmp_path / "other", "--data", tmp_path / "gone"), "there is no"),
        ((tmp_path / "other", "--data", root / "accelerate_configs"), "fits no layout"),
    ):
        status, _, errors = cli("new", *arguments)
        assert status == 2 and message in errors.splitlines()[-1] and not (tmp_path / "other").exists()


def test_export_and_check(cli, tmp_path):
    status, output, errors = cli("export", "digits", tmp_path / "out", "--split", "test")
    assert status == 0 and output.strip() == str(tmp_path / "out"), errors
    assert len(datasets.load_dataset(str(tmp_path / "out"), split="test")) == 359
    assert cli("check", tmp_path / "out/README.md")[:2] == (0, "")
    status, output, errors = cli("export", "digits", tmp_path / "out")
    assert status == 2 and "out" in errors.splitlines()[-1]
    card = (tmp_path / "out/README.md").read_text()
    (tmp_path / "README.md").write_text(card.replace("license: cc-by-4.0", "license: cc-by-5.0"))
    status, output, _ = cli("check", tmp_path / "README.md")
    assert status == 1 and "license" in output and "cc-by-5.0" in output
    status, output, _ = cli("check")
    assert status == 0, output


def test_card(cli, tmp_path, save_image):
    for name in ("cat", "dog"):
        save_image(tmp_path / "photos" / name / "1.png")
    cli("new", tmp_path / "pets", "--data", tmp_path / "photos")
    status, output, errors = cli("card", tmp_path / "pets")
    assert status == 0 and output.strip() == str(tmp_path / "pets/README.md"), errors
    card = (tmp_path / "pets/README.md").read_text()
    assert "num_examples: 2" in card and cli("check", tmp_path / "pets/README.md")[:2] == (0, "")
    cli("card", tmp_path / "pets")
    assert (tmp_path / "pets/README.md").read_text() == card


def test_push_says_what_is_missing(cli, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    status, _, errors = cli("push", "digits", "ann/digits")
    assert status == 2 and "writing to the Hub needs a token" in errors.splitlines()[-1]


def test_options_are_also_read_without_dashes(cli, tmp_path, monkeypatch):
    assert cli("list", "json=true")[1] == cli("list", "--json")[1] != cli("list", "json=false")[1]
    status, output, errors = cli("export", "digits", tmp_path / "out", "split=test", "max_shard_size=1MB")
    assert status == 0 and [path.name for path in (tmp_path / "out/data").iterdir()] == ["test-00000-of-00001.parquet"]
    assert cli("list", "json=maybe")[::2] == (2, "dataset-scripts: json=maybe should be true or false\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "name=x").mkdir()
    assert "name=x" in cli("preview", "name=x")[2]


def test_help_shows_examples(cli):
    assert "dataset-scripts new my_set --data path/to/photos" in cli("--help")[1]
    assert "example:" in cli("verify", "--help")[1]


@pytest.mark.parametrize(
    "words, unbuffered",
    [
        ("-m dataset_scripts --help", ""),
        ("-m dataset_scripts list", "1"),
        ("recipes/train.py --help", ""),
        ("recipes/train.py --help", "1"),
        ("recipes/fidelity.py -h", "1"),
    ],
)
def test_output_that_nobody_reads_to_the_end(root, words, unbuffered):
    """`… | head -1` ended in a traceback."""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, *words.split()], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() in (0, 141)  # argparse ignores what it cannot print


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is of Linux")
def test_a_full_disk_is_still_reported(root):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dataset_scripts", "list"], cwd=root, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2 and "cannot be written: the disk of" in done.stderr and "Traceback" not in done.stderr
