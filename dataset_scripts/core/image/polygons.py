"""Polygons: their area, the part of one inside an image, and circles as polygons."""

import numpy as np

CORNERS = 64  # of a polygon that stands for a circle; its area is 0.16 % smaller


def area_of(points: np.ndarray) -> float:
    """The area of a polygon (N, 2), by the shoelace formula; 0 for fewer than three points."""
    if len(points) < 3:
        return 0.0
    x, y = (points - points.mean(0)).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def circle(centre: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """The polygon (64, 2) of a circle around a centre through a point; it touches the circle's bounding box."""
    angles = np.arange(CORNERS) * (2 * np.pi / CORNERS)
    return centre + np.linalg.norm(edge - centre) * np.stack([np.cos(angles), np.sin(angles)], 1)


def turned(points: np.ndarray, centre: np.ndarray, degrees: float) -> np.ndarray:
    """Points (N, 2) turned around a centre, clockwise as y points down."""
    angle = np.deg2rad(degrees)
    x, y = (points - centre).T
    return centre + np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], 1)


def clip_polygon(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of a polygon (N, 2) in an image of (width, height) `size`; without points if there is none.

    Sutherland and Hodgman, "Reentrant polygon clipping", 1974: cut at one border after the other.
    """
    if (points >= 0).all() and (points <= np.array(size)).all():
        return points
    for axis in (0, 1):
        for border, sign in ((0.0, 1.0), (float(size[axis]), -1.0)):
            if not len(points):
                return points
            inside = sign * (points[:, axis] - border) >= 0
            kept = []
            for place in range(len(points)):
                here, before = points[place], points[place - 1]
                if inside[place] != inside[place - 1]:
                    part = (border - before[axis]) / (here[axis] - before[axis])
                    crossing = before + part * (here - before)
                    crossing[axis] = border
                    kept.append(crossing)
                if inside[place]:
                    kept.append(here)
            points = np.array(kept).reshape(-1, 2)
    return points


def ellipse(centre: np.ndarray, radii: np.ndarray, angle: float = 0.0) -> np.ndarray:
    """The polygon (64, 2) of an ellipse, turned by an angle in radians, from x to y."""
    angles = np.arange(CORNERS) * (2 * np.pi / CORNERS)
    points = radii * np.stack([np.cos(angles), np.sin(angles)], 1)
    cosine, sine = np.cos(angle), np.sin(angle)
    return centre + points @ np.array([[cosine, sine], [-sine, cosine]])


def bezier(points: np.ndarray) -> np.ndarray:
    """The points (9, 2) along a cubic Bézier curve of a start, two control points and an end (4, 2)."""
    t = np.linspace(0, 1, 9)[:, None]
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)
    return weights @ points
