"""The trackers of accelerate get the same values as log.jsonl."""

import json

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_tensorboard_holds_the_log(root, run_processes, tmp_path):
    options = ["model.name=resnet8", "model.width=8", "epochs=0.5", "batch=48", f"out={tmp_path / 'run'}"]
    run_processes(1, root / "recipes/train.py", *options, "log_with=[tensorboard]")
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(next((tmp_path / "run").rglob("events.out.tfevents*")).parent))
    events.Reload()
    for kind, value in (("train", "loss"), ("test", "accuracy")):
        told = {event.step: event.value for event in events.Scalars(f"{kind}/{value}")}
        assert {step: round(value, 5) for step, value in told.items()} == {
            line["samples"]: round(line[value], 5) for line in log if line["kind"] == kind
        }


def test_a_tracker_that_is_not_there_is_named(root, run_processes):
    for tracker, message in (("comet_ml", "pip install comet_ml"), ("paper", "log_with=paper: choose from")):
        failed = run_processes(1, root / "recipes/train.py", f"log_with=[{tracker}]", check=False)
        assert failed.returncode == 1 and message in failed.stderr and "Traceback" not in failed.stderr
