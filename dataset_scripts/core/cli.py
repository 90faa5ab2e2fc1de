"""The command `dataset-scripts`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import datasets

from dataset_scripts import __version__
from dataset_scripts.core.errors import DataError, TrustError
from dataset_scripts.core.loading import make_builder
from dataset_scripts.core.new import new_script
from dataset_scripts.core.preview import preview
from dataset_scripts.core.published import PublishedSet
from dataset_scripts.core.script import PACKAGE, bundled_names, find_script
from dataset_scripts.core.verify import verify

EXAMPLES = """\
examples:
  dataset-scripts list                                  what comes with the package
  dataset-scripts info mnist                            what a set is, and where its files come from
  dataset-scripts new my_set --data path/to/photos      a script, a card and a test for your own data
  dataset-scripts preview path/to/photos -o look        a contact sheet and a report of what is in them
  dataset-scripts verify mnist --data-dir downloads     digests, row counts, every image
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 well, 1 the data are not, 2 it could not be done."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (DataError, TrustError, OSError, datasets.exceptions.DatasetsError) as error:
        print(f"dataset-scripts: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "dataset-scripts", description="Image datasets on disk, and what to do with them.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.set_defaults(run=run)
        return added

    added = command("list", run_list, "the scripts that come with the package", "dataset-scripts list --json")
    added.add_argument("--json", action="store_true")

    added = command("info", run_info, "what a set is, its splits and where its files come from", "dataset-scripts info mnist")
    added.add_argument("name")
    added.add_argument("--json", action="store_true")

    added = command("new", run_new, "a script, a card and a test for your own data",
                    "dataset-scripts new my_set --data path/to/photos")  # fmt: skip
    added.add_argument("folder", type=Path, metavar="my_set", help="the folder to write; its name is the script's")
    added.add_argument("--data", type=Path, required=True, help="the folder, archive or file of images")

    added = command("preview", run_preview, "a contact sheet, class balance, sizes, duplicates and overlaps of splits",
                    "dataset-scripts preview path/to/photos -o sheet.png")  # fmt: skip
    added.add_argument("path", metavar="NAME_OR_PATH")
    added.add_argument("-o", "--out", type=Path, default=Path("preview"),
                       help="sheet.png, report.html, or a folder for both and report.json (default: %(default)s)")  # fmt: skip
    added.add_argument("--name", help="the configuration, where there are several")
    added.add_argument("--data-dir")
    added.add_argument("--rows", type=int, default=6, help="of the sheet")
    added.add_argument("--seed", type=int, default=0, help="which rows are shown")
    added.add_argument("--num-proc", type=int)

    added = command("verify", run_verify, "digests, row counts, class balance and every image of a set",
                    "dataset-scripts verify fashion_mnist --data-dir downloads --num-proc 4")  # fmt: skip
    added.add_argument("path", metavar="NAME_OR_PATH")
    added.add_argument("--name", help="the configuration, where there are several")
    added.add_argument("--data-dir")
    added.add_argument("--num-proc", type=int)
    added.add_argument("--json", action="store_true")
    return parser


def describe(name: str) -> dict[str, Any]:
    """What the declarations of a bundled script say."""
    script = find_script(name)
    if script is None or not script.is_bundled:
        raise DataError(f"{name!r} does not come with the package; `dataset-scripts list` shows what does")
    builder = make_builder(script, None, None, None, None, None, None, None, {})
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
        "card": str(PACKAGE / name / "README.md"),
    }


def run_list(options: argparse.Namespace) -> int:
    described = [describe(name) for name in bundled_names()]
    if options.json:
        print(json.dumps([{key: item[key] for key in ("name", "kind", "description", "rows")} for item in described], indent=2))
        return 0
    for kind, title in (("set", "Sets"), ("layout", "Layouts of your own data")):
        print(f"{title}:")
        for item in described:
            if item["kind"] == kind:
                print(f"  {item['name']:18} {item['description'].splitlines()[0]}")
    return 0


def run_info(options: argparse.Namespace) -> int:
    item = describe(options.name)
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


def run_new(options: argparse.Namespace) -> int:
    script = new_script(options.folder, options.data)
    print(f"wrote {script}, README.md and test_{script.name} beside it. The one line that loads it:\n")
    print(f'    load_dataset("{options.folder}", split="train")')
    return 0


def run_preview(options: argparse.Namespace) -> int:
    loading = {"name": options.name, "data_dir": options.data_dir, "num_proc": options.num_proc}
    for path in preview(options.path, options.out, rows=options.rows, seed=options.seed, **loading):
        print(path)
    return 0


def run_verify(options: argparse.Namespace) -> int:
    report = verify(options.path, options.name, options.data_dir, options.num_proc)
    if options.json:
        print(json.dumps(report, indent=2))
        return 0 if report["ok"] else 1
    for name, state in report["files"].items():
        print(f"{name:40} {state}")
    for split, rows in report["rows"].items():
        expected = "" if rows["published"] is None else f", published {rows['published']:,}"
        print(f"{split:12} {rows['found']:,} rows{expected}")
        counts = report["classes"].get(split)
        if counts:
            least, most = min(counts, key=counts.get), max(counts, key=counts.get)
            print(f"{'':12} {len(counts)} classes of {counts[least]:,} ({least}) to {counts[most]:,} ({most}) rows")
    for line in report["unreadable"]:
        print(line)
    print("everything is as published" if report["ok"] and report["files"] else "sound" if report["ok"] else "not as it should be")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
