"""Every field of every config has a range; what can train nothing is refused, by name."""

import importlib
import json
import math
import pathlib

import pytest

from epipolar_jax import config_ranges
from epipolar_jax.evaluation import driver
from epipolar_jax.training import loop
from tests import dots, runs

_FOLDER = pathlib.Path(__file__).parent.parent / "configs"
_NAMES = sorted(p.stem for p in _FOLDER.glob("*.py") if p.stem != "__init__")


@pytest.mark.parametrize("name", _NAMES)
def test_shipped_configs_are_in_range_and_every_number_has_one(name):
  config = importlib.import_module(f"configs.{name}").get_config()
  config_ranges.check(config)
  for field, value in config_ranges.leaves(config).items():
    if isinstance(value, (int, float)) and not isinstance(value, bool):
      assert field in config_ranges.RANGES, f"{field} has no range"


def test_every_range_is_of_a_field():
  fields = set()
  for name in _NAMES:
    fields |= set(config_ranges.leaves(importlib.import_module(f"configs.{name}").get_config()))
  assert set(config_ranges.RANGES) <= fields


def _numbers():
  config = importlib.import_module("configs.lifting_direct_h36m").get_config()
  found = config_ranges.leaves(config) | config_ranges.leaves(runs.config())
  return sorted(name for name, x in found.items() if type(x) in (int, float))


@pytest.mark.parametrize("field", _numbers())
def test_no_number_may_be_nan_infinite_or_absurd(field):
  module = "configs.lifting_direct_h36m" if field.startswith("lifting.") else "configs.synthetic"
  config = importlib.import_module(module).get_config()
  value = config_ranges.leaves(config)[field]
  bad = [math.nan, math.inf] if isinstance(value, float) else [-3]
  for x in bad:
    config.update_from_flattened_dict({field: x})
    with pytest.raises(ValueError, match=rf"^{field} is {x}; allowed: "):
      config_ranges.check(config)


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("train.num_epochs", 0.0),
    ("train.num_epochs", -1.0),
    ("train.num_epochs", 0.1),
    ("train.batch_size", 0),
    ("train.batch_size", 20),
    ("train.batch_size", 6),
    ("eval.batch_size", 6),
    ("train.accumulate", 0),
    ("train.accumulate", 2),
    ("train.accumulate", 3),
    ("train.log_steps", 0),
    ("optimizer.learning_rate", 0.0),
    ("optimizer.learning_rate", -1e-3),
    ("optimizer.warmup_epochs", 2.0),
    ("optimizer.step_epochs", (3, 2)),
    ("optimizer.name", "adan"),
    ("data.flip_probability", 2.0),
    ("data.color_jitter", math.nan),
    ("data.scale_factor", 1.0),
    ("data.image_size", 33),
    ("heatmap.sigma", 0.0),
    ("heatmap.sigma", math.nan),
    ("model.width", 0.0),
    ("model.init", "resnet50.pth"),
    ("model.fusion.sources", "far"),
    ("eval.splits", ()),
    ("eval.splits", ("tets",)),
    ("eval.splits", ("test", "test")),
    ("eval.triangulation", "dlt,rubust"),
    ("eval.views", "0,9"),
    ("eval.views", "all"),
    ("eval.batch_size", 0),
    ("eval.ransac_mm", 0.0),
    ("eval.alignment", "none"),
    ("eval.recompute_bn_frames", 1),
  ],
)
def test_nothing_is_trained_with_what_can_train_or_evaluate_nothing(
  field, value, tmp_path, monkeypatch
):
  runs.install(monkeypatch)
  with pytest.raises(ValueError) as error:
    loop.train(runs.config(**{field: value}), tmp_path / "run")
  assert field in str(error.value)
  assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("split", ["tets", ""])
def test_evaluation_options_are_checked_before_the_first_frame(split, tmp_path, monkeypatch):
  runs.install(monkeypatch)
  monkeypatch.setattr(driver, "collect", None)
  with pytest.raises(ValueError, match=r"^eval\.splits"):
    driver.report(
      runs.config(eval__splits=("test", split)), {}, step=0, output=tmp_path / "eval.json"
    )


def test_people_that_are_enlarged_are_said_once(monkeypatch, capsys):
  runs.install(monkeypatch)
  driver.check_splits(runs.config(), ("test", "validation"))
  assert not capsys.readouterr().out
  driver.check_splits(runs.config(data__image_size=256), ("test", "validation"))
  (said,) = capsys.readouterr().out.splitlines()
  assert "stored 72 px large and enlarged to data.image_size 256" in said


def _train_on(frames, tmp_path, monkeypatch, **fields):
  runs.install(monkeypatch)
  monkeypatch.setattr(loop.inputs, "open_split", lambda config, split: frames)
  return loop.train(runs.config(**fields), tmp_path)


def _outside(frame):
  return frame | {"joints_2d": frame["joints_2d"] + 1e4}


@pytest.mark.parametrize("epochs", [1.0, 2.0])
def test_a_training_without_a_joint_in_any_image_stops(epochs, tmp_path, monkeypatch):
  frames = [_outside(frame) for frame in dots.frames(8)]
  with pytest.raises(ValueError, match="in all 2 steps: no joint with a label lies in any image"):
    _train_on(frames, tmp_path, monkeypatch, train__num_epochs=epochs)


def test_a_few_steps_without_a_joint_are_no_reason_to_stop(tmp_path, monkeypatch):
  frames = [*map(_outside, dots.frames(15)), *dots.frames(1)]
  _, complete = _train_on(frames, tmp_path, monkeypatch, train__num_epochs=2.0)
  assert complete
  rows = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
  assert 0.0 in [row["train/loss"] for row in rows]
