"""Every config builds its task and its network; every leaf of the headline config has a comment."""

import contextlib
import importlib
import json
import pathlib
import re
import sys

import jax
import pytest
from absl import flags
from ml_collections import config_flags

from epipolar_jax import tasks

_FOLDER = pathlib.Path(__file__).parent.parent / "configs"
_traced = {}
_NAMES = sorted(p.stem for p in _FOLDER.glob("*.py") if p.stem != "__init__")
# With what may come after ".py:".
_CHOICES = [f"{name}:residual" for name in _NAMES if name.startswith("lifting")]
_CHOICES += ["clothed:coco_17"]


@pytest.mark.parametrize("name", [*_NAMES, *_CHOICES])
def test_config_builds(name):
  file, *arguments = name.split(":")
  config = importlib.import_module(f"configs.{file}").get_config(*arguments)
  task = tasks.build(config, axis_name=None)
  # Tracing takes seconds: once for all configs of one network.
  lifter = config.lifting.lifter if "lifting" in config else None
  network = json.dumps([config.task, config.model.to_dict(), lifter])
  if network not in _traced:
    _traced[network] = jax.eval_shape(task.init, jax.random.key(0))
  assert set(_traced[network]) == {"params", "batch_stats"}
  assert config.data.image_size % 32 == 0
  assert config.model.fusion.merge in ("none", "late", "heatmaps")
  assert task.meta["task"] == config.task


@pytest.mark.parametrize("name", [*_NAMES, *_CHOICES])
def test_config_says_how_to_run_it(name):
  file, *arguments = name.split(":")
  text = (_FOLDER / f"{file}.py").read_text(encoding="utf-8")
  assert f"python train.py --config configs/{':'.join([f'{file}.py', *arguments])}" in text
  if name.startswith("h36m"):
    assert re.search(r"\nPublished: .*\bmeasured\s+here.*\bHardware\b", text, re.DOTALL)


def test_a_config_refuses_an_argument_it_does_not_know():
  with pytest.raises(ValueError, match=r"after \.py: comes residual"):
    importlib.import_module("configs.lifting_rhd").get_config("better")


def test_every_leaf_of_the_headline_config_has_a_comment():
  above = ""
  for line in (_FOLDER / "h36m.py").read_text(encoding="utf-8").splitlines():
    if re.match(r"  \w+\.\w+ = ", line) and "ConfigDict" not in line:
      assert "  # " in line or above.startswith("  # "), line
    above = line


# ml_collections loads config files with an importlib call that Python 3.15 will drop.
@pytest.mark.filterwarnings("ignore:the load_module")
@pytest.mark.parametrize(
  ("override", "error"),
  [
    ("--config.optimizer.learning_rate=1e-4", None),
    ("--config.optimizer.learning_rat=1e-4", AttributeError),
    ("--config.train.batch_size=many", flags.IllegalFlagValueError),
  ],
)
def test_overrides_are_typed_and_typos_fail(override, error, monkeypatch):
  arguments = ["train.py", f"--config={_FOLDER / 'h36m.py'}", override]
  # The overrides are found in sys.argv when the config file is read.
  monkeypatch.setattr(sys, "argv", arguments)
  values = flags.FlagValues()
  config_flags.DEFINE_config_file("config", None, flag_values=values, lock_config=True)
  with pytest.raises(error) if error else contextlib.nullcontext():
    values(arguments)
    assert values.config.optimizer.learning_rate == 1e-4


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    (
      "task",
      "fly",
      "task is 'fly'; allowed: img_lifting_rot, .*, multiview, multiview_img_lifting_rot",
    ),
    ("train.loss", "l7", "train.loss is 'l7'; allowed: cross_entropy, joint, mse, smooth_mse"),
    ("heatmap.decode", "x", "heatmap.decode is 'x'; allowed: peak, softmax"),
    ("eval.triangulation", "dlt,x", "eval.triangulation: no method 'x'; there are dlt, dlt_unw"),
    ("eval.triangulation", "rpsm", "set eval.limb_priors to a file"),
    ("eval.rpsm_root", "x", "eval.rpsm_root is 'x'; allowed: triangulated, truth"),
    ("model.dtype", "int8", "model.dtype 'int8'"),
  ],
)
def test_wrong_choices_name_the_field_and_what_is_allowed(field, value, message):
  config = importlib.import_module("configs.h36m").get_config()
  config.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=message):
    tasks.build(config, axis_name=None)
