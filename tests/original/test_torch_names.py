import functools

import jax
import numpy as np
import pytest

from epipolar_jax.models import pose_resnet
from epipolar_jax.original import torch_names
from tests import golden_files
from tests.models import weights


@pytest.fixture(scope="module")
def like():
  model = pose_resnet.PoseResNet(num_joints=17, depth=18)
  init = functools.partial(model.init, train=False)
  return jax.eval_shape(init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))


@pytest.fixture(scope="module")
def state():
  return weights.state_dict(golden_files.load("models_inputs")["keys/R18"])


def test_every_name_of_the_original_finds_its_place_under_any_wrapper(like, state):
  wrapped = {
    f"{owner}.module.{k}": v for k, v in state.items() for owner in ("reference", "backbone")
  }
  variables = torch_names.to_flax(wrapped, like)
  assert jax.tree.map(np.shape, variables) == jax.tree.map(lambda x: x.shape, dict(like))
  kernel = variables["params"]["trunk"]["layer2_0"]["downsample_conv"]["kernel"]
  np.testing.assert_array_equal(kernel[0, 0], state["layer2.0.downsample.0.weight"][:, :, 0, 0].T)
  kernel = variables["params"]["deconv2"]["kernel"]
  np.testing.assert_array_equal(kernel[1, 2], state["deconv_layers.3.weight"][:, :, 1, 2])


@pytest.mark.parametrize(
  "change, message",
  [
    (lambda s: s.pop("layer1.0.bn1.bias"), "ours params/trunk/layer1_0/bn1/bias: not in the file"),
    (lambda s: s.update({"layer5.weight": np.zeros(1)}), r"torch layer5.weight \(1,\): no counter"),
    (lambda s: s.update({"conv1.weight": np.zeros((64, 3, 3, 3))}), r"\(7, 7, 3, 64\) in params"),
    (
      lambda s: s.update({"backbone.conv1.weight": s["conv1.weight"] + 1}),
      "differs from the other copy",
    ),
  ],
)
def test_anything_unmatched_is_an_error(like, state, change, message):
  changed = dict(state)
  change(changed)
  with pytest.raises(ValueError, match=message):
    torch_names.to_flax(changed, like)
