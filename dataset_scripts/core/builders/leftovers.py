"""Files that a layout has not read: known company such as a README, or the sign that the layout is not understood.

Annotations that are overlooked make silently wrong data: images without their boxes, masks shown as photos, classes
called "images". So nothing is read unless every file is accounted for.
"""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import replace

from dataset_scripts.core.builders.contents import Kind, kind_of
from dataset_scripts.core.errors import DataError, printable_logger, reading
from dataset_scripts.core.files.archives import archive_stem, is_archive, open_archive
from dataset_scripts.core.files.faults import Faults
from dataset_scripts.core.files.listing import Files, folder_of, is_image, name_of, stem_of, without_suffix
from dataset_scripts.core.files.splits import split_in
from dataset_scripts.core.files.stems import is_below

logger = printable_logger(__name__)

SHOWN = 3  # examples of a kind of files
PEEK = 1 << 16  # bytes of a file that tell what it is
COMPANY = re.compile(
    r"(.*[_\-. ])?(readme|licen[cs]es?|copying|notice|authors|citation|change-?log|contributing|terms|attribution|thanks|"
    r"about|metadata_?info|credits|disclaimer|dataset_?(card|info|infos)|version|requirements|checksums?|md5sums?|"
    r"sha\d+sums?|sample_?submission)([_\-. ].*)?|thumbs\.db|desktop\.ini"
)
COMPANY_SUFFIXES = tuple(
    ".md .rst .pdf .html .htm .doc .docx .odt .ipynb .py .sh .bat .ps1 .m .r .js .css .log .toml .cfg .ini .lock .md5 .sha1 "
    ".sha256 .bib .tex .ppt .pptx .url .webloc .cache .lnk .torrent .crc .sfv .db-journal .gitignore .gitattributes".split()
)
PICTURES = re.compile(
    r"(.*[_\-. ])?(preview|thumb|thumbnail|logo|banner|cover|teaser|favicon|screenshot)s?([_\-. ].*)?"
)
THUMBNAILS = re.compile(r"thumb(nail)?s?|previews?", re.IGNORECASE)
TEXTS = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".lst", ".list", ".data", ".dat", ".names")
ARRAYS = (
    ".npy",
    ".npz",
    ".mat",
    ".h5",
    ".hdf5",
    ".pkl",
    ".pickle",
    ".pt",
    ".pth",
    ".parquet",
    ".arrow",
    ".mdb",
    ".tfrecord",
)
RECORDS = (".odgt", ".ndjson", ".tfrecords", ".rec", ".geojson")  # that nobody here reads
SHEETS = (".xls", ".xlsx", ".ods")
PACKED = (".rar", ".7z")


def check_leftovers(files: Files, layout: str, is_chosen: bool = False) -> None:
    """Looks at the files that a layout has not accounted for; company such as a README is counted in a log line.

    Args:
        layout: its name.
        is_chosen: the user has named it: annotations that another layout reads are then left to that.

    Raises:
        DataError: there are images that no row shows, files with the stems of images, tables or lists that name images,
            data in another form, or archives with more than what lies beside them. The message counts them, shows
            some, says what they look like, and how to read them or to leave them out.
    """
    kinds, company = sort_leftovers(files)
    for kind, reader in list(kinds) if is_chosen else ():
        if reader not in ("", "csv_list", layout):
            paths = kinds.pop((kind, reader))
            logger.warning("%s: %d %s are left to load_dataset(%r)", files.root, len(paths), kind, reader)
    if kinds:
        raise DataError(complaint(files, layout, kinds))
    if company:
        logger.warning("%s: %d other files are of no matter, such as %s", files.root, len(company), company[0])


def sort_leftovers(files: Files) -> tuple[dict[Kind, list[str]], list[str]]:
    """The files that a layout has not accounted for: those that it should have read, by kind, and company."""
    left = [path for path in files.paths if path not in files.accounted]
    kinds: dict[Kind, list[str]] = {}
    company: list[str] = []
    if left:
        files = replace(files, mounts=files.all_mounts or files.mounts)
        about = Images(files)
    for path in left:
        kind = what_is(files, path, about)
        if kind is None:
            company.append(path)
        else:
            kinds.setdefault(kind, []).append(path)
    return kinds, company


