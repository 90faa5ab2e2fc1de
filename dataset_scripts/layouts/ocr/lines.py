"""Images of a line or a word of text, and where the text stands: `x.gt.txt` beside `x.png`, or a list of all."""

import csv
import re
from collections.abc import Iterator

from dataset_scripts.core.builders.tables import read_table
from dataset_scripts.core.errors import DataError, reading
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import IMAGE_SUFFIXES, Files, name_of, stem_of, without_suffix
from dataset_scripts.core.files.stems import Named, is_below, own_stems, pair_by_stem
from dataset_scripts.core.formats.fields import brief, short
from dataset_scripts.core.formats.text_table import delimiter, text_lines
from dataset_scripts.layouts.ocr.boxes import look_like_boxes, unquote

SIDECAR = ".gt.txt"
PEEK = 1 << 16  # bytes of a list that tell what it is
ENDINGS = "|".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
LINE = re.compile(rf"(?P<name>[^\t]+?\.(?i:{ENDINGS})|[^\s,]+)(?:\t|,? )\s*(?P<text>.*\S)\s*", re.DOTALL)
LISTS = re.compile(
    r"(.*[_\-. ])?(labels?|gt|ground_?truth|transcriptions?|transcripts?|words|lines|texts?|annotations?)([_\-. ].*)?\.(txt|tsv)",
    re.IGNORECASE,
)
TEXT_COLUMNS = (
    "transcription transcriptions transcript transcripts words word identity ground_truth groundtruth gt ocr".split()
)
STAGES = (".bin", ".nrm", ".dew", ".raw")  # of OCRopus: 1.bin.png is 1.png in black and white
MADE = (".box", ".lstmf")  # by tesseract, of an image and its text

Texts = dict[str, tuple[str | None, str]]  # image -> its text, and the file that says so


def line_stems(path: str) -> Iterator[str]:
    """The names that the image of `x.gt.txt` may have: x, or x.bin and the like."""
    yield from own_stems(path)
    base = name_of(path)[: -len(SIDECAR)]
    yield base
    yield from (base + stage for stage in STAGES)


def find_sidecars(files: Files, images: list[str], faults: Faults) -> tuple[Texts, list[str]]:
    """The texts beside images, and the images that have none and are no stages of others.

    What OCRopus and tesseract made of an image that has a text is accounted for.
    """
    paths, texts = files.having(SIDECAR), Texts()
    for path, image, fault in pair_by_stem(files.root, images, paths, line_stems):
        with faults:
            files.account([path])
            if image is None:
                raise fault
            if image in texts:
                raise DataError(f"{files.root}/{path}: {image} has its text in {texts[image][1]}, too: remove one")
            with reading(f"{files.root}/{path}"):
                text = files.read(path, empty=True).decode("utf-8-sig").strip("\r\n")
            if not text.strip():
                files.account([image])
                raise DataError(f"{files.root}/{path} holds no text")
            texts[image] = text, path
    bases = {path[: -len(SIDECAR)] for path in paths}
    stages = {
        path
        for path in images
        if path not in texts and (stage := stage_of(path)) and without_suffix(path).removesuffix(stage) in bases
    }
    files.account(stages)
    files.account(path for path in files.having(*MADE) if path.rpartition(".")[0] in bases)
    return texts, [path for path in images if path not in stages]


def stage_of(path: str) -> str:
    return next((stage for stage in STAGES if without_suffix(path).endswith(stage)), "")


def find_lists(files: Files, wanted: str | None = None, column: str | None = None) -> list[str]:
    """The lists and tables of images with transcriptions, by their first lines; of `wanted`, all."""
    names = {name for path in files.images for name in (name_of(path), stem_of(path))} if files.images else set()
    found = []
    for path in files.having(".txt", ".csv", ".tsv"):
        if path.lower().endswith(SIDECAR) or (wanted is not None and not is_below(path, wanted)):
            continue
        if wanted is None and not path.lower().endswith(".csv") and not LISTS.fullmatch(name_of(path)):
            continue
        content = files.peek(path, PEEK)
        head = content.decode("utf-8-sig", "replace").split("\n")
        head = [line for line in (head[:-1] if len(content) == PEEK else head) if line.strip()]
        pairs = csv_pairs(path, head, column) if is_table(path, head[:1], column) else list_pairs(head)
        known = [(name, text) for name, text in pairs if name_of(name.replace("\\", "/")) in names]
        if not known or 2 * len(known) <= len(head) - 1:
            continue
        is_other = look_like_boxes(content, len(content) == PEEK) or all(name.isdigit() for name, _ in known)  # classes
        if (
            wanted is not None
            or column is not None
            or (not is_other and are_transcriptions([text for _, text in known]))
        ):
            found.append(path)
    return found


