"""Images and the files about them, found by their stems: `Images/1.jpg` and `Labels/1.txt`, wherever the folders lie."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import folder_of, name_of, stem_of, without_suffix
from dataset_scripts.core.files.splits import split_in


def own_stems(path: str) -> Iterator[str]:
    """What the image of a file may be called: `1.jpg.json` is about `1.jpg` or `1.jpg.…`, `1.json` about `1.…`."""
    name = name_of(path)
    yield without_suffix(name)
    yield stem_of(without_suffix(name))


def pair_by_stem(
    root: object, images: Sequence[str], others: Iterable[str], stems: Callable[[str], Iterable[str]] = own_stems
) -> Iterator[tuple[str, str | None, DataError | None]]:
    """Finds the image that each of some files is about, by its stem.

    Of several images with the stem, the one is taken whose folders have most names in common with the file's, then the
    one that is nearest; images of one folder are named by the suffix, too: `1.jpg.json`.

    Args:
        root: the folder, for messages.
        images, others: paths of a listing.
        stems: the names, with or without suffix, that the image of a file may have; the first that is there counts.

    Yields:
        The file, its image, or None and the fault: there is no image, or there are several equally good ones.
    """
    known: dict[str, list[str]] = {}
    for path in images:
        known.setdefault(stem_of(path), []).append(path)
        known.setdefault(name_of(path), []).append(path)
    lower: dict[str, str] | None = None

    @cache
    def closeness(folder: str, other: str) -> tuple[int, int]:
        here, there = folder.lower().split("/"), other.lower().split("/")
        shared = next((place for place, (a, b) in enumerate(zip(here, there)) if a != b), min(len(here), len(there)))
        return len(set(here) & set(there) - {""}), 2 * shared - len(here) - len(there)

    for other in others:
        wanted = list(stems(other))
        found = next((known[stem] for stem in wanted if stem in known), [])
        if len(found) > 1:
            scores = [closeness(folder_of(path), folder_of(other)) for path in found]
            found = [path for path, score in zip(found, scores) if score == max(scores)]
        if len(found) == 1:
            yield other, found[0], None
        elif found:
            yield other, None, DataError(f"{root}/{other} may be about {found[0]} or {found[1]}: rename or remove one")
        else:
            lower = lower or {name_of(path).lower(): path for path in images} | {
                stem_of(path).lower(): path for path in images
            }
            near = next((lower[stem.lower()] for stem in wanted if stem.lower() in lower), None)
            hint = f", but there is {near}, whose name differs in case: rename one" if near else ""
            yield other, None, DataError(f"{root}/{other}: there is no image {wanted[-1]}{hint}")


def is_below(path: str, folder: str) -> bool:
    """Whether a path is what the user names: the file itself, or a file in a folder of that path or name."""
    folder = folder.strip("/")
    return path == folder or f"/{folder}/" in f"/{folder_of(path)}/"


class Named:
    """The images of a listing, found by the names that a file of annotations gives them.

    A name may have folders in front of it, of another machine or not, with either slash, or none at all, and may lack its
    suffix. Whatever it says, only images of the listing are found.
    """

    def __init__(self, root: object, images: Iterable[str]):
        self.root = root
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for path in images:
            self._by_name.setdefault(name_of(path), []).append(path)
            self._by_stem.setdefault(stem_of(path), []).append(path)
        self._lower: dict[str, str] | None = None

    def find(self, name: str, source: str, where: str) -> str:
        """The image that a name means.

        Of several, it is the one whose path ends in the most parts of the name; then the one whose folders have most names
        in common with those of `source`, or with its stem, or are of its split: `train/a.jpg` in `train.json`, or `train_labels.csv`.

        Args:
            source: the path of the file that gives the name.
            where: names its place, for messages.

        Raises:
            DataError: there is no such image, or there are several equally good ones.
        """
        plain = name.replace("\\", "/").rstrip("/")
        last = name_of(plain)
        found = self._by_name.get(last) or self._by_stem.get(last) or []
        if len(found) > 1:
            scores = [(common_end(path, plain), *_closeness(path, source)) for path in found]
            found = [path for path, score in zip(found, scores) if score == max(scores)]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(f"{where}: {name[:200]} may be {found[0]} or {found[1]}: give the whole path")
        if self._lower is None:
            self._lower = {
                key.lower(): paths[0] for known in (self._by_stem, self._by_name) for key, paths in known.items()
            }
        near = self._lower.get(last.lower()) or self._lower.get(stem_of(last).lower())
        raise DataError(f"{where}: there is no image {name[:200]} in {self.root}{f', but {near}' if near else ''}")


def common_end(path: str, name: str) -> int:
    """The number of parts that two paths have in common at their ends."""
    pairs = zip(reversed(path.split("/")), reversed(name.split("/")))
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(path.count("/"), name.count("/")) + 1)


def _closeness(path: str, source: str) -> tuple[int, int, int]:
    here, there = folder_of(path).lower().split("/"), source.lower().rpartition(".")[0].split("/")
    split = split_in(name_of(source))
    is_split = split is not None and split in map(split_in, folder_of(path).split("/"))
    shared = next((place for place, (a, b) in enumerate(zip(here, there)) if a != b), min(len(here), len(there)))
    return len(set(here) & set(there) - {""}), is_split, 2 * shared - len(here)
