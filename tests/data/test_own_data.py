"""The worked example of data/README.md: run as it stands there, checked, and read."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

import data
from configs import synthetic
from data import check
from epipolar_jax.inputs import datasets, multiview
from tests import dots

_README = pathlib.Path(data.__file__).parent / "README.md"


def _my_frame(number):
  (frame,) = dots.frames(1, views=2, seed=number)
  # The images of the example are 256 px.
  images = np.zeros((2, 256, 256, 3), np.uint8)
  images[:, : dots.SIZE, : dots.SIZE] = frame.pop("image")
  return images, frame


def test_the_worked_example_works(tmp_path, monkeypatch):
  (code,) = re.findall(r"```python\n(.*?)```", _README.read_text(encoding="utf-8"), re.S)
  monkeypatch.chdir(tmp_path)
  tfds.disable_progress_bar()
  names = {"my_frame": _my_frame, "__file__": str(tmp_path / "mine.py"), "__name__": "mine"}
  exec(compile(code, "README.md", "exec"), names)
  facts, problems = check.check(tmp_path / "data_cache")
  assert not problems and any("train, 8 examples" in fact for fact in facts)
  config = synthetic.get_config().data
  config.update({"name": "mine", "dir": "data_cache"})
  source = datasets.open_split(config, "validation")
  (batch,) = multiview.eval_batches(source, size=64, batch_size=2, num_threads=1)
  assert batch["image"].shape == (2, 2, 64, 64, 3) and batch["valid"].all()
  expected = _my_frame(9)[1]["joints_3d"]
  np.testing.assert_array_equal(batch["joints_3d"][1], expected)
  with pytest.raises(ValueError, match=r"no split 'test'; it has train, validation"):
    datasets.open_split(config, "test")
  config.name = "yours"
  with pytest.raises(datasets.MissingDataError, match=r"no prepared data set in data_cache/yours"):
    datasets.open_split(config, "train")
  config.name = "../data_cache/mine"
  with pytest.raises(ValueError, match="should be the name of a folder"):
    datasets.open_split(config, "train")
