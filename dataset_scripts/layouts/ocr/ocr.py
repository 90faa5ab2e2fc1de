"""Text in images: words with their corners (ICDAR, CTW1500), or images of a line with its transcription."""

from dataclasses import dataclass

import datasets
import pyarrow as pa

from dataset_scripts.core.builders.annotated import AnnotatedBuilder, AnnotatedConfig
from dataset_scripts.core.builders.layout import Rows
from dataset_scripts.core.errors import reading
from dataset_scripts.core.files.listing import folder_of, name_of, stem_of, without_suffix
from dataset_scripts.core.files.splits import split_in
from dataset_scripts.core.files.stems import is_below, own_stems, pair_by_stem
from dataset_scripts.core.image.shapes import Annotation
from dataset_scripts.layouts.ocr.boxes import look_like_boxes, parse_boxes
from dataset_scripts.layouts.ocr.curved import XML, parse_curved_xml
from dataset_scripts.layouts.ocr.lines import SIDECAR, Texts, find_lists, find_sidecars, line_stems, read_lists

PRECEDENCE = 2
SUFFIXES = (".txt", ".csv", ".tsv", ".xml")
HEAD = 1 << 14  # bytes of a file of words that tell that it is one


@dataclass
class OcrConfig(AnnotatedConfig):
    """Options of `load_dataset("ocr", data_dir=…)`; those of boxes are for words in scenes.

    Attributes:
        text_column: the column of a csv that holds the transcriptions, if it has none of the usual names.
    """

    text_column: str | None = None


def matches(files):
    """Words with their corners in texts named like the images, texts beside images of lines, or lists of them."""
    if not files.images or any(archive.sequential for archive in files.mounts.values()):
        return None  # a tar of pairs is a shard of a WebDataset
    sidecars = files.having(SIDECAR)
    if sidecars:
        pairs = pair_by_stem(files.root, files.images, sidecars, line_stems)
        count = sum(image is not None for _, image, _ in pairs)
        return f"{count} of {len(files.images)} images with their text in {SIDECAR}" if count else None
    if lists := find_lists(files):
        return f"{len(files.images)} images, transcribed in {', '.join(lists[:6])}{' …' * (len(lists) > 6)}"
    return Ocr.matches_by_stem(files)


class Ocr(AnnotatedBuilder):
    BUILDER_CONFIG_CLASS = OcrConfig
    SUFFIXES = (".txt", ".xml")
    OBJECT_COLUMNS = {
        "text": datasets.Value("string"),
        "ignore": datasets.Value("bool"),
        "script": datasets.Value("string"),
    }

    @classmethod
    def is_annotation(cls, content):
        return bool(XML.search(content)) or look_like_boxes(content, len(content) == HEAD)

    @classmethod
    def stems(cls, path):
        for stem in own_stems(path):
            yield stem
            if stem.lower().startswith("gt_"):
                yield stem[3:]
            if stem.isdigit() and stem.startswith("000"):  # of CTW1500's test set: 0001001.txt is about 1001.jpg
                yield stem[3:]

    @classmethod
    def annotation_files(cls, files, config):
        """Also files named like images in the same folders: blank ones, of images without words, and damaged ones."""
        paths = super().annotation_files(files, config)
        if config.annotations is None and paths:
            known, folders, stems = set(paths), set(map(folder_of, paths)), set(map(stem_of, files.images))
            others = [path for path in files.having(*cls.SUFFIXES) if path not in known and folder_of(path) in folders]
            paths += [path for path in others if not stems.isdisjoint(cls.stems(path))]
        return paths

    def parse(self, content, where):
        if content.lstrip().startswith(b"<"):
            return parse_curved_xml(content, where)
        with reading(where):
            return Annotation(parse_boxes(content, where))

    def _features(self):
        self.is_polygonal = True  # also of rectangles alone
        return super()._features()

    def index(self, files):
        config = self.config
        images = [path for path in files.images if config.images is None or is_below(path, config.images)]
        (texts, images), lists = find_sidecars(files, images, self.faults), []
        if not texts:
            lists = find_lists(files, config.annotations, config.text_column)
            texts = read_lists(files, lists, images, config.text_column, self.faults)
        self.is_lines = bool(texts)
        if not self.is_lines:
            return super().index(files)
        splits = self._splits(files, images, {image: (image, None, None) for image in texts}, {})
        if list(splits) == ["train"] and any(split_in(name_of(path)) for path in lists):
            splits = self._by_list(splits["train"], texts)
        files.keep(image for rows in splits.values() for image, *_ in rows)
        features = {"image": datasets.Image(), "image_id": datasets.Value("string"), "text": datasets.Value("string")}
        return datasets.Features(features), {split: self._rows(samples, texts) for split, samples in splits.items()}

    @staticmethod
    def _by_list(samples: list[tuple], texts: Texts) -> dict[str, list[tuple]]:
        splits: dict[str, list[tuple]] = {}
        for sample in samples:
            splits.setdefault(split_in(name_of(texts[sample[0]][1])) or "train", []).append(sample)
        return splits

    @staticmethod
    def _rows(samples: list[tuple], texts: Texts) -> Rows:
        values = [texts.get(image, (None, ""))[0] for image, *_ in samples]
        return Rows(samples, {"text": pa.array(values, pa.string())})

    def read(self, files, sample):
        if not self.is_lines:
            return super().read(files, sample)
        image = sample[0]
        return {"image": {"bytes": files.read(image), "path": image}, "image_id": without_suffix(image)}
