"""Operations on uint8 images, many at once, each with its own strength, in the arithmetic of torchvision.

All take `images`, uint8 (B, C, S, S), grey or RGB, and `values`, float32 (B, 6): the matrix of `warp`; others use only
the first number. They return uint8 of the same shape. Everything is computed sample by sample from integers and
single roundings, so an image comes out the same in any batch.
"""

import torch
import torch.nn.functional as F


def identity(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return images


def warp(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Looks up the nearest pixel; pixels from outside are black."""
    count, channels, size, _ = images.shape
    a, b, c, d, e, f = values[:, :, None, None].unbind(1)
    centres = torch.arange(size, device=images.device) + 0.5
    x, y = centres[None, None, :], centres[None, :, None]
    column, row = (a * x + b * y + c).floor().long(), (d * x + e * y + f).floor().long()
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    source = (row.clamp(0, size - 1) * size + column.clamp(0, size - 1)).view(count, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, source).view_as(images) * inside[:, None]


def blend(images: torch.Tensor, other: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """factor * images + (1 - factor) * other, clipped to uint8."""
    return (images * factor + other * (1 - factor)).clamp_(0, 255).to(torch.uint8)


def factor_of(values: torch.Tensor) -> torch.Tensor:
    return values[:, 0].view(-1, 1, 1, 1)


def grey(images: torch.Tensor) -> torch.Tensor:
    """Luma of ITU-R BT.601 in whole steps, float32 (B, 1, S, S)."""
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = images.float().split(1, dim=1)
    return (red * 0.2989 + green * 0.587 + blue * 0.114).floor_()


def brightness(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return blend(images, images.new_zeros(()), factor_of(values))


def colour(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return images if images.shape[1] == 1 else blend(images, grey(images), factor_of(values))


def contrast(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    luma = grey(images)
    mean = luma.long().sum(dim=(1, 2, 3), keepdim=True) / luma[0].numel()
    return blend(images, mean, factor_of(values))


def sharpness(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Blends each pixel with the mean of 3x3 pixels, in which it counts five times itself; the border stays."""
    wide = images.float()
    rows = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * wide[:, :, 1:-1, 1:-1]
    result = images.clone()
    result[:, :, 1:-1, 1:-1] = blend(images[:, :, 1:-1, 1:-1], (total / 13).round_(), factor_of(values))
    return result


def posterize(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return images & (256 - 2 ** (8 - factor_of(values))).to(torch.uint8)


def solarize(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.where(images >= 255 * factor_of(values), 255 - images, images)


def auto_contrast(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Stretches every channel to 0 … 255."""
    low, high = (images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True))
    stretched = ((images - low).float() / ((high - low).clamp(min=1) / 255)).clamp_(0, 255).to(torch.uint8)
    return torch.where(high > low, stretched, images)


def equalize(images: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Spreads the histogram of every channel as Pillow does: by whole steps that leave the brightest value out."""
    planes = images.flatten(2).flatten(0, 1).long()
    offsets = 256 * torch.arange(len(planes), device=images.device)[:, None]
    histogram = torch.bincount((planes + offsets).flatten(), minlength=256 * len(planes)).view(-1, 256)
    below = F.pad(histogram.cumsum(1)[:, :-1], (1, 0))  # pixels darker than each value
    brightest = planes.amax(1, keepdim=True)
    step = (planes.shape[1] - histogram.gather(1, brightest)) // 255
    spread = ((below + step // 2) // step.clamp(min=1)).clamp_(0, 255)
    return torch.where(step > 0, spread.gather(1, planes), planes).view_as(images).to(torch.uint8)
