"""The public names, and that they need no more than they should."""

import os
import pathlib
import subprocess
import sys
import tomllib

import jax
import numpy as np
import pytest

import epipolar_jax as ej
from epipolar_jax import predicting
from tests import scenes

_ROOT = pathlib.Path(__file__).parents[1]


def test_every_public_name_is_there():
  assert {"Cameras", "Rig", "Skeleton", "triangulate", "load", "__version__"} <= set(dir(ej))
  assert all(getattr(ej, name) is not None for name in ej.__all__)
  with pytest.raises(AttributeError, match="public: Cameras"):
    _ = ej.camera


def test_triangulating_needs_no_training_and_importing_nothing(tmp_path):
  """In a folder of its own, beside a package of the user's that is called data."""
  (tmp_path / "data").mkdir()
  (tmp_path / "data" / "__init__.py").write_text("")
  code = """
import sys
import tomllib
import epipolar_jax as ej
assert "jax" not in sys.modules
import numpy as np
k = np.tile([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]], (2, 1, 1))
cameras = ej.Cameras(k, np.tile(np.eye(3), (2, 1, 1)), np.array([[0.0, 0, 0], [-300, 0, 0]]))
point = np.array([[[100.0, 50.0, 2000.0]]])
uv = np.asarray(cameras.project(point))[:, None, :, :, :]
observed = ej.Observations(uv, np.ones(uv.shape[:-1]), ("nose",), ("a", "b"))
found = ej.triangulate(observed, cameras, method="dlt")
np.testing.assert_allclose(found.points[0, 0], point[0], atol=0.1)
heavy = {"tensorflow_datasets", "grain", "orbax", "imageio_ffmpeg", "optax", "cv2"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
  environment = os.environ | {"PYTHONPATH": str(_ROOT), "JAX_PLATFORMS": "cpu"}
  ran = subprocess.run(
    [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
  )
  assert ran.returncode == 0, ran.stderr


def test_the_shipped_network_predicts_from_arrays():
  """Grey images: what is found means nothing, but all is there, finite, in pixels of the crops."""
  model = ej.load("synthetic_full")
  size = model.image_size
  scene = scenes.make_scene(0, size=size)
  images = np.full((2, 4, size, size, 3), 128, np.uint8)
  found = model(images, ej.Cameras(*scene.cameras))
  assert found.points.shape == (2, 17, 3) and model.skeleton.name == "h36m_17"
  assert all(np.isfinite(x).all() for x in found)
  assert found.joints_2d.min() > -size and found.joints_2d.max() < 2 * size
  again = model(images[:1], jax.tree.map(lambda x: x[None], ej.Cameras(*scene.cameras)))
  np.testing.assert_allclose(again.joints_2d[0], found.joints_2d[0], atol=1e-2)
  with pytest.raises(ValueError, match=r"\[frames, views, 128, 128, 3\] uint8 RGB, got"):
    model(images[..., :1], ej.Cameras(*scene.cameras))
  with pytest.raises(ValueError, match=r"cameras should be \[4\] or \[2, 4\]"):
    model(images, ej.Cameras(*scene.cameras)[:3])


def test_what_cannot_be_loaded_is_said(tmp_path):
  with pytest.raises(FileNotFoundError, match="shipped: synthetic_full"):
    predicting.load(tmp_path / "nothing")
  (tmp_path / "weights").mkdir()
  with pytest.raises(FileNotFoundError, match=r"without the config.json"):
    predicting.load(tmp_path)


def test_pyproject_and_requirements_ask_for_the_same():
  """An installed package and a clone must not run on other libraries."""
  project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
  asked = [*project["dependencies"], *project["optional-dependencies"]["train"]]
  assert sorted(asked) == sorted((_ROOT / "requirements.txt").read_text().split())