def is_table(path: str, head: list[str], column: str | None) -> bool:
    """Whether a file is a csv, or a tsv whose columns are named."""
    suffix = path.lower().rpartition(".")[2]
    return suffix == "csv" or (suffix == "tsv" and text_column("".join(head).strip().split("\t"), column) is not None)


def are_transcriptions(texts: list[str]) -> bool:
    """Whether texts do not repeat as classes do: more than half as many different ones as rows, some with letters."""
    return 2 * len(set(texts)) > len(texts) and any(re.search(r"[^\W\d_]", text) for text in texts)


def list_pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [(match["name"], match["text"]) for line in lines if (match := LINE.fullmatch(line.strip("\r")))]


def csv_pairs(path: str, lines: list[str], column: str | None) -> list[tuple[str, str]]:
    """The pairs at the beginning of a table whose columns are named; none if it has no column of texts."""
    rows = list(csv.reader(lines, delimiter=delimiter(path, lines[0]))) if lines else []
    text = text_column(rows[0], column) if rows else None
    if text is None:
        return []
    image = 0 if text else 1
    return [(row[image], row[text]) for row in rows[1:] if len(row) == len(rows[0])]


def text_column(header: list[str], wanted: str | None) -> int | None:
    """The place of the column of texts; the image is in the first of the others."""
    names = [name.strip().lower() for name in header]
    if wanted is not None:
        return header.index(wanted) if wanted in header and len(header) > 1 else None
    return next((names.index(name) for name in TEXT_COLUMNS if name in names and len(names) > 1), None)


def read_lists(files: Files, paths: list[str], images: list[str], column: str | None, faults: Faults) -> Texts:
    """The texts of all lists; a row's fault is raised in `faults`."""
    named, texts = Named(files.root, images), Texts()
    for path in paths:
        files.account([path])
        with files.open(path) as file:
            first = file.readline(PEEK).decode("utf-8-sig", "replace")
        rows = (csv_rows if is_table(path, [first], column) else list_rows)(files, path, faults, column)
        for where, name, text in rows:
            with faults:
                image = named.find(name, path, where)
                if image in texts:
                    raise DataError(f"{where}: {short(name)} is listed twice, also in {texts[image][1]}")
                texts[image] = text, path
    return texts


def list_rows(files: Files, path: str, faults: Faults, _column: str | None = None) -> Iterator[tuple[str, str, str]]:
    with files.open(path) as file:
        for number, line in text_lines(file, f"{files.root}/{path}"):
            where = f"{files.root}/{path}, line {number}"
            with faults:
                with reading(where):
                    said = line.decode().strip("\r\n")
                match = LINE.fullmatch(said)
                if match is None:
                    raise DataError(f"{where}: {brief(said)} is not the name of an image and its text")
                yield where, match["name"], unquote(match["text"]) if said[match.end("name")] == "," else match["text"]


def csv_rows(files: Files, path: str, faults: Faults, column: str | None) -> Iterator[tuple[str, str, str | None]]:
    where = f"{files.root}/{path}"
    with files.open(path) as file:
        first = file.readline(PEEK).decode("utf-8-sig", "replace").rstrip("\r\n")
    header = next(csv.reader([first], delimiter=delimiter(path, first)), [])
    text = text_column(header, column)
    if text is None:
        raise DataError(f"{where} has no column of texts (it has {short(', '.join(header))}): pass text_column='…'")
    wanted = [header[0 if text else 1], header[text]]
    table = read_table(files, path, wanted, faults)
    with reading(where):
        names, texts = (table[name].to_pylist() for name in wanted)
    for row, (name, said) in enumerate(zip(names, texts), 1):
        with faults:
            if not name:
                raise DataError(f"{where}, row {row}: it names no image")
            yield f"{where}, row {row}", name, said or None
