"""Examples of files with the shapes of many images."""

import json

from examples import Folder, example, image, turned

JPEGS = {f"imgs/{n}.jpg": turned(n) if n == 2 else image(n, "JPEG") for n in range(3)}  # 8 x 6 pixels


@example("csv_boxes_corners", "csv_boxes")
def csv_boxes_corners() -> Folder:
    head = "filename,width,height,class,xmin,ymin,xmax,ymax,confidence\n"
    rows = "0.jpg,8,6,ant,1,1,5,4,0.5\n0.jpg,8,6,bee,0,0,8,6,1\n1.jpg,8,6,ant,2,2.5,3,4,\n2.jpg,,,,,,,,\n"
    return JPEGS | {"train_labels.csv": (head + rows).encode()}


@example("csv_boxes_retinanet", "csv_boxes")
def csv_boxes_retinanet() -> Folder:
    rows = "/data/imgs/0.jpg,1,1,5,4,ant\nimgs/0.jpg,0,0,3,3,bee\nimgs/1.jpg,,,,,\nimgs/2.jpg,2,2,4,5,bee\n"
    return JPEGS | {"annotations.csv": rows.encode(), "classes.csv": b"bee,0\nant,1\n"}


@example("csv_boxes_text", "csv_boxes")
def csv_boxes_text() -> Folder:
    rows = '0,8,6,"[1.0, 1.0, 4.0, 3.0]",a\n0,8,6,"[0, 0, 8, 6]",b\n1,8,6,"[2, 2, 1, 1.5]",a\n2,,,,a\n'
    return JPEGS | {"train.csv": f"image_id,width,height,bbox,source\n{rows}".encode()}


@example("csv_boxes_runs", "csv_boxes")
def csv_boxes_runs() -> Folder:
    rows = "0.jpg_1,1 3 8 2\n0.jpg_2,20 12\n1.jpg_1,\n1.jpg_2,-1\n2.jpg_1,5 1\n2.jpg_1,47 2\n"
    return JPEGS | {"train.csv": f"ImageId_ClassId,EncodedPixels\n{rows}".encode()}


@example("openimages")
def openimages() -> Folder:
    head = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    rows = [f"{n},xclick,/m/0{k},1,0.1,0.5,0.25,1,0,1,0,-1,0\n" for n in range(4) for k in range(2)]
    return JPEGS | {
        "train-annotations-bbox.csv": (head + "".join(rows)).encode(),
        "class-descriptions-boxable.csv": b"/m/00,Ant\n/m/01,Bee\n",
    }


SHAPES = [
    {"name": "rect", "x": 1, "y": 1, "width": 4, "height": 3},
    {"name": "circle", "cx": 4, "cy": 3, "r": 2.5},
    {"name": "ellipse", "cx": 4, "cy": 3, "rx": 2, "ry": 1, "theta": 0.5},
    {"name": "polygon", "all_points_x": [1, 5, 5], "all_points_y": [1, 1, 4]},
    {"name": "polyline", "all_points_x": [1, 5], "all_points_y": [1, 4]},
    {"name": "point", "cx": 4, "cy": 3},
]


def via(n: int) -> dict:
    regions = [
        {"shape_attributes": shape, "region_attributes": {"type": "ab"[place % 2], "look": {"old": True, "wet": False}}}
        for place, shape in enumerate(SHAPES)
    ]
    return {"filename": f"{n}.jpg", "size": -1, "regions": regions if n else [], "file_attributes": {}}


@example("via_json", "via")
def via_json() -> Folder:
    said = {f"{n}.jpg-1": via(n) for n in range(3)}
    for each in said.values():
        for region in each["regions"]:
            del region["region_attributes"]["look"]
    return JPEGS | {"via_region_data.json": json.dumps(said).encode()}


@example("via_project", "via")
def via_project() -> Folder:
    said = {"_via_settings": {}, "_via_img_metadata": {f"{n}.jpg-1": via(n) for n in range(3)}, "_via_attributes": {}}
    for each in said["_via_img_metadata"].values():
        each["regions"] = {
            str(place): region | {"region_attributes": {"type": "a"}} for place, region in enumerate(each["regions"])
        }
    return JPEGS | {"via_project.json": json.dumps(said).encode()}


