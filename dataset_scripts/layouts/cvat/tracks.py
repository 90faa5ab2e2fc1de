"""The tracks of "CVAT for video 1.1": objects over the frames of a video, whose files are frame_000000.PNG and so on."""

import re
from xml.etree.ElementTree import Element, tostring

from dataset_scripts.core.errors import DataError
from dataset_scripts.core.files.listing import stem_of
from dataset_scripts.core.formats.fields import short

FRAME = re.compile(r"frame_(\d{1,9})")


class Frames:
    """Sorts the shapes of tracks by frame, as the <image> elements that CVAT writes for images."""

    def __init__(self):
        self.shapes, self.size, self.count, self.has_tracks = {}, {}, None, False

    def read_meta(self, meta):
        """Notes the size of the frames."""
        size = meta.find(".//original_size")
        if size is not None:
            self.size = {side: (size.findtext(side) or "").strip() for side in ("width", "height")}

    def add(self, track, where):
        """Adds the shapes of a track; where it is outside of the picture, there is none."""
        self.has_tracks = True
        for shape in track:
            frame = shape.get("frame", "")
            if not re.fullmatch(r"\d{1,9}", frame):
                raise DataError(f"{where}, track {short(track.get('id', ''))}: a {shape.tag} has no frame")
            if shape.get("outside") == "1":
                continue
            more = {"label": track.get("label", ""), "track_id": track.get("id", "0")}
            more |= {name: track.attrib[name] for name in ("source", "group_id") if name in track.attrib}
            shape.attrib.update(more)
            self.shapes.setdefault(int(frame), []).append(shape)

    def parts(self, images, where):
        """The images that are frames, each with its element."""
        if not self.has_tracks:
            return
        found = {}
        for image in images:
            if match := FRAME.fullmatch(stem_of(image)):
                if int(match[1]) in found:
                    raise DataError(f"{where}: frame {match[1]} may be {found[int(match[1])]} or {image}: remove one")
                found[int(match[1])] = image
        missing = sorted(self.shapes.keys() - found.keys())
        if missing or not found:
            raise DataError(
                f"{where} holds the tracks of a video, and its frame {missing[0] if missing else 0} is no image here: "
                "export as 'CVAT for images 1.1', with the images"
            )
        for frame, image in sorted(found.items()):
            part = Element("image", {"name": image, **self.size})
            part.extend(self.shapes.get(frame, []))
            yield image, tostring(part)
