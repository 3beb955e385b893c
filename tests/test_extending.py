"""docs/extending.md: the code on the page is added as the page says, and used."""

import pathlib
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax import models, skeletons, tasks, triangulation
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models import fusion, pose_resnet
from epipolar_jax.triangulation import methods
from tests import dots, scenes, small_network

_PAGE = (pathlib.Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")


def _blocks(section: str, language: str) -> list[str]:
  (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", _PAGE, re.M | re.S)
  return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def _module(name: str, code: str, monkeypatch) -> types.ModuleType:
  """The page's file, as a module of that name."""
  module = types.ModuleType(name)
  module.__dict__["__file__"] = f"{name}.py"
  monkeypatch.setitem(sys.modules, name, module)
  exec(compile(code, f"{name}.py", "exec"), module.__dict__)
  return module


def _add_line(line: str, table: dict, monkeypatch, **names: object) -> None:
  """Runs the page's line with a copy of the table, which the test then puts in its place."""
  (name,) = re.findall(r"^(\w+)\[", line)
  longer = dict(table)
  exec(compile(line, "extending.md", "exec"), {name: longer, **names})
  (new,) = set(longer) - set(table)
  monkeypatch.setitem(table, new, longer[new])


def test_a_fusion_layer_trains_and_predicts(monkeypatch):
  file, line = _blocks("A fusion layer", "python")
  layer = _module("line_maximum", file, monkeypatch)
  _add_line(line, fusion.FUSIONS, monkeypatch, Fusion=fusion.Fusion, line_maximum=layer)
  monkeypatch.setattr(pose_resnet, "PoseResNet", small_network.SmallNetwork)
  config = dots.config()
  config.model.fusion.merge = "line_maximum"
  (frame,) = dots.frames(1)
  task = tasks.build(config, axis_name=None)
  variables = task.init(jax.random.key(0))
  assert variables["params"]["heatmap_fusion"]["gain"] == 0.5
  small = frame["image"][None, :, :64, :64]
  whole = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]], np.float32), (1, 4, 1, 1))
  batch = {k: np.asarray(v)[None] for k, v in frame.items() if k not in ("image", "action")}
  batch |= {"image": small, "crop": whole, "valid": np.ones(1, bool)}
  batch |= {"labelled": np.ones((1, 4, 17), bool)}

  def mean(params):
    total, weight, _ = task.loss(variables | {"params": params}, batch, jax.random.key(1))
    return total / weight

  value, gradient = jax.jit(jax.value_and_grad(mean))(variables["params"])
  assert np.isfinite(value) and abs(gradient["heatmap_fusion"]["gain"]) > 0
  seen = jax.jit(task.inspect)(variables, batch)
  assert np.isfinite(seen["joints_3d"]).all() and "source" not in seen, (
    "it has no attention to show"
  )


def test_a_fusion_layer_must_be_trained_by_a_loss_that_makes_its_logits(monkeypatch):
  file, line = _blocks("A fusion layer", "python")
  layer = _module("line_maximum", file, monkeypatch)
  _add_line(line, fusion.FUSIONS, monkeypatch, Fusion=fusion.Fusion, line_maximum=layer)
  config = dots.config()
  config.model.fusion.merge, config.train.loss = "line_maximum", "joint"
  with pytest.raises(ValueError, match=r"only train\.loss 'cross_entropy' makes"):
    tasks.build(config, axis_name=None)


def test_a_triangulation_method_finds_exact_points(monkeypatch):
  file, line = _blocks("A triangulation method", "python")
  method = _module("midpoint", file, monkeypatch)
  names = {"Method": methods.Method, "each_joint": methods.each_joint, "midpoint": method}
  _add_line(line, methods.METHODS, monkeypatch, **names)
  scene = scenes.make_scene(3)
  score = np.ones((1, 4, 17), np.float32)
  score[0, 1:, 5] = 0.0  # one view is too few
  score[0, :2, 6] = 0.0
  views = triangulation.Views(
    jnp.asarray(scene.uv, jnp.float32)[None],
    jnp.asarray(score),
    Cameras(*(jnp.asarray(x, jnp.float32)[None] for x in scene.cameras)),
  )
  found = triangulation.make("midpoint")(views)
  assert list(np.flatnonzero(~found.valid[0])) == [5]
  off = np.linalg.norm(found.points[0] - scene.joints, axis=-1)
  assert np.delete(off, 5).max() < 0.1
  np.testing.assert_array_equal(found.inlier[0, :, 6], [0, 0, 1, 1])


def test_a_skeleton_builds_a_network_of_its_joints(tmp_path):
  (text,) = _blocks("A skeleton", "toml")
  path = tmp_path / "mouse.toml"
  path.write_text(text)
  skeleton = skeletons.read(path)
  assert skeleton.num_joints == 15 and skeleton.joints[skeleton.root] == "spine"
  config = dots.config(skeleton=str(path))
  network = models.build(config.model, config.parity)
  assert network.backbone.num_joints == 15


def test_the_table_names_what_is_there():
  root = pathlib.Path(__file__).parents[1]
  for path in re.findall(r"`([\w/]+\.py)`", _PAGE):
    known = path.endswith(("line_maximum.py", "midpoint.py", "NAME.py"))
    places = (root / path, root / "epipolar_jax" / path)
    assert known or any(place.exists() for place in places), path