def leave_unchosen(files: Files, folders: list[str]) -> None:
    """Accounts for the files outside of the folders that the user has chosen, and logs how many there are."""
    if not folders:
        return
    lower = [folder.lower() for folder in folders]
    others = [path for path in files.paths if not any(is_below(path.lower(), folder) for folder in lower)]
    others = [path for path in others if path not in files.accounted]
    files.account(others)
    if others:
        logger.warning(
            "%s: %d files outside of %s are left out, such as %s",
            files.root,
            len(others),
            ", ".join(folders),
            others[0],
        )


def leave_out(files: Files, faults: Faults, paths: list[str], count: int, why: str, way_out: str = "") -> None:
    """Raises, or notes with `on_error="skip"`, that a layout has nothing to say of some images, each of them once.

    Args:
        count: of all images.
        why: what they are or lack, in words: "have no annotation".
        way_out: another way to go on.

    Raises:
        DataError: it counts them, and says how to leave them out.
    """
    if not paths:
        return
    files.account(paths)
    if not faults.skip:
        raise DataError(
            f"{files.root}: {len(paths)} of {count} images {why}, such as {paths[0]}: on_error='skip' leaves them out, "
            f"and so does ignore=[…]{f'; {way_out}' if way_out else ''}"
        )
    for path in not_said(paths, faults.said):
        faults.note(f"{files.root}/{path}: such images {why}")


def not_said(paths: list[str], said: list[str]) -> list[str]:
    """The images that no fault names: those of records that were skipped are listed already."""
    text = "\n".join(said)
    words = {name_of(word) for word in re.split(r"[\s,;:'\"()\[\]]+", text)}
    return [path for path in paths if name_of(path) not in words and f"/{path}" not in text]


class Images:
    """The names of the images of a listing, to tell which files are about them."""

    def __init__(self, files: Files):
        self.folders = {name_of(folder_of(path)) for path in files.images} - {""}
        self.names = {name_of(path) for path in files.images}
        self.stems = {without_suffix(name) for name in self.names}

    def own(self, path: str) -> bool:
        """Whether a file's name is that of an image, but for what is before or after it: `1.txt`, `gt_1.txt`, `1_mask.png`."""
        name = name_of(path)
        stem = without_suffix(name)
        if stem in self.stems or stem in self.names or without_suffix(stem) in self.stems:
            return True
        cuts = [match.start() for match in re.finditer(r"[_\-. ]", stem)]
        return any(stem[:cut] in self.stems or stem[cut + 1 :] in self.stems for cut in cuts)

    def lists_folders(self, path: str, text: str) -> bool:
        """Whether a file that is called like a split lists folders of images, one per line, such as videos."""
        lines = {line.strip().rstrip("/") for line in text.splitlines()} - {""}
        return split_in(stem_of(path)) is not None and bool(lines) and {name_of(line) for line in lines} <= self.folders

    def named_in(self, text: str) -> bool:
        """Whether a text names images: by a whole name, or by stems at the beginning of most of its lines."""
        words = set(re.split(r"[\s,;|\"'<>:=#\[\]{}()]+", text))
        names = {name_of(word.replace("\\", "/")) for word in words}
        if not names.isdisjoint(self.names):
            return True
        if any(is_image(name) and without_suffix(name) in self.stems for name in names):
            return True
        lines = [line for line in text.splitlines() if line.strip()][1:]
        starts = {re.split(r"[\s,;|]", line.strip(" \"'"), maxsplit=1)[0].strip("\"'") for line in lines}
        found = {name_of(start) for start in starts} & self.stems
        return len(found) > 1 and 2 * len(found) >= len(starts) and 2 * len(found) >= len(self.stems)


