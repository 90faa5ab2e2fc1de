"""Nothing is lost or left half-written: processes are killed in every gap, renames fail, and disks are full."""

import errno
import importlib.util
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import datasets
import pytest
import safetensors.torch
import torch

from dataset_scripts import DataError, load_dataset
from dataset_scripts.core.cli import main
from dataset_scripts.core.files.disk import DiskError, disk_fault
from dataset_scripts.core.files.hold import alone, beside
from dataset_scripts.core.files.replace import new_file, new_folder, recover, scratch, tidy, write_file
from dataset_scripts.core.publish.export import export
from recipes.core.config.tasks import Model, Unet
from recipes.core.fidelity.store import Store
from recipes.core.models.models import build_model
from recipes.core.models.unet import UNet
from recipes.core.run import checkpoint

FORK = multiprocessing.get_context("fork")
GAPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "os.chmod", "os.chown", "shutil.rmtree"}
ROWS = datasets.Dataset.from_dict({"number": [1, 2, 3]}), datasets.Dataset.from_dict({"number": [4, 5, 6, 7]})


def in_child(action, *arguments, hook=None):
    """The exit status of a process that runs `action`; `hook` is called for its system calls, and may raise or kill."""

    def run():
        if hook is not None:
            sys.addaudithook(hook)
        action(*arguments)
        os._exit(0)

    child = FORK.Process(target=run)
    child.start()
    child.join()
    return child.exitcode


def at_gap(number, folder, do, gaps=GAPS):
    """Calls `do` before the n-th event, n = `number`: a system call on the folder, or a lookup of rename."""
    count = 0

    def hook(event, arguments):
        nonlocal count
        concerns = event in gaps and any(str(folder) in str(each) for each in arguments)
        if concerns or (event == "ctypes.dlsym" and "rename" in str(arguments[1])):
            count += 1
            if count == number:
                do()

    return hook


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def gaps_of(folder, prepare, action, step=1):
    """For each gap: makes a new folder, kills a process in the gap, and yields. Ends once a process finishes."""
    for number in range(1, 2000, step):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        prepare()
        status = in_child(action, hook=at_gap(number, folder, kill))
        yield number
        if status == 0:
            assert number > 3 * step
            return
        assert status == -signal.SIGKILL


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refuse_exchange(event, arguments):
    if event == "ctypes.dlsym" and "rename" in str(arguments[1]):
        raise AttributeError("a C library without it")


def test_a_file_killed_in_every_gap(tmp_path):
    folder = tmp_path / "f"
    path = folder / "README.md"
    for _ in gaps_of(folder, lambda: path.write_text("old"), lambda: write_file(path, "new" * 1000)):
        assert path.read_text() in ("old", "new" * 1000)
        write_file(path, "newer")
        assert tree(folder) == {"README.md": b"newer"}


