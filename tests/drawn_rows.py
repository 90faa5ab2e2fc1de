"""What the tests of layouts of shapes compare."""


def objects(rows):
    """image_id -> the column `objects`, with the names of the categories."""
    names = rows.features["objects"]["category"].feature
    return {
        row["image_id"]: row["objects"] | {"category": names.int2str(row["objects"]["category"])}
        for row in rows.remove_columns("image").with_format(None)
    }