def what_is(files: Files, path: str, about: Images) -> Kind | None:
    """What a file looks like, and the layout that reads such files, if any; None for company."""
    name, suffix = name_of(path).lower(), posixpath.splitext(path.lower())[1]
    if is_image(path):
        if PICTURES.fullmatch(stem_of(name)) or any(map(THUMBNAILS.fullmatch, folder_of(path).split("/"))):
            return None
        return "images that no row shows", ""
    if is_archive(path):
        return None if is_unpacked(files, path) else ("archives beside the data", "")
    if suffix in PACKED:
        return f"{suffix[1:]} archives, which cannot be read", ""
    is_own = about.own(path)
    if suffix in COMPANY_SUFFIXES or (COMPANY.fullmatch(name) and not is_own):
        return None
    if suffix in SHEETS:
        return "spreadsheets, which have to be saved as csv", ""
    if suffix == ".parquet" and is_of_a_shard(files, path):
        return None
    if suffix in ARRAYS:
        return f"{suffix} files", ""
    if suffix in RECORDS:
        return f"{suffix} files", ""
    if suffix in TEXTS or is_own:
        content = files.peek(path, PEEK)
        kind = kind_of(content, suffix)
        if kind is not None and (is_own or kind[1] not in ("", "csv_list")):
            return kind
        if is_own:
            return f"{suffix or 'other'} files named like images", ""
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
        if about.named_in(text):
            return f"{suffix[1:]} files that name images", "csv_list"
        if about.lists_folders(path, text):
            return f"{suffix[1:]} files that name folders of images", ""
    return None


def is_of_a_shard(files: Files, path: str) -> bool:
    """Whether a table is named like a shard beside it, `00000.tar` or `00000/`: what img2dataset says of its images."""
    stem = without_suffix(path)
    return any(prefix == f"{stem}/" for prefix in files.mounts) or any(
        other.startswith(f"{stem}/") for other in files.paths
    )


def is_unpacked(files: Files, path: str) -> bool:
    """Whether all that an archive holds lies beside it, in a folder of its name or not."""
    below = f"{archive_stem(path)}/"
    if any(other.startswith(below) for other in files.paths):
        return True
    with reading(f"{files.root}/{path} cannot be read"):
        archive = open_archive(files.root / files.aliases.get(path, path))
    start = folder_of(path) + "/" * bool(folder_of(path))
    return all(start + name in files.names for name in archive.names)


def complaint(files: Files, layout: str, kinds: dict[Kind, list[str]]) -> str:
    """What was left, what it looks like, and the ways out."""
    parts, ways = [], []
    left = {path for path in files.paths if path not in files.accounted}
    for (kind, reader), paths in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])):
        parts.append(in_words(kind, paths))
        if reader and reader != layout:
            ways.append(f"load_dataset({reader!r}, data_dir=…) reads {kind}")
    ignored = patterns(files, [path for paths in kinds.values() for path in paths], left)
    ways.append(f"load_dataset({layout!r}, data_dir=…, ignore={ignored!r}) leaves them out")
    return (
        f"{files.root} is not understood: read as {layout}, there would be left {'; '.join(parts)}. {'; '.join(ways)}"
    )


def in_words(kind: str, paths: list[str]) -> str:
    """How many files of a kind there are, where, and the first of them."""
    folders = sorted(set(map(folder_of, paths)) - {""})
    where = f" in {', '.join(f'{folder}/' for folder in folders[:SHOWN])}" if folders else ""
    return f"{len(paths)} {kind}{where} ({', '.join(paths[:SHOWN])}{' …' * (len(paths) > SHOWN)})"


def patterns(files: Files, paths: Iterable[str], left: set[str]) -> list[str]:
    """Patterns for `ignore=` that leave out these paths, and nothing that is read."""
    read = [path for path in files.paths if path not in left]
    found = []
    for folder, suffix in dict.fromkeys((folder_of(path), posixpath.splitext(path)[1]) for path in paths):
        chosen = [path for path in paths if folder_of(path) == folder and posixpath.splitext(path)[1] == suffix]
        if folder and not any(path.startswith(f"{folder}/") for path in read):
            found.append(f"{folder}/**")
        elif not any(folder_of(path) == folder and path.endswith(suffix) for path in read) and len(chosen) > 1:
            found.append(f"{folder}/*{suffix}".lstrip("/"))
        else:
            found += chosen
    found = list(dict.fromkeys(found))
    return found if len(found) <= 5 else [*found[:5], "…"]