def test_a_kill_half_way_through_the_content(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def half():
        with new_file(path) as file:
            file.write(b"ne")
            kill()

    assert in_child(half) == -signal.SIGKILL
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 3
    tidy(tmp_path)
    assert tree(tmp_path) == {"x": b"old"}


def fill(path, content):
    with new_folder(path) as made:
        (made / "a").write_text(content)
        (made / content).mkdir()
        (made / content / "b").write_text(content)


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_killed_in_every_gap(tmp_path, exchange):
    folder = tmp_path / "f"
    path = folder / "out"
    old, new = ({"a": name.encode(), f"{name}/b": name.encode()} for name in ("old", "new"))

    def replace():
        if not exchange:
            sys.addaudithook(refuse_exchange)
        fill(path, "new")

    for _ in gaps_of(folder, lambda: fill(path, "old"), replace):
        assert path.is_dir() or not exchange  # it exists at every instant
        recover(path)
        assert tree(path) in (old, new)
        fill(path, "newer")
        assert sorted(os.listdir(folder)) == ["out"] and sorted(os.listdir(path)) == ["a", "newer"]


def test_export_killed_in_every_gap(tmp_path):
    folder, sources = tmp_path / "f", [export(rows, tmp_path / name / "out") for name, rows in zip("ab", ROWS)]
    old, new = map(tree, sources)
    out = folder / "out"
    replace = lambda: export(ROWS[1], out, overwrite=True)  # noqa: E731
    for _ in gaps_of(folder, lambda: shutil.copytree(sources[0], out), replace, step=3):
        assert tree(out) in (old, new)
        replace()
        assert tree(folder) == {f"out/{name}": content for name, content in new.items()}


def test_checkpoints_killed_in_every_gap(tmp_path):
    def save(number):
        checkpoint.save(tmp_path / "f", number, {"x": torch.full((1000,), number)}, {"seen": number}, keep=1)

    for _ in gaps_of(tmp_path / "f", lambda: save(1), lambda: save(2), step=2):
        found = checkpoint.newest(tmp_path / "f")
        assert all(checkpoint.is_sound(path) for path in checkpoint.find(tmp_path / "f"))
        assert checkpoint.load(found)[1]["seen"] in (1, 2)
        save(3)
        assert os.listdir(tmp_path / "f/checkpoints") == ["000000000003"]


def test_what_a_killed_process_left_in_its_scratch_folder_is_gone(tmp_path):
    def killed():
        with scratch(tmp_path / "s") as folder:
            (folder / "export").mkdir()
            kill()

    assert in_child(killed) == -signal.SIGKILL and (tmp_path / "s/export").exists()
    with scratch(tmp_path / "s") as folder:
        assert not os.listdir(folder)
    assert not os.listdir(tmp_path)


def test_workers_that_outlive_a_killed_process_hold_nothing(tmp_path):
    read, write = os.pipe()

    def killed():
        with scratch(tmp_path / "s"):
            if (worker := os.fork()) == 0:
                os.write(write, b"forked")
                time.sleep(60)
            os.read(read, 6)
            (tmp_path / "worker").write_text(str(worker))
            kill()

    assert in_child(killed) == -signal.SIGKILL
    try:
        with scratch(tmp_path / "s"):
            pass
    finally:
        os.kill(int((tmp_path / "worker").read_text()), signal.SIGKILL)


def fail(number):
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_rename_that_fails_loses_nothing(tmp_path, number):
    """Without exchange, the old one is put aside, and restored if the new one cannot take its name."""
    fill(tmp_path / "out", "old")
    before = tree(tmp_path)

    def replace():
        with pytest.raises(DataError, match="out cannot be written: Input/output error") as caught:
            with new_folder(tmp_path / "out") as made:
                (made / "a").write_text("new")
                sys.addaudithook(refuse_exchange)
                sys.addaudithook(at_gap(number, tmp_path, lambda: fail(errno.EIO), {"os.rename"}))
        assert "\n" not in str(caught.value)

    if number == 3:  # two renames, and a third to restore the old one; if that fails too, the next call restores it
        hook = iter([None, errno.EIO, errno.EIO])

        def replace():
            def each(event, arguments):
                if event == "os.rename" and (number := next(hook, None)):
                    fail(number)

            with pytest.raises(DataError), new_folder(tmp_path / "out") as made:
                (made / "a").write_text("new")
                sys.addaudithook(refuse_exchange)
                sys.addaudithook(each)

    assert in_child(replace) == 0
    if number == 3:
        recover(tmp_path / "out")
    assert tree(tmp_path) == before
    fill(tmp_path / "out", "new")
    assert os.listdir(tmp_path) == ["out"] and (tmp_path / "out/new").exists()


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="needs strace, to let a system call fail: apt install strace"
)
@pytest.mark.parametrize("error, status", [("EIO", 2), ("ENOSYS", 0)])
def test_export_when_the_system_cannot_exchange(tmp_path, root, error, status):
    out = export(ROWS[0], tmp_path / "out")
    before = tree(out)
    inject = ["strace", "-f", "-qq", "-o", tmp_path / "trace", "-e", "trace=renameat2", "--seccomp-bpf"]
    inject += ["-e", f"inject=renameat2:error={error}"]
    if subprocess.run([*inject, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    code = "import sys; from dataset_scripts.core.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "export", "digits", out, "--split", "test[:5]", "--overwrite"]
    result = subprocess.run([*inject, *command], capture_output=True, text=True, cwd=root)
    assert result.returncode == status, result.stderr
    (tmp_path / "trace").unlink()
    assert os.listdir(tmp_path) == ["out"]
    if status:
        assert result.stderr.splitlines()[-1] == f"dataset-scripts: {out} cannot be written: Input/output error"
        assert tree(out) == before
    else:
        assert len(datasets.load_dataset(str(out), split="test")) == 5


def test_permissions_owners_and_links_stay(tmp_path):
    path, link = tmp_path / "README.md", tmp_path / "link.md"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to("README.md")
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
    before = path.stat()
    write_file(link, "new")
    after = path.stat()
    assert link.is_symlink() and path.read_text() == "new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    target = tmp_path / "target"
    fill(target, "old")
    target.chmod(0o700)
    (tmp_path / "out").symlink_to("target")
    fill(tmp_path / "out", "new")
    assert (tmp_path / "out").is_symlink() and (target / "new").exists() and target.stat().st_mode & 0o777 == 0o700
    write_file(tmp_path / ("n" * 255), "a name as long as can be")
    with new_folder(tmp_path / ("m" * 255)):
        pass
    read, write = os.pipe()
    write_file(f"/dev/fd/{write}", "a pipe is written to")
    assert os.read(read, 100) == b"a pipe is written to"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_where_one_may_not_write(tmp_path):
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    (tmp_path / "README.md").write_text("old")

    def try_all():
        os.setuid(65534)
        for action in (
            lambda: write_file(tmp_path / "README.md", "new"),
            lambda: write_file(tmp_path / "other", "new"),
            lambda: fill(tmp_path / "out", "new"),
        ):
            with pytest.raises(DataError, match=f"^{tmp_path}.* cannot be written: Permission denied"):
                action()

    assert in_child(try_all) == 0
    assert tree(tmp_path) == {"README.md": b"old"}


def test_a_disk_that_knows_no_locks(tmp_path):
    def write():
        sys.addaudithook(lambda event, arguments: fail(errno.ENOLCK) if event == "fcntl.flock" else None)
        write_file(tmp_path / "f", "new")
        fill(tmp_path / "out", "new")

    assert in_child(write) == 0 and sorted(os.listdir(tmp_path)) == ["f", "out"]


def test_two_that_write_the_same(tmp_path):
    path = tmp_path / "out"
    with new_folder(path) as made, pytest.raises(DataError, match="out is being written by another process"):
        write_file(made / "x", "")
        fill(path, "new")
    with scratch(tmp_path / "s"), alone(tmp_path / "other"):
        tidy(tmp_path)
        assert (tmp_path / ".s.lock").exists() and (tmp_path / ".other.lock").exists()
    assert os.listdir(tmp_path) == ["out"]

    def write(name):
        for _ in range(20):
            write_file(tmp_path / "f", name * 9999)

    writers = [FORK.Process(target=write, args=(name,)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert (tmp_path / "f").read_text() in ("a" * 9999, "b" * 9999) and not list(tmp_path.glob(".f.*"))


@pytest.fixture
def disk(tmp_path):
    """A disk of 2 MB."""
    folder = tmp_path / "a disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here: it needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill_up(disk, room=0):
    """Fills the disk up to this many free bytes."""
    with open(disk / "filler", "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - room))


def run(tmp_path, program, *arguments, cache=None):
    """Exit status and terminal output, without progress bars, of a program that runs in a child process."""

    def child():
        descriptor = os.open(tmp_path / "said", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(descriptor, 1), os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
        datasets.disable_progress_bars()
        if cache is not None:
            datasets.config.HF_DATASETS_CACHE = cache
        sys.argv = ["program", *map(str, arguments)]
        status = program(sys.argv[1:]) if program is main else program()
        sys.stdout.flush()
        os._exit(status or 0)

    status = in_child(child)
    return status, (tmp_path / "said").read_text().splitlines()


def assert_full(result, disk, status):
    said = [line for line in result[1] if "cannot be written" in line]
    assert result[0] == status and len(said) == 1 and not any("Traceback" in line for line in result[1]), result
    assert re.search(rf"cannot be written: the disk of {disk} \(none\) is full: [\d,]+ bytes are free", said[0]), said
    assert result[1][-1] == said[0]


@pytest.fixture
def photos(tmp_path, save_image):
    for name in ("cat", "dog"):
        for number in range(3):
            save_image(tmp_path / "photos" / name / f"{number}.png", (90, 70))
    return tmp_path / "photos"


@pytest.mark.parametrize("room", [0, 20_000])
def test_commands_on_a_full_disk(tmp_path, disk, photos, room):
    load_dataset(str(photos))  # in the cache, so that only the result has to be written
    out = export(ROWS[0], disk / "out")
    assert main(["new", str(disk / "pets"), "--data", str(photos)]) == 0
    write_file(
        disk / "pets/README.md", (disk / "pets/README.md").read_text().replace("num_examples: 6", "num_examples: 7")
    )
    main(["card", str(disk / "pets")])
    fill_up(disk, room)
    before = tree(disk)
    assert_full(run(tmp_path, main, "export", photos, disk / "new"), disk, 2)
    assert_full(run(tmp_path, main, "export", photos, out, "--overwrite"), disk, 2)
    assert_full(run(tmp_path, main, "preview", photos, "-o", disk / "sheet.png"), disk, 2)
    if not room:  # these are short
        assert_full(run(tmp_path, main, "new", disk / "my_set", "--data", photos), disk, 2)
        assert_full(run(tmp_path, main, "card", disk / "pets"), disk, 2)
    assert tree(disk) == before and not [name for name in os.listdir(disk) if name.startswith(".")]


def test_a_full_disk_of_the_cache(tmp_path, disk, photos, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    fill_up(disk, 8192)
    assert_full(run(tmp_path, main, "push", photos, "ann/photos", cache=disk), disk, 2)
    assert_full(run(tmp_path, main, "verify", photos, cache=disk), disk, 2)


@pytest.mark.parametrize("processes", [None, 2])
def test_a_full_disk_is_found_among_causes(disk, photos, processes):
    fill_up(disk, 40_000)
    with pytest.raises(Exception) as caught:
        load_dataset(str(photos), cache_dir=str(disk), num_proc=processes)
    assert f"the disk of {disk} (none) is full" in str(disk_fault(caught.value, disk))
    assert disk_fault(ValueError("no disk"), disk) is None
    assert isinstance(disk_fault(RuntimeError("I/O error: Read-only file system (os error 30)"), disk), DiskError)


@pytest.mark.parametrize("processes", [None, 2])
def test_a_full_disk_of_a_cache_that_the_caller_named(tmp_path, disk, photos, processes):
    (tmp_path / "set").mkdir()
    rows = load_dataset(str(photos), split="train", transform=None)
    for part in range(2):
        rows.to_parquet(tmp_path / f"set/train-{part}.parquet")
    fill_up(disk, 40_000)
    full = re.escape(f"the disk of {disk} (none) is full")
    with pytest.raises(DataError, match=f"^{re.escape(str(disk))} cannot be written: {full}"):
        load_dataset(str(tmp_path / "set"), cache_dir=str(disk), num_proc=processes)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/long.py").write_text("import datasets\n" + "#" * 100_000)
    with pytest.raises(DataError, match=f"^{re.escape(str(disk))}/scripts/long_.* cannot be written: {full}"):
        load_dataset(str(tmp_path / "code/long.py"), cache_dir=str(disk))


def test_the_root_has_no_neighbours():
    with pytest.raises(DataError, match="^/ cannot be replaced: name a folder in it"):
        beside(pathlib.Path("/"), "lock")


def test_where_a_disk_is_mounted(disk, tmp_path):
    with pytest.raises(
        DataError, match="a disk is the mount point of a disk, which cannot be replaced: name a folder in it"
    ):
        export(ROWS[0], disk)
    assert os.listdir(tmp_path) == ["a disk"] and not os.listdir(disk)


def test_features_on_a_full_disk(disk):
    store = Store(disk, {"a": 1})
    store.write({0: {"x": torch.zeros(3, 4)}})
    before = tree(disk)
    with pytest.raises(DiskError, match="is full"):
        store.write({1: {"x": torch.zeros(1000, 1000)}})
    assert tree(disk) == before and store.batches() == {0}


@pytest.fixture(scope="module")
def recipe(root):
    """The module of a program in recipes/."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, root / f"recipes/{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load


INPUT = {"labels": list("0123456789"), "channels": 1, "size": 8, "resize": "whole", "mean": [0.5], "std": [0.5]}


def save_model(folder, model, **info):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(INPUT | info))
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture
def generator(tmp_path):
    torch.manual_seed(0)
    network = UNet(Unet(8, 1, 1), 1, 1, 10)
    network_options = {"width": 8, "depth": 1, "blocks": 1, "guidance": 1.0, "steps": 1}
    return save_model(tmp_path / "flow", network, architecture="flow of a U-Net", **network_options)


def test_recipes_on_a_full_disk(tmp_path, disk, recipe, generator):
    torch.set_num_threads(1)
    classifier = save_model(tmp_path / "run", build_model(Model("resnet8", 4), 1, 10), architecture="resnet8", width=4)
    fill_up(disk, 4096)
    once = ["cpu=true", "threads=1"]
    result = run(tmp_path, recipe("evaluate").main, classifier, "data.path=digits", f"out={disk / 'e'}", *once)
    assert_full(result, disk, 1)
    result = run(tmp_path, recipe("generate").main, "sample", generator, "count=99", f"out={disk / 's'}", *once)
    assert_full(result, disk, 1)
    shutil.rmtree(disk / ".s.partial")
    options = ["digits", "epochs=0.3", "model.width=4", "save_every=64", "batch=64", f"out={disk / 't'}"]
    assert_full(run(tmp_path, recipe("train").main, *options, *once), disk, 1)
    assert not list((disk / "t").rglob(".*.partial"))


def test_names_in_the_card_of_a_run_are_text(tmp_path, recipe, save_image):
    torch.set_num_threads(1)
    names = ["a|b", "![x](y)", "<script>", "`tick`", "[link](https:x)", "**b**"]
    photos = tmp_path / "<b>|`photos"
    for split in ("train", "test"):
        for name in names:
            save_image(photos / split / name / "1.png", (8, 8))
    options = [
        f"data.path={photos}",
        "epochs=2",
        "batch=6",
        "model.name=resnet8",
        "model.width=4",
        "cpu=true",
        "threads=1",
    ]
    status, said = run(tmp_path, recipe("train").main, *options, f"out={tmp_path / 'run'}")
    assert status == 0, said
    body = (tmp_path / "run/README.md").read_text().split("---\n", 2)[2]
    # Without code spans, in which nothing is markup.
    prose = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", body, flags=re.DOTALL)
    assert set(re.findall(r"\]\(([^)]*)\)", prose)) == {
        "curves.png",
        "config.yaml",
        "metrics.json",
        "log.jsonl",
        "confusion.png",
        "mistakes.png",
    }
    assert not re.search(r"<|\*\*|(?<!!)\[link", prose)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in body.splitlines() if line.startswith("| "))
    for name in names:
        assert all(part in body.rpartition("Classes: ")[2] for part in name.split("|"))


def test_a_killed_sampling_goes_on(tmp_path, recipe, generator):
    torch.set_num_threads(1)
    main = recipe("generate").main

    def sample(out, *options):
        return run(
            tmp_path, main, "sample", generator, "count=22", "batch=4", f"out={out}", "cpu=true", "threads=1", *options
        )

    assert sample(tmp_path / "whole")[0] == 0
    whole, folder = tree(tmp_path / "whole"), tmp_path / "f"
    assert len(whole) == 23
    out, kept = folder / "out", set()

    def drawn():
        return {path.name: path.stat().st_mtime_ns for path in (folder / ".out.partial").glob("0*.png")}

    for number in (2, 9, 40, 77, 110, 139):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        sys_argv = [
            "generate.py",
            "sample",
            str(generator),
            "count=22",
            "batch=4",
            f"out={out}",
            "cpu=true",
            "threads=1",
        ]

        def killed(words=sys_argv):
            sys.argv = words
            main()

        assert in_child(killed, hook=at_gap(number, folder, kill)) == -signal.SIGKILL
        assert not out.exists()  # half a folder does not exist, so nobody can load it
        before = drawn()
        kept |= before.keys()
        assert sample(out)[0] == 0 and tree(folder) == {f"out/{name}": content for name, content in whole.items()}
        assert before.items() <= {path.name: path.stat().st_mtime_ns for path in out.iterdir()}.items()
    assert len(kept) > 10
    shutil.rmtree(out)
    assert in_child(killed, hook=at_gap(77, folder, kill)) == -signal.SIGKILL
    assert sample(out, "seed=1")[0] == 0  # other samples start over
    assert os.listdir(folder) == ["out"] and tree(out).keys() == whole.keys() and tree(out) != whole
    status, said = sample(out)
    assert status == 1 and said[-1].endswith(f"out={out} is not empty: choose another folder, or delete it")
