"""The commands of `dataset-scripts`: what they take, and what they do."""

import argparse
import json
from importlib.metadata import EntryPoints
from pathlib import Path
from typing import Any

from dataset_scripts import __version__
from dataset_scripts.core.builders.published import PublishedSet
from dataset_scripts.core.card.check import check_card
from dataset_scripts.core.card.write import new_card, refresh_card
from dataset_scripts.core.errors import DataError, printable
from dataset_scripts.core.files.disk import flush_output
from dataset_scripts.core.files.replace import write_file
from dataset_scripts.core.load.loading import make_builder
from dataset_scripts.core.load.script import bundled, bundled_layouts, bundled_names, find_script
from dataset_scripts.core.look.folder import describe_folder
from dataset_scripts.core.look.preview import preview
from dataset_scripts.core.look.verify import verify
from dataset_scripts.core.new import new_script
from dataset_scripts.core.publish.export import export
from dataset_scripts.core.publish.push import push

EXAMPLES = """\
examples:
  dataset-scripts list                                  what comes with the package
  dataset-scripts info path/to/photos                   what a folder is: layout, splits, classes, what is left over
  dataset-scripts info mnist                            what a set is, and where its files come from
  dataset-scripts new my_set --data path/to/photos      a script, a card and a test for your own data
  dataset-scripts preview path/to/photos -o look        a contact sheet and a report of what is in them
  dataset-scripts verify mnist --data-dir downloads     digests, row counts, every image
  dataset-scripts export path/to/photos out             Parquet and a card, for datasets without this package
  dataset-scripts push out user/photos                  the same on the Hub, private at first
  dataset-scripts card my_set                           the machine part of a card: features, splits, size
  dataset-scripts check my_set/README.md                what is wrong with a card, offline
"""


# What the commands share; `key=value` and `--key value` mean the same.
OPTIONS: dict[str, dict[str, Any]] = {
    "data": {"type": Path, "required": True, "help": "the folder, archive or file of images"},
    "name": {"help": "the configuration, if there are several"},
    "split": {"help": "one split; default: all"},
    "data_dir": {"help": "the folder of the data, if the script does not know where they are"},
    "num_proc": {"type": int, "help": "processes that work at the same time"},
    "layout": {"help": "the layout to read it as; default: the one that is detected"},
    "ignore": {"action": "append", "help": "a pattern of files to leave out; may be repeated"},
    "json": {"action": "store_true", "help": "print JSON"},
    "out": {
        "type": Path,
        "default": Path("preview"),
        "help": "sheet.png, report.html, or a folder for both and report.json",
    },
    "rows": {"type": int, "default": 6, "help": "rows of the sheet"},
    "seed": {"type": int, "default": 0, "help": "decides which rows are shown"},
    "max_shard_size": {"default": "500MB", "help": "the largest size of a file"},
    "overwrite": {"action": "store_true", "help": "replace an earlier export"},
    "public": {"action": "store_true", "help": "make a new repository public; it is private without it"},
    "revision": {"help": "the branch; default: main"},
}
SHORT = {"out": ["-o"]}
SWITCHES = {"true": True, "false": False}


def run(arguments: list[str], added_commands: EntryPoints) -> int:
    """Runs a command of this package; returns the exit status: 0 well, 1 the data are not."""
    options = _parser(added_commands).parse_args([flag for word in arguments for flag in _with_dashes(word)])
    status = options.run(options)
    flush_output()
    return status


def _with_dashes(word: str) -> list[str]:
    """The word, or the option with dashes that means the same as `key=value`; none for `false`, which needs no option."""
    key, equals, value = word.partition("=")
    if not equals or key not in OPTIONS or Path(word).exists():
        return [word]
    flag = f"--{key.replace('_', '-')}"
    if OPTIONS[key].get("action") != "store_true":
        return [f"{flag}={value}"]
    if value not in SWITCHES:
        raise DataError(f"{printable(word)} should be true or false")
    return [flag] if SWITCHES[value] else []


