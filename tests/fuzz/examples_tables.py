"""Examples of tables and lists that name images."""

import json

from examples import Folder, example, image

ROWS = [("a.png", "cat", 1, 0.5), ("b.png", "dog", 2, -1.25), ("c.png", "cat", 3, 1e9)]
IMAGES = {f"images/{name}": image(number) for number, (name, *_) in enumerate(ROWS)}


def table(separator: str) -> bytes:
    head = separator.join(("file_name", "label", "count", "score"))
    return "".join(f"{line}\n" for line in [head, *(separator.join(map(str, row)) for row in ROWS)]).encode()


@example("csv_list_csv", "csv_list")
def csv_list_csv() -> Folder:
    return IMAGES | {"train.csv": table(",")}


@example("csv_list_tsv", "csv_list")
def csv_list_tsv() -> Folder:
    return IMAGES | {"train.tsv": table("\t")}


@example("csv_list_jsonl", "csv_list")
def csv_list_jsonl() -> Folder:
    rows = [dict(zip(("image", "label", "count", "score"), row)) for row in ROWS]
    return IMAGES | {"train.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()}


@example("csv_list_json", "csv_list")
def csv_list_json() -> Folder:
    rows = [dict(zip(("image", "label", "count", "score"), row)) for row in ROWS]
    return IMAGES | {"train.json": json.dumps(rows).encode()}


@example("csv_list_txt", "csv_list")
def csv_list_txt() -> Folder:
    return IMAGES | {"train.txt": b"images/a.png 0\nimages/b.png 1\n", "val.txt": b"images/c.png 1\n"}


@example("box_lists")
def box_lists() -> Folder:
    lists = {"train.txt": b"images/a.png 1,1,5,4,1 0,2,3,6,0\nimages/b.png\n", "val.txt": b"images/c.png 0,0,8,6,1\n"}
    return IMAGES | lists | {"classes.txt": b"ant\nbee\n"}
