"""The exported file runs without the package, on any number of frames, and says what it is."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export as jax_export

from epipolar_jax import checkpointing, skeletons, tasks
from epipolar_jax.inputs import multiview
from epipolar_jax.tasks import task as task_lib
from epipolar_jax.tools import export
from tests import dots

# What someone does who has the file, jax and numpy.
_SERVE = """
import pathlib, sys
import jax
import numpy as np
jax.config.update("jax_platforms", "cpu")
exported = jax.export.deserialize(bytearray(pathlib.Path("model.stablehlo").read_bytes()))
inputs = np.load("inputs.npz")
arguments = [inputs[name] for name in ("image", "intrinsics", "rotation", "translation")]
for count in (1, 3):
  found = exported.call(*(x[:count] for x in arguments))
  np.savez(f"found_{count}.npz", **found)
try:
  exported.call(*(x[:, :3] for x in arguments))
except ValueError as error:
  print(error)
assert not any(name.startswith("epipolar_jax") for name in sys.modules)
"""


def _config():
  config = dots.config()
  config.data.image_size = 32
  config.eval.triangulation = "dlt"
  return config


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A folder with a checkpoint, the file made of it, inputs, and the config."""
  folder, config = tmp_path_factory.mktemp("export"), _config()
  task = tasks.build(config, axis_name=None)
  # Above zero everywhere, so that fusion and statistics have something to say.
  weights = jax.tree.map(lambda x: x + 0.02, task.init(jax.random.key(0, impl="rbg")))
  checkpointing.write_weights(folder / "checkpoint", weights=weights, meta=task.meta, step=7)
  file = folder / "model.stablehlo"
  said = export.write(config, folder / "checkpoint", file, platforms=("cpu", "tpu"), views=4)
  assert "model.json" in said and "cpu, tpu" in said
  batch = next(multiview.eval_batches(dots.frames(3), size=32, batch_size=3, num_threads=1))
  batch = multiview.device_part(batch)
  found = jax.device_get(jax.jit(task.predict)(weights, batch))
  intrinsics = task_lib.crop_cameras(batch).intrinsics
  given = {k: batch[k] for k in ("image", "rotation", "translation")}
  np.savez(folder / "inputs.npz", intrinsics=intrinsics, **given)
  return folder, config, found


def test_runs_without_the_package_at_two_sizes_as_python_does(made):
  folder, _, want = made
  ran = subprocess.run(
    [sys.executable, "-c", _SERVE], cwd=folder, capture_output=True, text=True, check=False
  )
  assert ran.returncode == 0, ran.stderr
  assert "shape" in ran.stdout, "three cameras were taken for four"
  for count in (1, 3):
    with np.load(folder / f"found_{count}.npz") as found:
      assert sorted(found.files) == ["joints_2d", "joints_3d", "score", "valid"]
      np.testing.assert_array_equal(found["valid"], want["joint_valid"][:count])
      np.testing.assert_allclose(found["joints_2d"], want["joints_2d"][:count], atol=1e-3)
      np.testing.assert_allclose(found["score"], want["score"][:count], atol=1e-5)
      np.testing.assert_allclose(found["joints_3d"], want["joints_3d"][:count], atol=0.1)


def test_fused_heatmaps_leave_the_number_of_frames_open(tmp_path):
  config = _config()
  config.model.fusion.merge, config.train.loss = "heatmaps", "cross_entropy"
  task = tasks.build(config, axis_name=None)
  weights = task.init(jax.random.key(0, impl="rbg"))
  checkpointing.write_weights(tmp_path / "checkpoint", weights=weights, meta=task.meta, step=7)
  file = tmp_path / "model.stablehlo"
  export.write(config, tmp_path / "checkpoint", file, platforms=("cpu",), views=4)
  exported = jax_export.deserialize(bytearray(file.read_bytes()))
  assert not isinstance(exported.in_avals[0].shape[0], int)


def test_the_description_says_what_goes_in_and_out(made):
  folder, config, _ = made
  record = json.loads((folder / "model.json").read_text(encoding="utf-8"))
  assert record["inputs"]["image"]["shape"] == ["frames", 4, 32, 32, 3]
  assert record["inputs"]["image"]["dtype"] == "uint8"
  assert list(record["inputs"]) == ["image", "intrinsics", "rotation", "translation"]
  assert record["outputs"]["joints_3d"]["shape"] == ["frames", 17, 3]
  assert record["outputs"]["valid"] == record["outputs"]["valid"] | {
    "shape": ["frames", 17],
    "dtype": "bool",
  }
  assert record["joints"] == list(skeletons.H36M_17.joints)
  assert (record["step"], record["platforms"]) == (7, ["cpu", "tpu"])
  assert record["config"]["data"]["image_size"] == config.data.image_size
  data = (folder / "model.stablehlo").read_bytes()
  assert jax_export.deserialize(bytearray(data)).platforms == ("cpu", "tpu")


@pytest.mark.parametrize(
  ("fields", "options", "message"),
  [
    ({}, {"platforms": ("cpu", "rocm")}, "no 'rocm'; there are cpu, cuda, tpu"),
    ({}, {"platforms": ()}, "names none"),
    ({}, {"views": 1}, "--views is 1"),
    ({"task": "lifting"}, {}, "only task 'multiview'"),
    ({"eval.rpsm_root": "truth"}, {}, "nobody has when serving"),
  ],
)
def test_what_cannot_be_served_is_refused(fields, options, message):
  config = _config()
  config.update_from_flattened_dict(fields)
  with pytest.raises(ValueError, match=message):
    export.export_network(config, {}, **options)


def test_the_file_is_not_its_own_description(tmp_path):
  with pytest.raises(ValueError, match=r"name it \.stablehlo"):
    export.write(_config(), tmp_path, tmp_path / "m.json", platforms=("cpu",), views=4)