def _parser(added_commands: EntryPoints) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "dataset-scripts",
        description="Image datasets on disk, and what to do with them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str, example: str, *options: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}. Options may also be written key=value.",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        for option in options:
            about = OPTIONS[option]
            default = f" (default: {about['default']})" if "default" in about else ""
            flag = f"--{option.replace('_', '-')}"
            added.add_argument(*SHORT.get(option, []), flag, **about | {"help": about["help"] + default})
        return added

    command("list", run_list, "the scripts that come with the package", "dataset-scripts list --json", "json")

    text = "what a folder is (layout, splits, classes, what is left over), or where a named set comes from"
    example = "dataset-scripts info path/to/photos ignore='thumbs/**'"
    added = command("info", run_info, text, example, "layout", "ignore", "json")
    added.add_argument("path", metavar="NAME_OR_PATH")

    text = "a script, a card and a test for your own data"
    added = command("new", run_new, text, "dataset-scripts new my_set --data path/to/photos", "data")
    added.add_argument("folder", type=Path, metavar="my_set", help="the folder to write; its name is the script's")

    text = "a contact sheet, class balance, sizes, duplicates and overlaps of splits"
    example = "dataset-scripts preview path/to/photos -o sheet.png"
    added = command("preview", run_preview, text, example, "out", "name", "data_dir", "rows", "seed", "num_proc")
    added.add_argument("path", metavar="NAME_OR_PATH")

    text = "digests, row counts, class balance and every image of a set"
    example = "dataset-scripts verify fashion_mnist --data-dir downloads --num-proc 4"
    added = command("verify", run_verify, text, example, "name", "data_dir", "num_proc", "json")
    added.add_argument("path", metavar="NAME_OR_PATH")

    text = "Parquet files with embedded images, and a card"
    example = "dataset-scripts export digits out && python -c 'import datasets; print(datasets.load_dataset(\"out\"))'"
    wanted = ("name", "split", "data_dir", "num_proc", "max_shard_size", "overwrite")
    added = command("export", run_export, text, example, *wanted)
    added.add_argument("path", metavar="NAME_OR_PATH")
    added.add_argument("out", type=Path, metavar="FOLDER", help="the folder to write")

    text = "an exported folder, or what can be exported, as a dataset on the Hub"
    example = "dataset-scripts push out ann/photos"
    added = command("push", run_push, text, example, "public", "revision", "num_proc")
    added.add_argument("path", metavar="FOLDER_OR_NAME_OR_PATH")
    added.add_argument("repo_id", metavar="user/name")

    text = "rewrites the machine part of a card: features, splits, size"
    added = command("card", run_card, text, "dataset-scripts card my_set", "name", "data_dir")
    added.add_argument("path", metavar="NAME_OR_PATH", help="a script; its card is README.md beside it")

    added = command("check", run_check, "what is wrong with cards, offline", "dataset-scripts check my_set/README.md")
    added.add_argument("cards", nargs="*", metavar="NAME_OR_CARD", help="default: all cards of the package")

    for entry in added_commands:
        commands.add_parser(entry.name, help=entry.load().__doc__.splitlines()[0])
    return parser


def describe(name: str) -> dict[str, Any]:
    """The declarations of a bundled script."""
    script = find_script(name)
    if script is None or not script.is_bundled:
        raise DataError(f"{name!r} does not come with the package; `dataset-scripts list` shows what does")
    builder = make_builder(script)
    published = isinstance(builder, PublishedSet)
    return {
        "name": name,
        "kind": "set" if published or builder.info.features else "layout",
        "description": builder.info.description,
        "license": builder.info.license,
        "homepage": builder.info.homepage,
        "citation": builder.info.citation,
        "rows": builder.ROWS if published else {},
        "files": [vars(source) for source in builder.sources()] if published else [],
        "card": str(bundled()[name].with_name("README.md")),
    }


def run_list(options: argparse.Namespace) -> int:
    described = [describe(name) for name in bundled_names()]
    if options.json:
        print(
            json.dumps(
                [{key: item[key] for key in ("name", "kind", "description", "rows")} for item in described], indent=2
            )
        )
        return 0
    for kind, title in (("set", "Sets"), ("layout", "Layouts of your own data")):
        print(f"{title}:")
        for item in described:
            if item["kind"] == kind:
                print(f"  {item['name']:18} {item['description'].splitlines()[0]}")
    return 0


def run_info(options: argparse.Namespace) -> int:
    if options.path not in bundled():
        return run_folder_info(options)
    if options.layout or options.ignore:
        raise DataError(f"layout and ignore are for a folder of data; {options.path} is the name of a script")
    item = describe(options.path)
    if options.json:
        print(json.dumps(item, indent=2))
        return 0
    print(item["description"])
    for key in ("license", "homepage", "card"):
        if item[key]:
            print(f"{key}: {item[key]}")
    for split, rows in item["rows"].items():
        print(f"{split:12} {rows:>10,} rows")
    for source in item["files"]:
        print(f"{source['name']}  {source['size'] or '?'} bytes  {source['digest'] or ''}")
        for url in source["urls"]:
            print(f"    {url}")
    return 0


