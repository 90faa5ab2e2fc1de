"""Measures generated images against real ones: ISC, FID, KID, precision and recall, PPL; on one process or many.

    accelerate launch recipes/fidelity.py --isc --fid --kid --prc --input1 path/to/samples --input2 cifar10-train
    accelerate launch recipes/fidelity.py --fid --input1 samples/ --input2 statistics.npz
    accelerate launch --config_file accelerate_configs/cpu_2.yaml recipes/fidelity.py --isc --fid --kid --prc --ppl \\
        --input1 generator.pth --input1-model-z-size 128 --input1-model-num-samples 50000 --input2 cifar10-train

Options, values and formulas are torch-fidelity's: any number of processes gives, bit for bit, what torch-fidelity
computes on one. Features are cached, keyed by everything that they depend on, and a run that was stopped resumes from
there. From Python: `fidelity.calculate_metrics(input1=…, input2=…, fid=True)`.
"""

from recipes.core.ranks import signals

if __name__ == "__main__":
    signals.listen()  # before the imports below, which take seconds

import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataset_scripts.core.errors import printable
from dataset_scripts.core.files.disk import writing
from dataset_scripts.core.files.system import until_nobody_reads
from recipes.core.errors import UserError
from recipes.core.fidelity import extractors, metrics, ppl, report, uncertainty
from recipes.core.fidelity.extraction import features_of
from recipes.core.fidelity.inputs import Drawn, Input, resolve
from recipes.core.fidelity.options import complete, parse
from recipes.core.fidelity.precomputed import Precomputed
from recipes.core.fidelity.ranks import Ranks, ranks_of
from recipes.core.fidelity.weights import PUBLISHED, Weights, given_path, obtain
from recipes.core.ranks.runtime import finish, one_line_errors, quiet_other_ranks, start


