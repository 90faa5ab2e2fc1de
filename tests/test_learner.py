"""Options of a training step have their documented effect, on real steps of one process and of two."""

import json
import math
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from recipes.core.config.tasks import Model
from recipes.core.errors import UserError
from recipes.core.models.models import build_model
from recipes.core.ranks.reduce import sum_once
from recipes.core.run.learner import check_statistics

DIGITS = ["data.path=digits", "model.name=resnet8", "model.width=8", "batch=64"]
PLAIN = ["optim.name=sgd", "optim.momentum=0", "optim.weight_decay=0", "optim.schedule=constant", "optim.lr=0.5"]


@pytest.fixture(scope="module")
def learn(root, run_processes):
    def run(*cases, processes=1):
        arguments = [json.dumps({"steps": 3} | case | {"options": DIGITS + case["options"]}) for case in cases]
        output = run_processes(processes, root / "tests/workers/learner.py", *arguments, timeout=500).stdout
        return json.loads(output.splitlines()[-1])

    return run


def norm(report):
    return math.sqrt(sum(change**2 for change in report["changes"].values()))


def close(report, other, tolerance):
    pairs = [pair for ours, theirs in zip(report["losses"], other["losses"]) for pair in zip(ours, theirs)]
    return len(pairs) == 192 and max(abs(a - b) for a, b in pairs) <= tolerance


@pytest.mark.slow
def test_what_a_step_does_on_one_process_and_on_four(learn, tmp_path):
    torch.save(build_model(Model("resnet8", 8), 1, 10).state_dict(), tmp_path / "weights.pth")
    cases = {
        "plain": PLAIN,
        "accumulate": [*PLAIN, "accumulate=4"],
        "channels_last": [*PLAIN, "channels_last=true"],
        "checkpointing": [*PLAIN, "model.checkpointing=true"],
        "clip": [*PLAIN, "optim.clip=0.02"],
        "clip, accumulate": [*PLAIN, "optim.clip=0.02", "accumulate=4"],
        "clip, exact": [*PLAIN, "optim.clip=0.02", "exact=true"],
        "head": [*PLAIN, "model.train=head", f"model.weights={tmp_path / 'weights.pth'}", "optim.ema=100"],
        "weights": ["optim.class_weights=true", "data.train_split=train[:500]"],
    }
    # Images that go through the model at a time, on one process.
    tested = {"accumulate": 64 // 4, "clip, exact": 64 // 8}
    steps = {"clip": 1, "clip, accumulate": 1, "clip, exact": 1, "weights": 1}
    one, four = (
        dict(
            zip(
                names,
                learn(
                    *(
                        {
                            "options": cases[name],
                            "steps": steps.get(name, 3),
                            "uniform": name == "weights",
                            "test": name in tested,
                        }
                        for name in names
                    ),
                    processes=processes,
                ),
            )
        )
        for processes, names in (
            (1, list(cases)),
            (4, ["plain", "accumulate", "clip, accumulate", "clip, exact", "weights"]),
        )
    )
    for reports in (one, four):
        for name in {"plain", "accumulate", "channels_last", "checkpointing"} & reports.keys():
            assert close(reports[name], one["plain"], 1e-5), name
        # A clipped gradient has this norm, and a step of SGD goes lr times as far.
        for name in {"clip", "clip, accumulate", "clip, exact"} & reports.keys():
            assert norm(reports[name]) == pytest.approx(0.5 * 0.02, rel=1e-4), name
        assert norm(reports["plain"]) > 0.05
        # All classes are equally likely: each loss is log K times the weight of its class, its inverse frequency.
        report = reports["weights"]
        expected = [math.log(10) * 500 / (10 * report["counts"][label]) for label in report["labels"]]
        assert report["losses"][0] == pytest.approx(expected, rel=1e-5)
        assert len(set(report["counts"])) > 3 and sum(report["counts"]) == 500
    moved = {name for name, change in one["head"]["changes"].items() if change}
    assert moved == {"head.weight", "head.bias"}
    assert one["clip, exact"]["weights"] == four["clip, exact"]["weights"]
    # A test takes the memory of training, and with exact=true its numbers have the same bits.
    for name, size in tested.items():
        assert one[name]["sizes"] == {"training": size, "test": size}
        size = size if "exact" in name else size // 4
        assert four[name]["sizes"] == {"training": size, "test": size}
    assert one["clip, exact"]["tested"] == four["clip, exact"]["tested"]
    assert one["accumulate"]["tested"] == pytest.approx(four["accumulate"]["tested"], rel=1e-5)


@pytest.fixture(scope="module")
def plain(learn):
    return learn({"options": PLAIN})[0]


@pytest.mark.slow
def test_ddp_options_change_no_result(learn, plain):
    [report] = learn({"options": [*PLAIN, "ddp.static_graph=true", "ddp.bucket_mb=1"]}, processes=2)
    assert close(report, plain, 1e-5)
    [report] = learn({"options": [*PLAIN, "ddp.find_unused=true", "ddp.compress=bf16", "accumulate=2"]}, processes=2)
    assert close(report, plain, 0.05) and not close(report, plain, 1e-5)  # gradients are rounded on the wire


def test_bf16_computes_in_bf16_and_keeps_weights_in_float32(learn, plain):
    options = [*PLAIN, "precision=bf16"]
    reports = learn({"options": options}, {"options": [*options, "exact=true"]})
    assert not close(reports[0], plain, 1e-4) and close(reports[0], plain, 0.1)
    means = [[sum(losses) / 64 for losses in report["losses"]] for report in (plain, *reports)]
    assert means[1] == pytest.approx(means[0], rel=0.02) and means[2] == pytest.approx(means[0], rel=0.02)
    assert reports[0]["dtypes"] == ["torch.float32"]
    [other] = learn({"options": [*options, "exact=true"]}, processes=2)
    assert other["weights"] == reports[1]["weights"]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="torch.compile needs a C++ compiler"
)
def test_a_compiled_model_learns_the_same(learn, plain):
    [compiled] = learn({"options": [*PLAIN, "compile=true"]})
    assert close(compiled, plain, 1e-4)
    assert compiled["changes"].keys() == plain["changes"].keys()  # names of weights do not change


