"""What a file of text is about, by its beginning: the annotations of which tool, a table, a list."""

import re

from dataset_scripts.core.files.listing import is_image

Kind = tuple[str, str]  # what the files are called, and the layout that reads them

# What is between (?> and ) is matched in one way alone, and so are ++ and *+: a line that does not fit is left in linear time.
NUMBER = r"(?>-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|-?\.\d+)"
SHARE = r"(?>\d\.\d+e-\d+|0?\.\d+|[01](?:\.\d*)?)"  # of the width or the height, as YOLO writes it
RETINANET = r"[^,]+\.\w+,(?:\d+(?:\.\d*)?,){4}[^,]+|[^,]+\.\w+,{5}"  # Keras-RetinaNet's csv has no header
VIA_3 = re.compile('"?# Exported using VGG Image Annotator')
LINES = (  # of text files: what every line is, what the files are called, and the layout that reads them
    (rf"\d+(?:\s++{SHARE}){{4}}", "YOLO labels", "yolo"),
    (rf"\d+(?:\s++{SHARE}){{6,}}+", "YOLO polygons", "yolo"),
    (rf"(?:{NUMBER}\s++){{8}}[A-Za-z]\S*(?:\s++\d+)?", "DOTA labels", "dota"),
    (rf"[A-Za-z_]+(?:\s++{NUMBER}){{14,15}}", "KITTI labels", "kitti"),
    (rf"\d+, ?-?\d+, ?(?:{NUMBER}, ?){{4}}[01], ?(?:{NUMBER}, ?){{1,2}}{NUMBER}(?:, ?{NUMBER})?", "MOT tracks", "mot"),
    (rf"(?:{NUMBER}\s*+,\s*+){{6,}}+####.*", "polygons of text (CTW1500)", "ocr"),
    (rf"(?:{NUMBER}\s*+,\s*+){{8}}\S.*", "quadrilaterals of text (ICDAR)", "ocr"),
    (rf'(?:{NUMBER}(?:\s*+,\s*+|\s++)){{4}}".*"', "rectangles of text (ICDAR)", "ocr"),
    (rf"[^,]*\.\w++(?:\s++(?:{NUMBER},){{4}}\d++)++", "lists of boxes (keras-yolo3)", "box_lists"),
)
JSON = (  # keys that are there, what the files are called, and the layout that reads them
    ({"shapes", "imagePath"}, "labelme annotations", "labelme"),
    ({"version", "flags", "shapes"}, "labelme annotations", "labelme"),  # one with many points
    ({"images", "annotations", "categories"}, "COCO annotations", "coco"),
    ({"objects", "classTitle"}, "Supervisely annotations", "supervisely"),
    ({"objects", "tags", "size", "height", "width"}, "Supervisely annotations", "supervisely"),  # without objects
    ({"asset", "regions"}, "VoTT annotations", "vott"),
    ({"assets", "videoSettings", "securityToken"}, "VoTT annotations", "vott"),  # an export of many tags
    ({"regions", "shape_attributes"}, "VIA annotations", "via"),
    ({"filename", "regions"}, "VIA annotations", "via"),
    ({"_via_img_metadata"}, "VIA annotations", "via"),
    ({"image", "annotations", "coordinates"}, "CreateML annotations", "createml"),
    ({"imagefilename", "annotation", "coordinates"}, "CreateML annotations", "createml"),
    ({"imgHeight", "imgWidth", "objects"}, "Cityscapes polygons", "cityscapes"),
    ({"name", "labels", "box2d"}, "BDD annotations", "bdd"),
    ({"name", "labels", "poly2d"}, "BDD annotations", "bdd"),
    ({"images", "annotations", "file_name"}, "COCO annotations", "coco"),
)
COLUMNS = (  # of tables: names of columns in lower case, what they are called, and the layout that reads them
    ({"imageid", "labelname", "xmin"}, "Open Images tables", "openimages"),
    ({"xmin", "ymin", "xmax", "ymax"}, "tables of boxes", "csv_boxes"),
    ({"x_min", "y_min", "x_max", "y_max"}, "tables of boxes", "csv_boxes"),
    ({"x1", "y1", "x2", "y2"}, "tables of boxes", "csv_boxes"),
    ({"encodedpixels"}, "tables of run-length codes", "csv_boxes"),
    ({"rle"}, "tables of run-length codes", "csv_boxes"),
    ({"bbox"}, "tables of boxes", "csv_boxes"),
    ({"region_shape_attributes"}, "VIA annotations", "via"),
)


def kind_of(content: bytes, suffix: str) -> Kind | None:
    """What a file looks like, and the layout that reads such files; None for nothing that is known.

    Args:
        content: its first bytes.
        suffix: in lower case.
    """
    text = content.decode("utf-8-sig", "replace")
    if suffix == ".xml":
        if re.search(r"<annotation[\s>]", text):
            return ("xml files like VOC annotations", "voc")
        if re.search(r"<annotations[\s>]", text) and re.search(r"<(image|track|meta)[\s>]", text):
            return ("xml files like CVAT annotations", "cvat")
        if re.search(r"<Annotations>\s*<image\s", text):
            return ("xml files like CTW1500 annotations", "ocr")
        return None
    if suffix in (".json", ".jsonl"):
        keys = set(re.findall(r'"([^"\\]{1,40})"\s*:', text))
        found = next((kind for wanted, *kind in JSON if wanted <= keys), None)
        return (f"json files like {found[0]}", found[1]) if found else None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(content) >= 1 << 14:
        lines = lines[:-1]  # the last one is cut off
    if suffix == ".csv" and lines and VIA_3.match(lines[0]):
        return ("csv files like VIA annotations", "via")
    if suffix in (".csv", ".tsv"):
        columns = {name.strip(" \"'").lower() for name in re.split(r"[,;\t|]", lines[0])} if lines else set()
        found = next((kind for wanted, *kind in COLUMNS if wanted <= columns), None)
        if found is None and lines and all(re.fullmatch(RETINANET, line) for line in lines[:20]):
            found = ["tables of boxes", "csv_boxes"]
        return (f"csv files like {found[0]}", found[1]) if found else None
    lines = [line for line in lines if not re.match(r"(?:imagesource|gsd):", line)]  # as DOTA begins
    lines = [line for line in lines if not is_image(line)]  # of a list, without boxes
    for pattern, name, layout in LINES:
        if lines and all(re.fullmatch(pattern, line) for line in lines[:20]):
            return (f"text files like {name}", layout)
    return None