@dataclass
class Result:
    """The results of a run. On the main process only, except for `metrics`.

    Attributes:
        metrics: by torch-fidelity's keys, and those of the uncertainty.
        details: what the numbers were computed from, for the report.
        inputs: by slot.
        features: (n1, d) and (n2, d) of the first metric that compares two inputs, for the pictures; or empty.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    inputs: dict[int, Input] = field(default_factory=dict)
    features: tuple = ()


def calculate_metrics(**options: Any) -> dict[str, Any]:
    """Computes the requested metrics on all processes, as `torch_fidelity.calculate_metrics` does.

    Call it on every process of an `accelerate` launch, or on the only one; all get the same values.

    Args:
        options: torch-fidelity's, by its names and with its defaults, among them `isc`, `fid`, `kid`, `prc`, `ppl`,
            `batch_size`, `feature_extractor`, `cache_root`, `verbose`; those that differ or are new follow.
        input1, input2: also anything that `load_dataset` takes (with `input1_name`, `input1_split`, `input1_column`),
            a `datasets.Dataset`, features or statistics (.safetensors, .npz), and a module with
            `input1_model_z_size`. `input1` is the generated side.
        samples_find_ext: by default all formats of Pillow.
        prc_batch_size: rows and columns of distances computed at once, 1000.
        input1_cache_name: only needed to keep the features of a torch Dataset, whose pixels are then hashed.
        weights: name of an extractor, or lpips-vgg16, -> path of its weights. New.
        resize: scale every image to a square of this many pixels; 0 for none. New.
        workers: processes that read images, for each process that computes; None: by the number of cores. New.
        uncertainty: also return `n1`, `n2`, `d`, the standard error and the bias-corrected value of FID, and the
            exact KID with its standard error. New.

    Returns:
        torch-fidelity's keys with their values.

    Raises:
        UserError: an unknown option, a missing one, or invalid weights or inputs.
        DataError: an image that cannot be read; it is named.
    """
    checked = complete(options)
    with ranks_of(checked["cuda"]) as ranks:
        return evaluate(checked, ranks).metrics


def evaluate(options: dict[str, Any], ranks: Ranks) -> Result:
    """Like `calculate_metrics`, but returns also what the report needs."""
    result = Result()
    plan = extractors.plan(options)
    binary = any(metric != "isc" for layers in plan.values() for metric in layers)
    result.inputs = {
        slot: ranks.first_of_machine(lambda slot=slot: resolve(slot, options)) for slot in ((1, 2) if binary else (1,))
    }
    if options["ppl"] and not isinstance(result.inputs[1], Drawn):
        raise UserError(
            "ppl needs a generator as input1: a run of generate.py, a .pth of TorchScript, an .onnx, or a module"
        )
    if ranks.device.type == "mps" and options["feature_extractor_internal_dtype"] == "float64":
        raise UserError("feature_extractor_internal_dtype=float64: the GPU of a Mac has none, compute on the CPU")
    result.details = {"processes": ranks.world, "device": str(ranks.device), "extractors": {}, "inputs": {}}
    for name, layers in plan.items():
        _by_extractor(name, layers, options, ranks, result)
    if options["ppl"]:
        similarity, used = ranks.first_of_machine(lambda: ppl.build_similarity(options))
        result.details["similarity"] = {part: describe(file) for part, file in used.items()}
        lengths = ppl.path_lengths(result.inputs[1].generator, similarity, options, ranks)
        result.metrics |= ppl.summary(lengths, options)
    return result


def describe(weights: Weights) -> dict[str, Any]:
    return {"path": str(weights.path), "sha256": weights.sha256, "official": weights.official}


def _by_extractor(name: str, layers: dict[str, str], options: dict[str, Any], ranks: Ranks, result: Result) -> None:
    """Adds the metrics that are computed from the features of one extractor."""
    only = len(extractors.plan(options)) == 1
    slots = (1,) if list(layers) == ["isc"] else (1, 2)
    extractor, features = None, {}
    for slot in slots:
        source = result.inputs[slot]
        if isinstance(source, Precomputed):
            found, record = source, {"file": str(source.path)}
        else:
            if extractor is None:
                extractor = ranks.first_of_machine(lambda: _build(name, layers, options, only, result))
            found, record = features_of(source, extractor, options, ranks, f"input{slot}")
        features[slot] = metrics.Features(f"input{slot}", found)
        result.details["inputs"].setdefault(f"input{slot}", {"is": str(options[f"input{slot}"])[:200]})[name] = record
    values, shown = ranks.on_main(lambda: _measure(layers, features, options)) or (None, ())
    result.metrics |= ranks.share(lambda: values)
    result.features = result.features or shown


def _build(name: str, layers: dict[str, str], options: dict[str, Any], only: bool, result: Result) -> Any:
    given = given_path(name, options, only)
    if not only and options["feature_extractor_weights_path"] is not None:
        raise UserError("feature_extractor_weights_path serves one extractor, but there are two: use weights, by name")
    if name not in PUBLISHED:
        return extractors.build(name, sorted(set(layers.values())), options, None)
    weights = obtain(name, given)
    if weights.official is False:
        warnings.warn(
            f"{weights.path} are not the published weights of {name}: the values compare with no others", stacklevel=2
        )
    result.details["extractors"][name] = describe(weights)
    return extractors.build(name, sorted(set(layers.values())), options, weights)


def _measure(
    layers: dict[str, str], features: dict[int, metrics.Features], options: dict[str, Any]
) -> tuple[dict[str, float], tuple]:
    """Return the values, and the features that were compared first."""
    values, shown = {}, ()
    first, second = features[1], features.get(2)
    for metric, layer in layers.items():
        if metric == "isc":
            values |= metrics.isc(first, layer, options)
        elif metric == "fid":
            values |= metrics.fid(first, second, layer)
        elif metric == "kid":
            values |= metrics.kid(first, second, layer, options)
        else:
            values |= metrics.prc(first, second, layer, options)
        if metric in ("fid", "kid"):
            values |= _sure(metric, layer, first, second, options)
        if metric != "isc" and not shown and all(has_features(side) for side in (first, second)):
            shown = metrics.same_width(first, second, layer, metric)
    return values, shown


def has_features(side: metrics.Features) -> bool:
    return not isinstance(side.source, Precomputed) or side.source.statistics() is None


def _sure(
    metric: str, layer: str, first: metrics.Features, second: metrics.Features, options: dict[str, Any]
) -> dict[str, float]:
    """Return counts and standard errors, and warn of too few images."""
    if not (has_features(first) and has_features(second)):
        return {}
    one, two = metrics.same_width(first, second, layer, metric)
    dimensions, fewest = one.shape[1], min(len(one), len(two))
    if metric == "fid" and fewest <= dimensions:
        warnings.warn(
            f"{fewest} images and {dimensions} dimensions: the Fréchet distance is mostly bias, take more images than "
            "dimensions, or KID",
            stacklevel=2,
        )
    if not options["uncertainty"]:
        return {}
    counts = {"n1": len(one), "n2": len(two), "d": dimensions}
    measure = uncertainty.frechet if metric == "fid" else uncertainty.exact_kid
    return counts | measure(one, two, options)


def make_folder(out: str | None) -> Path:
    with writing(out or "runs"):
        return report.make_folder(out)


def write(folder: Path, result: Result, options: dict[str, Any]) -> None:
    with writing(folder):
        report.write(folder, result.metrics, result.details, options, result.inputs, result.features)


def main() -> None:
    with one_line_errors("fidelity.py"):
        with until_nobody_reads():
            given, own = parse(sys.argv[1:], __doc__)
        options = complete(given)
        accelerator = start(own.cpu, "no", None, own.threads)
        warnings.showwarning = lambda message, *where: print(f"fidelity.py: {message}", file=sys.stderr)
        quiet_other_ranks()
        with ranks_of(options["cuda"]) as ranks:
            folder = ranks.share(lambda: make_folder(own.out))
            result = evaluate(options, ranks)
            ranks.on_main(lambda: write(folder, result, options))
            if ranks.main:
                print(
                    report.as_json(result.metrics)
                    if own.json
                    else f"{report.table(result.metrics)}\n\n{printable(folder)}"
                )
        finish(accelerator)


if __name__ == "__main__":
    main()
