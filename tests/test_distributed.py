"""What several processes compute equals what one computes."""

import functools
import json

import numpy as np
import pytest
from torch.utils.data import BatchSampler

from recipes.core.ranks.random_numbers import derive, permutation, uniform
from recipes.core.ranks.sampler import StreamSampler

COUNTS = [1, 2, 3, 4, 5, 7, 9, 31]  # N < P, P - 1, P, 2P + 1 for P = 2, 3 and 4 among them


@pytest.fixture(scope="module")
def reports(root, run_processes):
    """The reports of `workers/collectives.py` on this many processes; it runs once for each number."""

    @functools.cache
    def report(processes):
        output = run_processes(processes, root / "tests/workers/collectives.py", json.dumps(COUNTS)).stdout
        return json.loads(output.splitlines()[-1])

    return report


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_every_world_size_gives_the_same(reports, processes):
    one_process, report = reports(1), reports(processes)
    assert report["seed"] == one_process["seed"]
    assert report["stream"] == one_process["stream"]
    for count in COUNTS:
        loss, accuracy, total, confusion, mistakes = report[f"evaluate {count}"]
        expected = one_process[f"evaluate {count}"]
        assert loss == pytest.approx(expected[0], rel=1e-12)
        assert [accuracy, total, confusion, mistakes] == expected[1:]
        assert total == count == sum(map(sum, confusion))


def read(world, batch, start=0, stop=None, size=10, seed=5):
    """The global batches that `world` ranks read together, as index sets in order."""
    ranks = [
        list(BatchSampler(StreamSampler(range(size), world, rank, seed, start, stop), batch // world, drop_last=False))
        for rank in range(world)
    ]
    return [[index for part in zip(*parts) for index in part] for parts in zip(*ranks)]


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6])
def test_stream_is_the_same_on_every_number_of_ranks(world):
    stream = [index for batch in read(world, 12, stop=120) for index in batch]
    assert stream == [index for batch in read(1, 12, stop=120) for index in batch]
    for epoch in range(12):  # every sample once per epoch, and not in the order of the previous epoch
        part = stream[epoch * 10 : epoch * 10 + 10]
        assert sorted(part) == [epoch * 10 + i for i in range(10)]
        assert [index % 10 for index in part] == permutation(10, 5, epoch).tolist()


@pytest.mark.parametrize("world", [1, 2, 4])
def test_stream_goes_on_where_it_stopped(world):
    whole = read(2, 4, stop=40)
    assert read(2, 4, stop=16) + read(world, 4, start=16, stop=40) == whole
    assert read(world, 4, start=36, stop=40) == whole[-1:]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_classes_are_seen_equally_often(world):
    """On any number of ranks, in every epoch, and after a stop."""
    classes = np.repeat([3, 0, 7], [70, 9, 24])
    streams = [list(StreamSampler(classes, world, rank, 5, stop=3 * 103, classes=classes)) for rank in range(world)]
    stream = [streams[position % world][position // world] for position in range(3 * 103)]
    assert stream == list(StreamSampler(classes, 1, 0, 5, stop=3 * 103, classes=classes))
    again = StreamSampler(classes, 1, 0, 5, start=150, stop=3 * 103, classes=classes)
    assert list(again) == stream[150:]
    for epoch in range(3):
        rows = np.array(stream[103 * epoch : 103 * (epoch + 1)]) - 103 * epoch
        counts = np.bincount(rows, minlength=103)
        for number in (3, 0, 7):
            assert counts[classes == number].sum() in (34, 35) and np.ptp(counts[classes == number]) <= 1
    assert stream[:103] != [row - 103 for row in stream[103:206]]


def test_sampler_keeps_the_interface_of_distributed_sampler():
    sampler = StreamSampler(range(10), num_replicas=2, rank=1, seed=5)
    assert len(sampler) == len(list(sampler)) == 5
    sampler.set_epoch(3)
    assert list(sampler) == [30 + int(i) for i in permutation(10, 5, 3)[1::2]]


def test_random_numbers_depend_on_their_keys_alone():
    whole = uniform(np.arange(1000), 5, 7, 1)
    assert np.array_equal(uniform(np.array([999, 3]), 5, 7, 1), whole[[999, 3]])
    assert not np.array_equal(uniform(np.arange(1000), 5, 7, 2), whole)
    assert len({derive(1, 2), derive(2, 1), derive(1), derive(1, 2, 0)}) == 4
    # uniform in each column and over rows, and without correlation between neighbours
    many = uniform(np.arange(200_000), 3, 0, 0)
    assert many.min() >= 0 and many.max() < 1
    assert np.abs(many.mean(0) - 0.5).max() < 0.003 and np.abs(many.var(0) - 1 / 12).max() < 0.001
    assert np.abs(np.corrcoef(np.hstack([many[:-1], many[1:]]).T) - np.eye(6)).max() < 0.01
