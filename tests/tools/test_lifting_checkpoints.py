"""The original's lifting checkpoint becomes ours, evaluates, and goes back unchanged."""

import lzma

import jax
import numpy as np
import pytest

from configs import lifting_direct_h36m
from epipolar_jax import checkpointing, tasks
from epipolar_jax.original import convert_torch, export_torch, lifting_names, pth
from tests import golden_files


def test_a_checkpoint_of_the_original_goes_there_and_back(tmp_path):
  source = tmp_path / "lifting.pth"
  packed = (golden_files.FOLDER / "lifting_direct_h36m_legacy.pth.xz").read_bytes()
  source.write_bytes(lzma.decompress(packed))
  config = lifting_direct_h36m.get_config()
  told = convert_torch.convert(config, source, tmp_path / "ours")
  assert "18 tensors read, 0 of them ignored." in told
  assert "liftingnet.module.conv1.10.weight" in told and "lifter/pose_tower/layer10/kernel" in told
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0))
  variables, _ = checkpointing.restore_variables(tmp_path / "ours", template, task.meta)
  original = pth.read(source)["model"]
  head = variables["params"]["lifter"]["pose_head"]["layer6"]["kernel"]
  np.testing.assert_array_equal(head, original["liftingnet.module.poseprior.6.weight"].T)
  export_torch.export(
    config, tmp_path / "ours", tmp_path / "back.pth", file_format="legacy", bare=False
  )
  back = pth.read(tmp_path / "back.pth")["model"]
  assert back.keys() == original.keys()
  for key, value in original.items():
    np.testing.assert_array_equal(back[key], value)
  config.lifting.heatmap_size = 128  # another first layer of the head
  with pytest.raises(ValueError, match=r"poseprior.0.weight .* in params.lifter.pose_head"):
    convert_torch.convert(config, source, tmp_path / "wrong")


@pytest.mark.parametrize("module", ["conv1.0", "conv2.10", "poseprior.3", "viewpoint", "poseprior"])
def test_names_map_both_ways(module):
  assert lifting_names.to_torch(lifting_names.to_ours(module)) == module


def test_other_names_are_not_lifting_layers():
  for module in ("conv1", "conv3.0", "layer1.0.conv1", "viewpoint.a"):
    assert lifting_names.to_ours(module) is None
  for path in ((), ("pose_tower",), ("pose_tower", "layer"), ("first",), ("pose_head", "x")):
    assert lifting_names.to_torch(path) is None
