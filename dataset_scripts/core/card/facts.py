"""A dataset card against its script: the known facts about the set, and where the two disagree."""

import re
from collections.abc import Iterator

import datasets

from dataset_scripts.core.builders.layout import LayoutBuilder
from dataset_scripts.core.builders.published import PublishedSet
from dataset_scripts.core.errors import DataError
from dataset_scripts.core.formats.card_rules import Fault, size_category, texts_of
from dataset_scripts.core.formats.dataset_info import class_labels, info_entries, read_features, valid_splits
from dataset_scripts.core.formats.front_matter import first_table
from dataset_scripts.core.formats.markdown import code
from dataset_scripts.core.load.loading import load_dataset, make_builder
from dataset_scripts.core.load.script import Script, find_script
from dataset_scripts.core.load.trust import first_data

REFRESH = "refresh_card() brings it up to date"
TAG = re.compile(r"[a-z0-9][a-z0-9-]{1,29}")

Facts = tuple[datasets.DatasetBuilder, datasets.DatasetInfo]


def named_script(script: str) -> Script:
    found = find_script(script)
    if found is None:
        raise DataError(f"{script} is not a script: name one that comes with the package, or its .py")
    return found


def facts_of(script: Script, data_dir: str | None, name: str | None) -> Facts:
    """The facts of a configuration: from its data if they are at hand, else from the declarations of the script.

    The rows of a published set are the published ones, without byte counts unless all of them are at hand, and its
    `download_size` is that of its files.
    """
    builder = make_builder(script, name, data_dir)
    is_published, folder = isinstance(builder, PublishedSet), script.path.parent
    # The data of a published set would be downloaded.
    has_data = folder.name == script.name and first_data(folder) is not None and not is_published
    is_made = script.is_bundled and not isinstance(
        builder, (LayoutBuilder, PublishedSet)
    )  # from what the package holds
    info = builder.info
    if builder.config.data_dir is not None or has_data or is_made:
        info = next(iter(load_dataset(str(script.path), name, data_dir=data_dir, transform=None).values())).info
    info = info.copy()
    info.download_size = None  # `datasets` counts what it downloaded this time
    if is_published:
        if rows_of(info) != builder.ROWS:
            info.splits = datasets.splits.SplitDict()
            for split, rows in builder.ROWS.items():
                info.splits.add(datasets.SplitInfo(split, None, rows))
        sizes = [source.size for source in builder.sources()]
        info.download_size = sum(sizes) if sizes and None not in sizes else None
    return builder, info


def all_facts(script: Script, data_dir: str | None, name: str | None) -> list[Facts]:
    """The facts of a configuration, and after them, without a `name`, those of the others that declare their rows."""
    builder, info = facts_of(script, data_dir, name)
    others = builder.builder_configs if name is None and isinstance(builder, PublishedSet) else {}
    return [(builder, info), *(facts_of(script, None, other) for other in others if other != builder.config.name)]


def against(
    script: str, data_dir: str | None, name: str | None, header: dict, body: str, start: int
) -> Iterator[Fault]:
    """Where the card and the script disagree; the text begins on line `start`."""
    found = named_script(script)
    facts = all_facts(found, data_dir, name)
    builder, info = facts[0]
    for key in ("pretty_name", "license", "task_categories"):
        if key not in header:
            yield (), f"there is no {key}: add it"
    if info.license and "license" in header and info.license not in texts_of(header, "license"):
        yield ("license",), f"is {header['license']!r}, but {info.license!r} in the script: make them the same"
    if info.citation and "".join(info.citation.split()) not in "".join(body.split()):
        yield ("line", start), "the citation of the script is not in the text: add it in a block ```bibtex"
    if found.is_bundled:
        yield from _tags(header)
    if found.is_bundled and isinstance(builder, LayoutBuilder) and not isinstance(builder, PublishedSet):
        for key in header.keys() & {"dataset_info", "size_categories"}:
            yield (key,), "a layout has no rows of its own: leave it out"
        return
    entries = {str(entry.get("config_name", "default")): (where, entry) for where, entry in info_entries(header)}
    for other, known in facts:
        config = other.config.name
        if config in entries:
            yield from _entry(other, known, *entries[config])
        elif found.is_bundled:
            yield (), f"there is no dataset_info of the configuration {config}: {REFRESH}"
    if isinstance(builder, PublishedSet):
        for config, (where, _) in entries.items():
            if config not in (builder.builder_configs or {"default": None}):
                yield where, f"the script has no configuration {config}: leave it out"
    yield from _size(header, rows_of(info), bool(entries))
    yield from _tables(info, body, start)


