"""Samples of a generator by number, drawn by all ranks; as files, and as a picture of all classes."""

import contextlib
import csv
import io
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import PIL.Image
import safetensors.torch
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.replace import new_folder, remove, write_file
from recipes.core.errors import UserError
from recipes.core.models.flow import draw_noise
from recipes.core.models.generator import Generator
from recipes.core.ranks.reduce import from_main

IDENTITY = ".samples"  # the file that says which samples an unfinished folder holds
SAMPLE = 0x5A3  # sets random numbers apart
COLUMNS, ROWS, BATCH = 8, 20, 16  # of the picture


def draw(
    accelerator: Accelerator,
    generator: Generator,
    labels: np.ndarray,
    seed: int,
    batch: int,
    wanted: Callable[[int], bool] = lambda number: True,
) -> Iterator[tuple[int, np.ndarray]]:
    """The samples of this rank: their numbers, and pixels as uint8 (S, S, C).

    Sample i depends on `seed`, i and its label alone. Batches have fixed content, with the last one filled up, and
    batch b goes to rank b modulo P, so a sample is always in the same batch, on any number of ranks.

    Args:
        generator: on the device of this rank.
        labels: int64 (N,), of samples 0 … N - 1.
        wanted: which samples; a batch is drawn if one of its samples is.
    """
    starts = range(accelerator.process_index * batch, len(labels), accelerator.num_processes * batch)
    for start in tqdm(starts, desc="draw", unit="batch", leave=False, disable=not accelerator.is_main_process):
        numbers = np.arange(start, start + batch)
        places = [place for place, number in enumerate(numbers.tolist()) if number < len(labels) and wanted(number)]
        if not places:
            continue
        noise = draw_noise(numbers, (generator.noise_size,), seed, SAMPLE)
        classes = torch.from_numpy(labels[numbers % len(labels)])
        pixels = generator(noise.to(accelerator.device), classes.to(accelerator.device))[:, : generator.channels]
        yield from zip(numbers[places].tolist(), pixels.permute(0, 2, 3, 1).cpu().numpy()[places])


def draw_picture(accelerator: Accelerator, generator: Generator, classes: int, seed: int) -> bytes:
    """A PNG of samples, one row per class, for the first classes if there are many; the same on every rank."""
    rows = min(classes, ROWS)
    labels = np.tile(np.arange(rows), COLUMNS)
    drawn = dict(gather_object(list(draw(accelerator, generator, labels, seed, BATCH))))
    size, gap = generator.size, max(1, generator.size // 16)
    canvas = np.full((rows * (size + gap) + gap, COLUMNS * (size + gap) + gap, generator.channels), 255, np.uint8)
    for number, pixels in drawn.items():
        column, row = divmod(number, rows)
        top, left = gap + row * (size + gap), gap + column * (size + gap)
        canvas[top : top + size, left : left + size] = pixels
    scale = max(1, 64 // size)  # small images are hard to see
    return encode(canvas.repeat(scale, 0).repeat(scale, 1))


def write_samples(
    accelerator: Accelerator,
    generator: Generator,
    labels: np.ndarray,
    classes: list[str],
    seed: int,
    batch: int,
    out: Path,
) -> None:
    """Writes sample i as `out/00000i.png`, and `metadata.csv` with their classes: together a folder for `load_dataset`.

    The folder gets its name when it is complete. The files of an interrupted call stay in `.<out>.partial` beside it; the
    next call for the same samples resumes it, a call for others starts over.

    Raises:
        UserError: the folder is not empty.
        DataError: another process writes it, or it cannot be written.
    """

    def check() -> None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"out={out} is not empty: choose another folder, or delete it")

    with contextlib.ExitStack() as stack:  # of the main process: it holds the folder, and names it at the end
        identity = describe(generator, labels, classes, seed, batch, accelerator.device.type)
        folder = from_main(lambda: begin(stack.enter_context(new_folder(out, check, resume=True)), identity))
        for number, pixels in draw(
            accelerator, generator, labels, seed, batch, lambda i: not (folder / name_of(i)).exists()
        ):
            write_file(folder / name_of(number), encode(pixels))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            text = io.StringIO()
            table = csv.writer(text, lineterminator="\n")
            table.writerows([("file_name", "label"), *((name_of(i), classes[label]) for i, label in enumerate(labels))])
            write_file(folder / "metadata.csv", text.getvalue())
            (folder / IDENTITY).unlink()
    accelerator.wait_for_everyone()


def describe(generator: Generator, labels: np.ndarray, classes: list[str], *drawing: int | str) -> str:
    """A digest of everything that samples depend on."""
    state = {name: tensor.cpu().contiguous() for name, tensor in generator.state_dict().items()}
    options = (generator.guidance, generator.steps, generator.mean.tolist(), generator.std.tolist(), classes, drawing)
    return sha256(b"".join([safetensors.torch.save(state), labels.tobytes(), repr(options).encode()])).hexdigest()


def begin(folder: Path, identity: str) -> Path:
    """Empties a folder of other samples, or of unknown ones."""
    known = folder / IDENTITY
    if not known.is_file() or known.read_text(encoding="utf-8") != identity:
        with writing(folder):
            for path in folder.iterdir():
                remove(path)
        write_file(known, identity)
    return folder


def name_of(number: int) -> str:
    return f"{number:06d}.png"


def encode(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 (H, W, C), grey or RGB."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels).save(file, "png")
    return file.getvalue()
