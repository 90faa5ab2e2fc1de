"""Features of an input, computed by all processes."""

import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch_fidelity import FeatureExtractorBase
from tqdm import tqdm

from dataset_scripts.core.files.system import usable_cores
from recipes.core.fidelity import extractors
from recipes.core.fidelity.inputs import Drawn, Images
from recipes.core.fidelity.ranks import Ranks
from recipes.core.fidelity.store import Store, default_root, temporary

FLUSH_SECONDS = 10  # a killed run loses no more than this
RULES = 1  # version of this code for reading and extracting: raised when a change to it changes features
PACKAGES = ("torch", "torchvision", "torch-fidelity", "numpy", "pillow", "datasets")


def versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def features_of(
    source: Images | Drawn, extractor: FeatureExtractorBase, options: dict[str, Any], ranks: Ranks, what: str
) -> tuple[dict[str, torch.Tensor] | None, dict[str, Any]]:
    """Features of all images by layer, (n, d), in their order; from the cache if it has them.

    Batches hold the same images on any number of processes and go through the extractor whole, dealt out in turn, so
    the features are those that a single process computes, bit for bit.

    Returns:
        The features on the main process, None on the others; and a record for the report.
    """
    size = min(options["batch_size"], source.count)
    batches = -(-source.count // size)
    identity = ranks.share(lambda: source.identity)
    code = ranks.same(extractors.identity(extractor), f"weights or code of {extractor.get_name()}")
    ranks.same(source.count, f"the number of images of {what}")
    if isinstance(source, Drawn):
        ranks.same(extractors.hash_of(source.generator.model), f"weights of {what}")
    key = None
    if options["cache"] and identity is not None and code is not None:
        key = {
            "rules": RULES,
            "input": identity,
            "count": source.count,
            "batch_size": size,
            "extractor": extractor.get_name(),
            "code": code,
            "layers": sorted(extractor.get_requested_features_list()),
            "dtype": options["feature_extractor_internal_dtype"],
            "compile": options["feature_extractor_compile"],
            "device": ranks.device.type,
            "versions": versions(),
        }
    root = Path(options["cache_root"] or default_root()).expanduser()
    folder = None if key else ranks.share(lambda: temporary(root))
    store = Store(root, key, folder)
    record = {"images": source.count, "cache": str(store.folder) if key else None, "from_cache": True}
    try:
        if ranks.share(lambda: store.complete):
            return ranks.on_main(store.read), record
        done = ranks.share(store.batches)
        mine = [number for number in range(batches) if number not in done][ranks.rank :: ranks.world]
        record |= {"from_cache": False, "batches_from_cache": len(done)}
        _compute(source, extractor.to(ranks.device), mine, size, store, options, ranks, what)
        ranks.wait()
        return ranks.on_main(lambda: store.merge(batches, source.count)), record
    finally:
        if folder is not None and ranks.main:
            store.remove()


def _compute(
    source: Images | Drawn,
    extractor: FeatureExtractorBase,
    numbers: list[int],
    size: int,
    store: Store,
    options: dict[str, Any],
    ranks: Ranks,
    what: str,
) -> None:
    """Computes the features of some batches, and writes them to disk from time to time."""
    if not numbers:
        return
    workers = options["workers"]
    if workers is None:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        workers = 0 if options["save_cpu_ram"] else max(1, min(4, usable_cores() // local))
    fresh, flushed = {}, time.monotonic()
    bar = tqdm(
        total=len(numbers),
        desc=f"features of {what}",
        unit="batch",
        leave=False,
        disable=not (options["verbose"] and ranks.main),
    )
    # TF32 would make features differ between GPUs, and nondeterministic kernels between runs.
    with bar, torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        for number, batch in zip(numbers, source.batches(numbers, size, workers, ranks.device), strict=True):
            fresh[number] = extractors.run(extractor, batch)
            bar.update()
            if time.monotonic() - flushed > FLUSH_SECONDS:
                store.write(fresh)
                fresh, flushed = {}, time.monotonic()
    store.write(fresh)