def _tags(header: dict) -> Iterator[Fault]:
    tags = header.get("tags")
    if not isinstance(tags, list) or not tags:
        yield ("tags",) if "tags" in header else (), "there is no list of tags: add some, such as '- faces'"
        return
    for place, tag in enumerate(tags):
        if not isinstance(tag, str) or not TAG.fullmatch(tag):
            yield ("tags", place), f"{tag!r} is not a short word of lower-case letters, digits and -"


def _entry(builder: datasets.DatasetBuilder, info: datasets.DatasetInfo, where: tuple, entry: dict) -> Iterator[Fault]:
    """Where an entry of dataset_info and the facts of its configuration disagree."""
    rows, said = rows_of(info), {str(split["name"]): split["num_examples"] for split in valid_splits(entry)}
    if rows and said and said != rows:
        yield (*where, "splits"), f"has {_listed(said)}, but the script has {_listed(rows)}: {REFRESH}"
    size = entry.get("download_size")
    if None not in (size, info.download_size) and size != info.download_size:
        yield (*where, "download_size"), f"is {size}, but the files have {info.download_size} bytes: {REFRESH}"
    features, _ = read_features(entry, where)
    if features is not None and info.features:
        yield from (((*where, "features"), what) for what in _columns(features, info.features))
    elif features is not None and (classes := getattr(builder, "CLASSES", None)):
        if list(classes) not in [label.names for feature in features.values() for label in class_labels(feature)]:
            yield (*where, "features"), f"no column has the classes of the script, {', '.join(classes)[:100]}"


def _columns(said: datasets.Features, real: datasets.Features) -> Iterator[str]:
    for column in [*real, *(column for column in said if column not in real)]:
        one, other = said.get(column), real.get(column)
        if one is None or other is None:
            yield f"the {'card' if one is None else 'script'} has no column {column}: {REFRESH}"
        elif one != other:
            names = [[label.names for label in class_labels(feature)] for feature in (one, other)]
            what = "classes are" if names[0] != names[1] else "type is"
            yield f"{column}: its {what} not as in the script: {REFRESH}"


def _size(header: dict, rows: dict[str, int], has_info: bool) -> Iterator[Fault]:
    right = size_category(sum(rows.values()))
    if rows and not has_info and "size_categories" in header and right not in texts_of(header, "size_categories"):
        yield ("size_categories",), f"does not fit the {sum(rows.values()):,} rows of the script: {right!r}?"


def _tables(info: datasets.DatasetInfo, body: str, start: int) -> Iterator[Fault]:
    """Where the tables of the text disagree with the facts."""
    rows = rows_of(info)
    line, head, table = first_table(body, "split")
    if rows and "rows" in head:
        counted = {split: int(re.sub(r"\D", "", cells[head.index("rows")])[:30] or 0) for split, cells in table.items()}
        if counted != rows:
            yield (
                ("line", start + line),
                f"the splits are {_listed(counted)}, but {_listed(rows)} in the script: change the table",
            )
    line, _, table = first_table(body, "column")
    known = {code(column).strip("`") for column in info.features or {}}
    told = {cell if cell in known else cell.replace("`", "").partition(".")[0] for cell in table}
    if info.features and table and told != known:
        listed = ", ".join(info.features)
        yield (
            ("line", start + line),
            f"the columns are {', '.join(table)}, but {listed} in the script: change the table",
        )


def rows_of(info: datasets.DatasetInfo) -> dict[str, int]:
    return {str(split): part.num_examples for split, part in (info.splits or {}).items()}


def _listed(rows: dict[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in rows.items())
