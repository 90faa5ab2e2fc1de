"""The report on a dataset as one self-contained html file."""

import base64
import io
import re
from collections.abc import Iterable
from html import escape
from itertools import cycle
from typing import Any

import PIL.Image

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # of splits: Okabe and Ito (2008)
MANY = 40  # classes; of more, the most and the least frequent are shown first
SHOWN = 50  # groups or lines of a list; the json has all
UNEVEN = 10  # times as many rows in the largest class as in the smallest

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; color: #1f2328; background: #fff;
       margin: 0 auto; padding: 32px 24px 64px; max-width: 1332px; }
h1 { font-size: 26px; margin: 0 0 2px; overflow-wrap: anywhere; } h2 { font-size: 19px; margin: 40px 0 10px; }
h3 { font-size: 15px; margin: 20px 0 6px; } p { margin: 6px 0; } .faint { color: #6e7681; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
th, td { padding: 3px 14px 3px 0; text-align: left; border-bottom: 1px solid #eaeef2; vertical-align: middle; }
th { font-weight: 600; border-color: #d0d7de; } td.number { text-align: right; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0; }
.card { border: 1px solid #d8dee4; border-radius: 8px; padding: 8px 18px 10px; min-width: 104px; }
.card b { display: block; font-size: 24px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.finding { border-left: 4px solid #e69f00; background: #fff8e6; padding: 6px 12px; margin: 6px 0; }
.bad { border-color: #d55e00; background: #fdf0e9; } .well { border-color: #009e73; background: #ebf7f3; }
.bar { display: inline-block; height: 11px; border-radius: 2px; vertical-align: baseline; margin-left: 8px; }
.count { display: inline-block; text-align: right; }
.charts { display: flex; flex-wrap: wrap; gap: 28px; } svg { display: block; } svg text { font-size: 12px; fill: #57606a; }
img { max-width: 100%; height: auto; border: 1px solid #eaeef2; border-radius: 8px; }
details { margin: 8px 0; } summary { cursor: pointer; color: #0969da; } code { background: #f6f8fa; padding: 1px 4px; }
"""


def html_page(title: str, numbers: dict[str, Any], sheet: bytes, groups: bytes | None = None) -> str:
    """Writes the page.

    Args:
        title: what the data are.
        numbers: what `census.report` returns.
        sheet: the contact sheet as PNG.
        groups: a PNG of the first groups of duplicates.
    """
    rows = numbers["rows"]
    cards = [(f"{sum(rows.values()):,}", "rows")] if len(rows) > 1 else []
    cards += [(f"{count:,}", f"rows of {split}") for split, count in rows.items()]
    if numbers["classes"]:
        cards.append((f"{len(numbers['classes']['names']):,}", "classes"))
    if numbers["objects"]:
        cards.append((f"{sum(map(sum, numbers['objects']['boxes'].values())):,}", "boxes"))
        cards.append((f"{len(numbers['objects']['categories']):,}", "categories"))
    cards.append((in_bytes(numbers["total_bytes"]), "of encoded images"))
    body = [
        f"<h1>{escape(title)}</h1><p class=faint>a look at the column <code>{escape(numbers['column'])}</code></p>",
        "<div class=cards>",
        *(f"<div class=card><b>{number}</b>{escape(what)}</div>" for number, what in cards),
        "</div>",
        *(f'<div class="finding {kind}">{escape(text)}</div>' for kind, text in findings(numbers)),
        "<h2>Images</h2>",
        _picture(sheet, "a sample of rows"),
        *_classes(numbers),
        *_sizes(numbers),
        *_duplicates(numbers, groups),
        *_unreadable(numbers),
    ]
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    lines = [
        "<!doctype html>",
        "<html lang=en>",
        f"<head>{head}<style>{STYLE}</style></head>",
        "<body>",
        *body,
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def findings(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    """What to know before training: (kind, sentence), the kind "bad", "" or "well"."""
    found = []
    if numbers["unreadable"]:
        found.append(("bad", f"{_many(len(numbers['unreadable']), 'image')} cannot be read."))
    for kind, how in (("exact", "equal"), ("near", "nearly equal")):
        groups = numbers["overlaps"][kind]
        if groups:
            splits = ", ".join(split for split in numbers["rows"] if any(split in group for group in groups))
            shared = f"Several splits ({splits}) share {how} images ({_many(len(groups), 'group')})"
            found.append(("bad", f"{shared}: scores on them are too good."))
    if numbers["conflicts"]:
        found.append(("bad", f"Equal images have different labels: {_many(len(numbers['conflicts']), 'group')}."))
    copies = sum(sum(map(len, group.values())) - 1 for group in numbers["duplicates"]["exact"])
    if copies:
        found.append(
            ("", f"Equal images are in several rows: {_many(copies, 'row')} more than there are different images.")
        )
    for what, key, names in (("rows", "counts", "names"), ("boxes", "boxes", "categories")):
        table = numbers["classes" if what == "rows" else "objects"]
        for split, counts in (table[key] if table else {}).items():
            empty = [name for name, count in zip(table[names], counts) if not count]
            if empty and numbers["rows"][split]:
                found.append(("", f"{split} has no {what} of {', '.join(empty[:5])}{' …' if len(empty) > 5 else ''}."))
            least, most = min((count for count in counts if count), default=0), max(counts, default=0)
            if most >= UNEVEN * least > 0:
                found.append(
                    ("", f"{split} is uneven: {most:,} {what} of the largest class, {least:,} of the smallest.")
                )
        for split, count in (table["unlabelled"] if table else {}).items():
            if count:
                found.append(("", f"{split} has {count:,} {what} without a class."))
    if len(numbers["modes"]) > 1:
        found.append(("", f"Images differ in their channels: {', '.join(numbers['modes'])}."))
    return found or [
        ("well", "Nothing stands out: every image can be read, none occurs twice, all have the same channels.")
    ]


def _classes(numbers: dict[str, Any]) -> Iterable[str]:
    classes, objects = numbers["classes"], numbers["objects"]
    if classes:
        yield f"<h2>Classes: <code>{escape(classes['column'])}</code></h2>"
        yield _balance("class", classes["names"], classes["counts"], classes["unlabelled"])
    if objects:
        yield "<h2>Objects</h2>"
        bare = objects["images_without"]
        without = ", ".join(f"{count:,} of {numbers['rows'][split]:,} in {split}" for split, count in bare.items())
        yield f"<p>Images without objects: {escape(without)}.</p>"
        yield _balance("category", objects["categories"], objects["boxes"], objects["unlabelled"])


def _balance(what: str, names: list[str], counts: dict[str, list[int]], unlabelled: dict[str, int]) -> str:
    lines = [(name, [counts[split][place] for split in counts]) for place, name in enumerate(names)]
    most = [max([1, *values]) for values in counts.values()]
    digits = len(f"{max(most):,}")
    if any(unlabelled.values()):
        lines.append(("(none)", list(unlabelled.values())))

    def cell(count: int, top: int, colour: str) -> str:
        length = max(count > 0, round(180 * min(1, count / top)))
        bar = f'<span class=bar style="width:{length}px;background:{colour}"></span>'
        return f'<span class=count style="width:{digits}ch">{count:,}</span>{bar}'

    def table(shown: list) -> str:
        return _table(
            [what, *counts], [[escape(name), *map(cell, values, most, cycle(COLOURS))] for name, values in shown]
        )

    if len(lines) <= MANY:
        return table(lines)
    ordered = sorted(lines, key=lambda line: -sum(line[1]))
    return (
        f"<h3>The most frequent of {len(names):,}</h3>{table(ordered[: MANY // 4])}<h3>The least frequent</h3>"
        f"{table(ordered[-MANY // 4 :])}<details><summary>all {len(names):,}</summary>{table(lines)}</details>"
    )


def _sizes(numbers: dict[str, Any]) -> Iterable[str]:
    yield "<h2>Sizes</h2>"
    shown = (
        ("width", "width, pixels", "{:,.0f}"),
        ("height", "height, pixels", "{:,.0f}"),
        ("aspect", "width / height", "{:.2f}"),
        ("bytes", "size of a file, bytes", "{:,.0f}"),
    )
    known = [(title, form, numbers[key]) for key, title, form in shown if numbers[key]["min"] is not None]
    yield _table(
        ["", "least", "median", "greatest"],
        [[title, *(form.format(values[key]) for key in ("min", "median", "max"))] for title, form, values in known],
    )
    charts = [_histogram(title, form, values) for title, form, values in known if values["min"] < values["max"]]
    yield f"<div class=charts>{''.join(charts)}</div>"
    splits, tables = list(numbers["rows"]), []
    for key, what in (("modes", "mode"), ("sizes", "width x height")):
        lines = [
            [escape(name), *(f"{counts.get(split, 0):,}" for split in splits)] for name, counts in numbers[key].items()
        ]
        if key == "sizes" and numbers["different_sizes"] > 10:
            title, lines = f"The most frequent of {numbers['different_sizes']:,} sizes", lines[:10]
        else:
            title = "Every size" if key == "sizes" else "Modes, as Pillow calls them"
        tables.append(f"<div><h3>{title}</h3>{_table([what, *splits], lines)}</div>")
    yield f"<div class=charts>{''.join(tables)}</div>"


def _histogram(title: str, form: str, values: dict[str, Any], width: int = 290, height: int = 120) -> str:
    edges, counts = values["edges"], values["counts"]
    step, top = width / len(counts), max(counts)
    bars = "".join(
        f'<rect x="{place * step + 0.5:.1f}" y="{18 + height - height * count / top:.1f}" width="{step - 1:.1f}" '
        f'height="{height * count / top:.1f}" fill="{COLOURS[0]}"><title>{form.format(edges[place])} … '
        f"{form.format(edges[place + 1])}: {count:,}</title></rect>"
        for place, count in enumerate(counts)
        if count
    )
    base = 18 + height
    return (
        f'<div><h3>{title}</h3><svg width="{width}" height="{base + 20}" role="img" aria-label="histogram of {title}">'
        f'<line x1="0" x2="{width}" y1="18" y2="18" stroke="#eaeef2"/><text x="0" y="13">{top:,} images</text>{bars}'
        f'<line x1="0" x2="{width}" y1="{base}" y2="{base}" stroke="#8c959f"/>'
        f'<text x="0" y="{base + 15}">{form.format(edges[0])}</text>'
        f'<text x="{width}" y="{base + 15}" text-anchor="end">{form.format(edges[-1])}</text></svg></div>'
    )


def _duplicates(numbers: dict[str, Any], groups: bytes | None) -> Iterable[str]:
    yield "<h2>Duplicates</h2>"
    duplicates, overlaps = numbers["duplicates"], numbers["overlaps"]
    yield _table(
        ["", "groups", "of these between splits"],
        [
            [what, f"{len(duplicates[kind]):,}", f"{len(overlaps[kind]):,}"]
            for kind, what in (
                ("exact", "equal mode, size and pixels"),
                ("near", f"alike: hashes of 64 bits that differ in at most {duplicates['distance']}"),
            )
        ],
    )
    if groups:
        yield f"<h3>The first groups</h3>{_picture(groups, 'groups of duplicates')}"
    lists = (
        ("Equal images in several splits", overlaps["exact"]),
        ("Alike images in several splits", overlaps["near"]),
        ("Equal images of different classes", numbers["conflicts"]),
        ("Equal images", duplicates["exact"]),
        ("Alike images", duplicates["near"]),
    )
    for title, found in lists:
        if found:
            texts = ["; ".join(f"{split} {_numbers(rows)}" for split, rows in group.items()) for group in found[:SHOWN]]
            lines = [[escape(text)] for text in texts]
            more = f", the first {SHOWN}; report.json has all" if len(found) > SHOWN else ""
            yield f"<details><summary>{title}: {_many(len(found), 'group')}{more}</summary>{_table(['rows'], lines)}</details>"


def _unreadable(numbers: dict[str, Any]) -> Iterable[str]:
    found = numbers["unreadable"]
    if found:
        first = f", the first {SHOWN} are" if len(found) > SHOWN else ""
        yield f"<h2>Unreadable images</h2><p>{_many(len(found), 'image')}{first}:</p>"
        lines = [[escape(item["split"]), str(item["row"]), escape(item["error"])] for item in found[:SHOWN]]
        yield _table(["split", "row", "error"], lines)


def _table(head: list[str], lines: list[list[str]]) -> str:
    def cells(line: list[str]) -> str:
        kinds = (" class=number" if place and re.fullmatch(r"[\d,.]+", cell) else "" for place, cell in enumerate(line))
        return "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, line))

    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<div class=wide><table><tr>{top}</tr>{''.join(f'<tr>{cells(line)}</tr>' for line in lines)}</table></div>"


def _picture(png: bytes, what: str) -> str:
    width, height = PIL.Image.open(io.BytesIO(png)).size
    return f'<img alt="{what}" width="{width}" height="{height}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _numbers(rows: list[int]) -> str:
    return ", ".join(map(str, rows[:20])) + (f" and {len(rows) - 20:,} more" if len(rows) > 20 else "")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def in_bytes(count: float) -> str:
    """1_234_567 as "1.2 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
