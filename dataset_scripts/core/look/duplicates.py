"""Images that are the same, or nearly so: fingerprints, and groups of them among any number of images."""

import hashlib
from itertools import combinations, count

import numpy as np
import PIL.Image

from dataset_scripts.core.look.drawing import to_rgb

DISTANCE = 6  # bits of 64 in which the hashes of near duplicates may differ
LIKENESS = 0.985  # correlation of the brightness of near duplicates, 16 x 16
ROUNDING = 1.0  # grey levels (root of the mean square) that do not count as a difference, however faint the images
FLAT = 1.0  # grey levels; an image that varies less has nothing to be compared by
NEXT = 128  # neighbours that a hash is compared with among those that share bands
SIDE, KEPT = 32, 8
THUMBNAIL = 256  # bytes

_DCT = np.cos(np.pi / SIDE * (np.arange(SIDE) + 0.5) * np.arange(KEPT)[:, None])  # DCT-II, its lowest frequencies


def digest(image: PIL.Image.Image) -> bytes:
    """The sha256 of mode, size, palette and pixels: the same for images that are equal however they are stored."""
    palette = image.getpalette("RGB") if image.mode in ("P", "PA") else None
    state = hashlib.sha256(f"{image.mode} {image.size} {palette}\n".encode())
    state.update(image.tobytes())
    return state.digest()


def perceptual_hash(image: PIL.Image.Image) -> tuple[int, bytes]:
    """A hash that changes by only a few bits when an image is compressed, resized or made brighter.

    It holds the signs of the 8 x 8 lowest frequencies of the cosine transform of the grey image, 32 x 32, against
    their median, the mean brightness left out: "pHash" of Zauner, "Implementation and Benchmarking of Perceptual
    Image Hash Functions" (2010).

    Returns:
        The hash, 64 bits, and the grey image, 16 x 16 bytes, with which `near_groups` confirms what the hash suggests;
        for an image of a single tone, which resembles any other, 0 and no bytes.
    """
    grey = to_rgb(image).convert("L").resize((SIDE, SIDE), PIL.Image.Resampling.LANCZOS)
    values = np.asarray(grey, np.float64)
    if values.std() < FLAT:
        return 0, b""
    waves = np.round(_DCT @ values @ _DCT.T, 3).ravel()  # rounded: what should be 0 is, and has no sign
    bits = waves > np.median(waves[1:])
    bits[0] = False
    small = values.reshape(SIDE // 2, 2, SIDE // 2, 2).mean((1, 3))
    return int.from_bytes(np.packbits(bits).tobytes()), np.round(small).astype(np.uint8).tobytes()


def near_groups(hashes: np.ndarray, thumbnails: np.ndarray, distance: int = DISTANCE) -> np.ndarray:
    """Groups images whose hashes differ in at most `distance` bits and whose thumbnails are similar.

    Hashes are cut into `distance` + 2 bands. Two that differ in at most `distance` bits agree in at least two bands, so
    only those that share a pair of bands are compared: multi-index hashing of Norouzi, Punjani and Fleet, "Fast
    Search in Hamming Space with Multi-Index Hashing" (2012). Time and memory grow with the number of images, not with
    its square; if more than 128 hashes share a pair of bands, each is compared with the next 128 in their order.

    Args:
        hashes: (N,) uint64.
        thumbnails: (N, THUMBNAIL) uint8.

    Returns:
        (N,) int64: the group of each image, identified by the index of its first image.
    """
    label = np.arange(len(hashes))
    order = np.argsort(hashes, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(hashes[order]) > 0)) if len(order) else order
    first = order[starts]  # the first image of each hash: those of equal hash need no search
    equal = np.repeat(first, np.diff(np.append(starts, len(order))))
    _join(label, equal, order, thumbnails)
    unique = hashes[first]
    edges = np.linspace(0, 64, distance + 3).round().astype(int)
    bands = [unique >> np.uint64(low) & np.uint64((1 << int(high - low)) - 1) for low, high in zip(edges, edges[1:])]
    for one, other in combinations(range(len(bands)), 2):
        key = bands[one] << np.uint64(32) | bands[other]
        order = np.lexsort((unique, key))
        key, left = key[order], np.arange(len(order))
        for step in count(1):
            left = left[left < len(order) - step]
            # In sorted order, hashes that are further apart share a key only if these do.
            left = left[key[left] == key[left + step]]
            if not len(left) or step > NEXT:
                break
            a, b = order[left], order[left + step]
            near = np.bitwise_count(unique[a] ^ unique[b]) <= distance
            _join(label, first[a[near]], first[b[near]], thumbnails)
    return label


def _join(label: np.ndarray, one: np.ndarray, other: np.ndarray, thumbnails: np.ndarray) -> None:
    """Joins the groups of pairs whose thumbnails are similar; every label stays the least index of its group."""
    apart = label[one] != label[other]
    one, other = one[apart], other[apart]
    alike = np.zeros(len(one), bool)
    for start in range(0, len(one), 4096):
        a, b = (thumbnails[pairs[start : start + 4096]].astype(np.float32) for pairs in (one, other))
        a -= a.mean(1, keepdims=True)
        b -= b.mean(1, keepdims=True)
        correlated = (a * b).sum(1) >= LIKENESS * np.sqrt((a * a).sum(1) * (b * b).sum(1))
        alike[start : start + 4096] = correlated | (((a - b) ** 2).mean(1) <= ROUNDING**2)
    one, other = one[alike], other[alike]
    while (label[one] != label[other]).any():
        low = np.minimum(label[one], label[other])
        np.minimum.at(label, label[one], low)
        np.minimum.at(label, label[other], low)
        while (label != label[label]).any():
            label[:] = label[label]