def test_exact_is_refused_where_it_cannot_hold(learn):
    cases = [
        (["exact=true", "model.name=cifarnet", "data.size=32"], "exact=true cannot hold with the batch statistics of "),
        (
            ["exact=true", "batch=60"],
            "exact=true needs batch=60 to be a multiple of shards=8, and shards to be a multiple of the 1 processes",
        ),
        (["exact=true", "accumulate=2"], "exact=true cuts a batch into shards by itself: leave accumulate=2 out"),
        (["exact=true", "ddp.compress=bf16"], "ddp.compress=bf16 cannot hold with exact=true"),
        (["batch=1", "model.name=cifarnet", "data.size=32"], "takes batch statistics, but one image at a time"),
        (["accumulate=64", "model.name=cifarnet", "data.size=32"], "choose a larger batch, a smaller accumulate"),
        (["compile=true", "model.checkpointing=true", "model.name=cifarnet", "data.size=32"], "leave one out"),
    ]
    *reports, one_image = learn(*({"options": options} for options, _ in cases), {"options": ["batch=1"], "steps": 1})
    for report, (_, message) in zip(reports, cases, strict=True):
        assert message in report["error"]
    assert len(one_image["losses"][0]) == 1  # a model without batch statistics takes one image
    [report] = learn({"options": ["exact=true", "shards=4"]}, processes=3)
    assert "batch=64 does not divide into 3 processes" in report["error"]


def test_one_image_has_no_batch_statistics():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, affine=False))
    with pytest.raises(
        UserError, match="^1 takes batch statistics, but one image at a time goes through the model of a process"
    ):
        check_statistics(model, 1, world=4)
    check_statistics(model, 2, world=1)
    check_statistics(nn.SyncBatchNorm.convert_sync_batchnorm(model), 1, world=2)  # this counts the images of all ranks
    check_statistics(model.eval(), 1, world=1)
    check_statistics(nn.GroupNorm(1, 2), 1, world=1)


def test_sums_over_ranks_do_not_depend_on_the_order():
    values = (np.random.default_rng(0).lognormal(0, 8, 1000)).tolist()
    assert sum(values) != sum(reversed(values)) and sum_once(values) == sum_once(values[::-1]) == float(
        sum(map(Fraction, values))
    )
