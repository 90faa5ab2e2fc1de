"""The gradient of images that weigh differently, against that of the whole batch at once in double precision."""

import json

import pytest
import torch
import torch.nn.functional as F

PADDING = 255


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """A file with a model and images, half of which are mostly padding and one only padding; and its content."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(16, 3, 6, 6, generator=generator)
    masks = torch.randint(0, 4, (16, 6, 6), generator=generator)
    masks[::2, 1:] = PADDING
    masks[4] = PADDING
    torch.manual_seed(1)
    content = {"pixels": pixels, "masks": masks, "model": torch.nn.Conv2d(3, 4, 3, padding=1).state_dict()}
    path = tmp_path_factory.mktemp("batch") / "batch.pt"
    torch.save(content, path)
    return path, content


def whole(content):
    """The gradient of the mean over all pixels that are not padding, however they are spread over images."""
    model = torch.nn.Conv2d(3, 4, 3, padding=1)
    model.load_state_dict(content["model"])
    loss = F.cross_entropy(model.double()(content["pixels"].double()), content["masks"], ignore_index=PADDING)
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]), loss.item()


def test_every_pixel_counts_alike_on_any_number_of_processes(root, run_processes, batch):
    path, content = batch
    expected, loss = whole(content)
    found = {}
    for processes, way in ((1, "4"), (2, "2"), (1, "ordered"), (4, "ordered")):
        said = json.loads(
            run_processes(processes, root / "tests/workers/weighted.py", path, way).stdout.splitlines()[-1]
        )
        found[processes, way] = said["gradient"]
        assert torch.tensor(said["gradient"]).double() == pytest.approx(expected, rel=1e-5, abs=1e-7), (processes, way)
        sums, weights = said["losses"]
        assert weights == (content["masks"] != PADDING).sum() and sums / weights == pytest.approx(loss, rel=1e-6)
    assert found[1, "ordered"] == found[4, "ordered"]
