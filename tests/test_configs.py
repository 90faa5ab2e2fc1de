"""The configurations that the repository ships."""

import re

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from recipes.core.config.reading import CONFIGS, read_config
from recipes.core.config.scenes import Detect, Segment
from recipes.core.config.tasks import Generate, Train

NEEDED = {"finetune_folder": ["data.path=photos"]}


def test_every_launch_config_loads(root):
    configs = sorted((root / "accelerate_configs").glob("*.yaml"))
    names = {path.stem for path in configs}
    assert names == {"cpu", "cpu_2", "gpu", "multi_gpu", "multi_node", "fsdp2", "deepspeed_zero2", "tpu", "mps"}
    for path in configs:
        assert load_config_from_file(str(path)).num_processes >= 1
        text = path.read_text()
        assert text.startswith("# ") and ("cpu" in path.stem or path.stem == "gpu" or "Not yet launched" in text)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_a_configuration_and_says_its_result(path):
    header = path.read_text().split("\n\n")[0]
    script = re.search(rf"accelerate launch .*recipes/(train|generate|detect|segment)\.py {path.stem}", header)[1]
    schema = {"train": Train, "generate": Generate, "detect": Detect, "segment": Segment}[script]
    config, name, *_ = read_config(schema, [path.stem, *NEEDED.get(path.stem, [])], "digits")
    assert name == path.stem and config.epochs > 0
    result = re.search(r"\d\.\d+ (± \d+\.\d+ )?.* n = \d+", header, re.DOTALL)
    assert "not yet run" in header or result, "the header says neither 'not yet run' nor 'MEAN ± DEVIATION, n = SEEDS'"
