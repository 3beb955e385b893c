"""The public names, and that they need no more than they should."""

import os
import pathlib
import subprocess
import sys
import tomllib

import cv2
import jax
import numpy as np
import pytest

import epipolar_jax as ej
from configs import clothed, synthetic_full
from data.synthetic import scene
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


@pytest.mark.parametrize(
  ("name", "config"),
  [
    ("synthetic_full", synthetic_full.get_config()),
    ("clothed_coco", clothed.get_config("coco_17")),
  ],
)
def test_a_shipped_network_finds_a_rendered_person(name, config):
  """A person it has never seen, in crops made here; of all the test split's, some 40 mm off."""
  options = scene.options_lib.Options(**config.data.synthetic.to_dict())
  frame = scene.Generator(options).frame("test", 0)
  model = ej.load(name)
  size = model.image_size
  crops, images = [], []
  for image, middle, side in zip(frame.images, frame.box_center, frame.box_size):
    scale = size / side
    shift = (size - 1) / 2 - scale * middle
    crop = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
    crops.append(crop)
    images.append(cv2.warpAffine(image, crop, (size, size), flags=cv2.INTER_LINEAR))
  rig = frame.rig
  translation = -np.einsum("vij,vj->vi", rig.rotation, rig.centers)
  cameras = ej.Cameras(rig.intrinsics, rig.rotation, translation).crop(np.stack(crops))
  found = model(np.stack(images)[None], cameras)
  assert model.skeleton.name == config.model.skeleton and found.valid.all()
  error = np.linalg.norm(found.points[0] - frame.joints_3d, axis=-1).mean()
  assert error < 80.0, error
  seen = np.asarray(cameras.project(np.float32(frame.joints_3d)))
  assert np.median(np.linalg.norm(found.joints_2d[0] - seen, axis=-1)) < 4.0
  again = model(np.stack([images] * 2), jax.tree.map(lambda x: np.stack([x] * 2), cameras))
  np.testing.assert_allclose(again.points[1], found.points[0], atol=0.5)


def test_images_and_cameras_of_other_shapes_are_refused():
  model = ej.load("synthetic_full", method="dlt")
  images = np.zeros((2, 4, model.image_size, model.image_size, 3), np.uint8)
  cameras = ej.Cameras(*scenes.make_scene(0, size=model.image_size).cameras)
  with pytest.raises(ValueError, match=r"\[frames, views, 128, 128, 3\] uint8 RGB, got"):
    model(images[..., :1], cameras)
  with pytest.raises(ValueError, match=r"cameras should be \[4\] or \[2, 4\]"):
    model(images, cameras[:3])
  with pytest.raises(ValueError, match="no method 'best'"):
    ej.load("synthetic_full", method="best")


def test_what_cannot_be_loaded_is_said(tmp_path):
  with pytest.raises(FileNotFoundError, match="shipped: clothed, clothed_coco, synthetic_full"):
    predicting.load(tmp_path / "nothing")
  (tmp_path / "weights").mkdir()
  with pytest.raises(FileNotFoundError, match=r"without the config.json"):
    predicting.load(tmp_path)


def test_pyproject_and_requirements_ask_for_the_same():
  """An installed package and a clone must not run on other libraries."""
  project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
  asked = [*project["dependencies"], *project["optional-dependencies"]["train"]]
  assert sorted(asked) == sorted((_ROOT / "requirements.txt").read_text().split())
