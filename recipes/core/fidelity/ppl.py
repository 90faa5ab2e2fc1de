"""Perceptual Path Length of a generator (Karras et al. 2019), its samples dealt to all processes."""

from typing import Any

import numpy as np
import torch
from torch_fidelity import KEY_METRIC_PPL_MEAN, KEY_METRIC_PPL_RAW, KEY_METRIC_PPL_STD, SampleSimilarityBase
from torch_fidelity.registry import SAMPLE_SIMILARITY_REGISTRY
from torch_fidelity.utils import batch_interp, create_sample_similarity, sample_random
from tqdm import tqdm

from recipes.core.errors import UserError
from recipes.core.fidelity.generators import Generator
from recipes.core.fidelity.options import theirs
from recipes.core.fidelity.ranks import Ranks
from recipes.core.fidelity.weights import PUBLISHED, Weights, given_path, in_hub, obtain


def build_similarity(options: dict[str, Any]) -> tuple[SampleSimilarityBase, dict[str, Weights]]:
    """The distance measure between two images, on the CPU, and the weights that it has read.

    Raises:
        UserError: an unknown name, or missing weights.
    """
    name = options["ppl_sample_similarity"]
    if name not in SAMPLE_SIMILARITY_REGISTRY:
        raise UserError(f"ppl_sample_similarity={name}: choose one of {', '.join(SAMPLE_SIMILARITY_REGISTRY)}")
    needed = ("lpips-vgg16", "vgg16") if name == "lpips-vgg16" else ()  # its heads, and the network that they sit on
    weights = {part: obtain(part, given_path(part, options, only=False)) for part in needed if part in PUBLISHED}
    with in_hub({part: file.path for part, file in weights.items()}):
        similarity = create_sample_similarity(
            name,
            sample_similarity_resize=options["ppl_sample_similarity_resize"],
            sample_similarity_dtype=options["ppl_sample_similarity_dtype"],
            **theirs(options, cuda=False, verbose=False),
        )
    return similarity, weights


def path_lengths(
    generator: Generator, similarity: SampleSimilarityBase, options: dict[str, Any], ranks: Ranks
) -> np.ndarray:
    """The squared perceptual distance over ppl_epsilon² of each sample, (n), on every process.

    Noise and labels are those of torch-fidelity: all start points, all end points, all labels, of one stream.
    """
    model, count, size, epsilon = generator.model, generator.count, options["batch_size"], options["ppl_epsilon"]
    random = np.random.RandomState(generator.seed)
    start = sample_random(random, (count, model.z_size), model.z_type)
    end = sample_random(random, (count, model.z_size), model.z_type)
    end = batch_interp(start, end, epsilon, options["ppl_z_interp_mode"])
    labels = torch.from_numpy(random.randint(0, model.num_classes, (count,))) if model.num_classes else None

    model.to(ranks.device)
    similarity.to(ranks.device)
    mine = {}
    numbers = range(-(-count // size))[ranks.rank :: ranks.world]
    bar = tqdm(numbers, desc="path lengths", unit="batch", leave=False, disable=not (options["verbose"] and ranks.main))
    with (
        torch.no_grad(),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
    ):
        for number in bar:
            part = slice(number * size, (number + 1) * size)
            inputs = [torch.cat((start[part], end[part])).to(ranks.device)]
            if labels is not None:
                inputs.append(torch.cat((labels[part], labels[part])).to(ranks.device))
            before, after = generator.run(*inputs).chunk(2)
            try:
                mine[number] = (similarity(before, after) / epsilon**2).cpu().numpy()
            except ValueError as error:
                raise UserError(
                    f"{similarity.get_name()} does not take the images of the generator: {error}"
                ) from error
    everything = {number: values for part in ranks.gather(mine) for number, values in part.items()}
    return np.concatenate([everything[number] for number in sorted(everything)])


def summary(lengths: np.ndarray, options: dict[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation without the extremes, and with `ppl_reduction="none"` the lengths themselves."""
    lower, higher = options["ppl_discard_percentile_lower"], options["ppl_discard_percentile_higher"]
    kept = np.ones(len(lengths), bool)
    if lower is not None:
        kept &= np.percentile(lengths, lower, method="lower") <= lengths
    if higher is not None:
        kept &= lengths <= np.percentile(lengths, higher, method="higher")
    lengths = lengths[kept]
    result = {KEY_METRIC_PPL_MEAN: float(np.mean(lengths)), KEY_METRIC_PPL_STD: float(np.std(lengths))}
    if options["ppl_reduction"] == "none":
        result[KEY_METRIC_PPL_RAW] = lengths
    return result
