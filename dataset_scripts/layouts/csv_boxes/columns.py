"""What the columns of a table mean whose rows are boxes or masks."""

from dataclasses import dataclass, field

from dataset_scripts.core.builders.attributes import is_missing
from dataset_scripts.core.files.listing import is_image
from dataset_scripts.core.files.splits import SPLITS
from dataset_scripts.core.formats.fields import short

IMAGES = ("filename", "imagefilename", "filepath", "imagepath", "imagename", "image", "imageid", "path", "img")
IMAGES += ("imgpath", "imgname", "file", "patientid", "name", "id")
CLASSES = ("class", "classname", "label", "labelname", "category", "categoryname", "objectclass", "classid", "labelid")
CLASSES += ("categoryid", "target")
CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"))
CORNERS += (("left", "top", "right", "bottom"), ("bboxxmin", "bboxymin", "bboxxmax", "bboxymax"))
SIZED = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("x1", "y1", "width", "height"))
SIZED += (("left", "top", "width", "height"), ("bboxx", "bboxy", "bboxw", "bboxh"))
SIZES = (("width", "height"), ("imagewidth", "imageheight"), ("imgwidth", "imgheight"))
BOXES = ("bbox", "box", "boundingbox")
CODES = ("encodedpixels", "rle", "rlemask", "maskrle")
JOINED = ("imageidclassid", "imagelabel")  # x.jpg_1: an image and a class
SPLIT_NAMES = ("split", "subset", "set", "partition")
OTHER_FORMATS = ("regionshapeattributes", "isgroupof")  # of VGG Image Annotator and Open Images


@dataclass
class Columns:
    """The places of columns in the rows of a table.

    Attributes:
        count: of all columns.
        image: the name of the image.
        label: the class; None if there is none, or it is joined to the image's name.
        corners: xmin, ymin, xmax, ymax; or x, y, width, height if `is_sized`.
        box: a box as text.
        code: a run-length code.
        size: width and height of the image.
        split: the split.
        more: name -> place of the others.
        is_joined: the class stands behind the name of the image, after `_`.
        has_header: whether the first line names the columns.
    """

    count: int
    image: int
    label: int | None = None
    corners: tuple[int, ...] = ()
    box: int | None = None
    code: int | None = None
    size: tuple[int, ...] = ()
    split: int | None = None
    more: dict[str, int] = field(default_factory=dict)
    is_sized: bool = False
    is_joined: bool = False
    has_header: bool = True

    @classmethod
    def of(cls, first: list[str]) -> "Columns | None":
        """The columns of a table with this first row; None if its rows are not boxes or masks of images."""
        if is_retinanet(first):
            return cls(6, 0, 5, (1, 2, 3, 4), has_header=False)
        places: dict[str, int] = {}
        for place, name in enumerate(first):
            places.setdefault(plain(name), place)
        if any(name in places for name in OTHER_FORMATS):
            return None

        def first_of(*groups: tuple[str, ...]) -> tuple[int, ...]:
            found = next((group for group in groups if all(name in places for name in group)), ())
            return tuple(places[name] for name in found)

        corners = first_of(*CORNERS)
        code, sized = first_of(*((name,) for name in CODES)), first_of(*SIZED)
        box = first_of(*((name,) for name in BOXES))
        image = first_of(*((name,) for name in ((*JOINED, *IMAGES) if code else IMAGES)))
        if not image or not (corners or code or sized or box):
            return None
        if code:
            corners, sized, box = (), (), ()
        found = cls(len(first), image[0], is_sized=not corners and bool(sized))
        found.code = code[0] if code else None
        found.corners = corners or sized
        found.box = box[0] if box and not found.corners else None
        found.is_joined = bool(code) and plain(first[found.image]) in JOINED
        size = first_of(*SIZES)
        found.size = size if not set(size) & set(found.corners) else ()
        label = first_of(*((name,) for name in CLASSES)) if not found.is_joined else ()
        found.label = label[0] if label else None
        split = first_of(*((name,) for name in SPLIT_NAMES))
        found.split = split[0] if split else None
        used = {found.image, found.label, found.box, found.code, found.split, *found.corners, *found.size}
        found.more = {name: place for place, name in enumerate(first) if place not in used and name}
        return found

    def settle(self, first: list[str], header: list[str]) -> None:
        """Takes a column called split as another one, unless the first row of the table has a split there."""
        if self.split is not None and self.split < len(first) and first[self.split].lower() not in SPLITS:
            self.more[header[self.split]] = self.split
            self.split = None

    @property
    def kind(self) -> str:
        return "boxes" if self.code is None else "run-length codes"

    def name_and_label(self, row: list[str]) -> tuple[str, str | None]:
        """The name of the image of a row, and its class, None for none."""
        name = row[self.image] if self.image < len(row) else ""
        if self.is_joined:
            name, _, label = name.rpartition("_")
            return name, label
        return name, None if self.label is None or self.label >= len(row) else row[self.label]

    def fault(self, row: list[str]) -> str | None:
        """What is wrong with a row that does not have the values that it should."""
        return None if len(row) == self.count else f"{len(row)} values, not {self.count}: {short(', '.join(row))}"

    def attributes(self, row: list[str]) -> dict[str, str]:
        """The other columns of an object; none where there is no object."""
        return {name: row[place] for name, place in self.more.items()} if self.place_of(row) else {}

    def place_of(self, row: list[str]) -> list[str] | str:
        """Where the object of a row is: a run-length code, or the four numbers of a box; empty for no object."""
        if self.code is not None:
            return "" if row[self.code] == "-1" or is_missing(row[self.code]) else row[self.code]
        if self.box is not None:
            text = row[self.box].strip("[]() ")
            return [] if is_missing(text) else text.replace(",", " ").split()
        numbers = [row[place] for place in self.corners]
        return [] if all(map(is_missing, numbers)) else numbers


def plain(name: str) -> str:
    """The name of a column in lower case, without what stands between its words."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def is_retinanet(row: list[str]) -> bool:
    """Whether a row is that of Keras-RetinaNet's csv, which has no header: path,x1,y1,x2,y2,class or path,,,,,."""
    if len(row) != 6 or not is_image(row[0]):
        return False
    numbers = row[1:5]
    return not any(row[1:]) or (all(number.replace(".", "", 1).isdecimal() for number in numbers) and bool(row[5]))