def run_folder_info(options: argparse.Namespace) -> int:
    said = describe_folder(Path(options.path).expanduser(), options.layout, options.ignore)
    if options.json:
        print(json.dumps(said, indent=2))
        return 1 if said["fault"] or said["left"] else 0
    print(f"layout    {said['layout'] or ('none' if said['fault'] else 'none; datasets reads it')}")
    if said["evidence"]:
        print(f"evidence  {printable(said['evidence'])}")
    for split, rows in said["splits"].items():
        print(f"split     {printable(split)}: {rows:,} rows")
    for name, kind in said["columns"].items():
        print(f"column    {printable(name)}: {kind}")
    if classes := said["classes"]:
        shown = ", ".join(map(printable, classes[:10])) + " …" * (len(classes) > 10)
        print(f"classes   {len(classes)}: {shown}")
    for line in said["left"]:
        print(f"left over {printable(line)}")
    if said["others"]:
        print(f"others    {said['others']} files of no matter")
    if said["fault"]:
        print(f"fault     {printable(said['fault'])}")
    return 1 if said["fault"] or said["left"] else 0


def run_new(options: argparse.Namespace) -> int:
    script = new_script(options.folder, options.data)
    print(f"wrote {printable(script)}, README.md and test_{script.name} beside it. The one line that loads it:\n")
    print(f'    load_dataset("{printable(options.folder)}", split="train")')
    return 0


def run_preview(options: argparse.Namespace) -> int:
    loading = {"name": options.name, "data_dir": options.data_dir, "num_proc": options.num_proc}
    for path in preview(options.path, options.out, rows=options.rows, seed=options.seed, **loading):
        print(printable(path))
    return 0


def run_verify(options: argparse.Namespace) -> int:
    report = verify(options.path, options.name, options.data_dir, options.num_proc)
    if options.json:
        print(json.dumps(report, indent=2))
        return 0 if report["ok"] else 1
    for name, state in report["files"].items():
        print(f"{printable(name):40} {printable(state)}")
    for split, rows in report["rows"].items():
        expected = "" if rows["published"] is None else f", published {rows['published']:,}"
        found = "missing" if split in report["missing"] else f"{rows['found']:,} rows"
        print(f"{printable(split):12} {found}{expected}")
        counts = report["classes"].get(split)
        if counts:
            ends = [
                f"{counts[name]:,} ({printable(name)})"
                for name in (min(counts, key=counts.get), max(counts, key=counts.get))
            ]
            equal = len(set(counts.values())) == 1
            print(
                f"{'':12} {len(counts)} classes of {f'{min(counts.values()):,} rows each' if equal else ' to '.join(ends) + ' rows'}"
            )
    for line in report["unreadable"]:
        print(printable(line))
    print(
        "everything is as published"
        if report["ok"] and report["files"]
        else "sound"
        if report["ok"]
        else "not as it should be"
    )
    return 0 if report["ok"] else 1


def run_export(options: argparse.Namespace) -> int:
    out = export(
        options.path,
        options.out,
        name=options.name,
        split=options.split,
        data_dir=options.data_dir,
        num_proc=options.num_proc,
        max_shard_size=options.max_shard_size,
        overwrite=options.overwrite,
    )
    print(printable(out))
    return 0


def run_push(options: argparse.Namespace) -> int:
    print(
        push(
            options.path,
            options.repo_id,
            private=not options.public,
            revision=options.revision,
            num_proc=options.num_proc,
        )
    )
    return 0


def run_card(options: argparse.Namespace) -> int:
    script = find_script(options.path)
    if script is None:
        raise DataError(f"there is no script {options.path}")
    if script.is_bundled and options.path in bundled_layouts():
        raise DataError(f"{options.path} is a layout: its card is about all data in that form, and is written by hand")
    card = script.path.with_name("README.md")
    text = (
        refresh_card(options.path, options.data_dir, options.name)
        if card.exists()
        else new_card(options.path, options.data_dir, options.name)
    )
    write_file(card, text)
    print(printable(card))
    return 0


def run_check(options: argparse.Namespace) -> int:
    faults = 0
    for card in options.cards or bundled_names():
        script = card if card in bundled() else None
        path = bundled()[card].parent if script else Path(card)
        path = path / "README.md" if path.is_dir() else path
        if not path.is_file():
            raise DataError(f"there is no card {printable(path)}, and no script of that name comes with the package")
        for fault in check_card(path, script):
            print(printable(f"{path}, {fault}"))
            faults += 1
    return 1 if faults else 0
