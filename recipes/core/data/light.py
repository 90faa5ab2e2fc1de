"""Turns batches of scenes into the input of a model, with changes of light, on the model's device."""

from collections.abc import Sequence

import torch

from recipes.core.data.draws import LIGHT


class PrepareScenes:
    """Scales pixels as the model expects them, and moves the targets to its device.

    Args:
        mean, std: per channel, of values in 0..1.
        light: how far brightness is shifted, up or down, and contrast changed, both as a share of their range.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device, light: float = 0.0):
        self.mean = torch.tensor(mean, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        self.std = torch.tensor(std, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        self.device, self.light = device, light

    def __call__(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Returns the input, float32 (B, C, S, S), and the targets of the batch."""
        targets = {
            name: tensor.to(self.device, non_blocking=True)
            for name, tensor in batch.items()
            if name not in ("pixels", "draws", "indices", "sizes")
        }
        x = batch["pixels"].to(self.device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
        if self.light:
            draws = 2 * batch["draws"][:, LIGHT].to(self.device) - 1
            shift, contrast = (self.light * draws).view(-1, 2, 1, 1, 1).unbind(1)
            x = ((x - 0.5) * (1 + contrast) + 0.5 + shift).clamp(0, 1)
        return ((x - self.mean) / self.std).contiguous(), targets