@example("via_csv", "via")
def via_csv() -> Folder:
    lines = ["filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    for n in range(3):
        regions = via(n)["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]
        for place, region in enumerate(regions):
            cells = [json.dumps(region["shape_attributes"]), json.dumps({"type": "a"} if n else {})]
            quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
            lines.append(f'{n}.jpg,-1,"{{}}",{len(regions) if n else 0},{place},{quoted}')
    return JPEGS | {"via_region_data.csv": "\n".join(lines).encode()}


@example("via_3", "via")
def via_3() -> Folder:
    kinds = {"1": {"aname": "kind", "type": 4, "options": {"0": "ant", "1": "bee"}}}
    head = "metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata"
    lines = ["# Exported using VGG Image Annotator (x)", f"# ATTRIBUTE = {json.dumps(kinds)}", f"# CSV_HEADER = {head}"]
    for n, numbers in enumerate(("[2,1,1,4,3]", "[7,1,1,5,1,5,4]", "[3,3,3,2]")):
        lines.append(f'"1_{n}","[""{n}.jpg""]",0,"[]","{numbers}","{{""1"":""{n % 2}""}}"')
    return JPEGS | {"via.csv": "\n".join(lines).encode()}


@example("createml")
def createml() -> Folder:
    box = {"x": 3, "y": 3, "width": 4, "height": 3}
    said = [
        {"image": f"{n}.jpg", "annotations": [{"label": name, "coordinates": box} for name in ("ant", "bee")[:n]]}
        for n in range(3)
    ]
    return JPEGS | {"_annotations.createml.json": json.dumps(said).encode()}


def frames() -> list:
    box = {"id": 1, "category": "car", "attributes": {"occluded": True, "trafficLightColor": "none"}}
    box |= {"box2d": {"x1": 1, "y1": 1, "x2": 5, "y2": 4}}
    area = {"id": 2, "category": "area", "attributes": {"areaType": "direct"}}
    area |= {"poly2d": [{"vertices": [[1, 1], [5, 1], [5, 3], [3, 4], [1, 4]], "types": "LLCCC", "closed": True}]}
    lane = {"id": 3, "category": "lane", "poly2d": [{"vertices": [[1, 1], [5, 4]], "types": "LL", "closed": False}]}
    about = {"weather": "clear", "scene": "street", "timeofday": "night"}
    labels = [[box, area, lane], None, [box]]
    return [{"name": f"{n}.jpg", "attributes": about, "labels": each} for n, each in enumerate(labels)]


@example("bdd")
def bdd() -> Folder:
    return JPEGS | {"bdd100k_labels_images_val.json": json.dumps(frames()).encode()}


@example("bdd_scalabel", "bdd")
def bdd_scalabel() -> Folder:
    said = {"frames": [frame | {"size": {"width": 8, "height": 6}} for frame in frames()], "config": {"attributes": []}}
    return JPEGS | {"det_train.json": json.dumps(said).encode()}


@example("mot")
def mot() -> Folder:
    files = {f"train/a/img1/{n:06}.jpg": image(n, "JPEG") for n in range(1, 4)}
    ini = "[Sequence]\nname=a\nimDir=img1\nframeRate=30\nseqLength=3\nimWidth=8\nimHeight=6\nimExt=.jpg\n"
    return files | {
        "test/b/img1/000001.jpg": image(9, "JPEG"),
        "train/a/gt/gt.txt": b"1,1,2,2,4,3,1,1,0.5\n1,2,1,1,8,6,0,8,1\n3,1,2,2,4.5,3,1,14,0\n",
        "train/a/gt/labels.txt": b"".join(b"c%d\n" % number for number in range(1, 15)),
        "train/a/det/det.txt": b"1,-1,2,2,4,3,0.9\n",
        "train/a/seqinfo.ini": ini.encode(),
    }
