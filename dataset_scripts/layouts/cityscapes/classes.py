"""The classes of Cityscapes, as published: https://github.com/mcordts/cityscapesScripts, helpers/labels.py."""

IGNORED = 255
_TABLE = (  # the names by label id, each with its train id
    ("unlabeled", IGNORED),
    ("ego vehicle", IGNORED),
    ("rectification border", IGNORED),
    ("out of roi", IGNORED),
    ("static", IGNORED),
    ("dynamic", IGNORED),
    ("ground", IGNORED),
    ("road", 0),
    ("sidewalk", 1),
    ("parking", IGNORED),
    ("rail track", IGNORED),
    ("building", 2),
    ("wall", 3),
    ("fence", 4),
    ("guard rail", IGNORED),
    ("bridge", IGNORED),
    ("tunnel", IGNORED),
    ("pole", 5),
    ("polegroup", IGNORED),
    ("traffic light", 6),
    ("traffic sign", 7),
    ("vegetation", 8),
    ("terrain", 9),
    ("sky", 10),
    ("person", 11),
    ("rider", 12),
    ("car", 13),
    ("truck", 14),
    ("bus", 15),
    ("caravan", IGNORED),
    ("trailer", IGNORED),
    ("train", 16),
    ("motorcycle", 17),
    ("bicycle", 18),
)
NAMES = [name for name, _ in _TABLE] + ["license plate"]  # the last one has the id -1, and is in polygons alone
TRAIN_IDS = {number: train for number, (_, train) in enumerate(_TABLE)}
TRAIN_NAMES = [name for name, train in _TABLE if train != IGNORED]
