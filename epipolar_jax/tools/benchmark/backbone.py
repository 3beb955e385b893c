"""PoseResNet at 256², batch 4: forward and training step (squared error, Adam).

Against PyTorch it is the same network there, channels last, which is its faster layout here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import h36m_baseline
from epipolar_jax.models import pose_resnet
from epipolar_jax.tools import model_size
from epipolar_jax.tools.benchmark import timing, training_step

_BATCH, _SIZE, _JOINTS = 4, 256, 17
_DEPTHS = (18, 34, 50, 101, 152)
_NETWORKS = {f"resnet{depth}": (depth, "float32") for depth in _DEPTHS} | {
  f"resnet{depth}_bfloat16": (depth, "bfloat16") for depth in _DEPTHS
}
_LEARNING_RATE = 1e-3


def run(seconds: float, only: tuple[str, ...] = (), against: str = "") -> list[timing.Row]:
  """Measures networks; ratios are to PyTorch's.

  Args:
    seconds: for each measurement.
    only: names of networks; () is resnet50, on a GPU or TPU also resnet50_bfloat16.
    against: "torch" measures the same network there, in the same type.

  Raises:
    ValueError: there is no such network.
  """
  if not set(only) <= set(_NETWORKS):
    raise ValueError(f"--only is {','.join(only)}; allowed: {', '.join(_NETWORKS)}")
  both = ("resnet50",) if jax.default_backend() == "cpu" else ("resnet50", "resnet50_bfloat16")
  return [row for name in only or both for row in _measure(name, seconds, against)]


def _measure(name: str, seconds: float, against: str) -> list[timing.Row]:
  depth, dtype = _NETWORKS[name]
  network = pose_resnet.PoseResNet(_JOINTS, depth=depth, dtype=jnp.dtype(dtype))
  rng = np.random.default_rng(0)
  images = rng.normal(size=(_BATCH, _SIZE, _SIZE, 3)).astype(np.float32)
  maps = rng.uniform(size=(_BATCH, _SIZE // 4, _SIZE // 4, _JOINTS)).astype(np.float32)
  key = jax.random.key(0, impl="rbg")
  variables = jax.jit(lambda: network.init(key, images[:1, :64, :64], train=False))()
  size = f"{_BATCH} x {_SIZE}², {dtype}"
  forward_flops = 2.0 * _BATCH * _macs(depth)
  # Backward, every layer's output meets both its factors once more.
  about = {
    "forward": {"size": f"forward, {size}", "flops": forward_flops},
    "step": {"size": f"training step, {size}", "flops": 3 * forward_flops},
  }
  for entry in about.values():
    entry |= {"frames": _BATCH, "unit": "images", "seconds": seconds, "dtype": dtype}
  theirs = {}
  if against == "torch":
    from epipolar_jax.tools.benchmark import torch_pose_resnet

    parameters = sum(x.size for x in jax.tree.leaves(variables["params"]))
    theirs = torch_pose_resnet.measure(name, depth, parameters, images, maps, about)
  forward = jax.jit(lambda variables, images: network.apply(variables, images, train=False))
  ours = {
    "forward": timing.measure(name, forward, variables, jnp.asarray(images), **about["forward"])
  }
  step, state = _training(network, variables)
  ours["step"] = training_step.measure(
    name, step, state, (jnp.asarray(images), jnp.asarray(maps)), **about["step"]
  )
  return [
    row
    for kind in ours
    for row in (
      [theirs[kind], timing.against(ours[kind], theirs[kind])] if theirs else [ours[kind]]
    )
  ]


def _macs(depth: int) -> int:
  """Multiply-adds of the forward pass of one image."""
  config = h36m_baseline.get_config()
  config.model.backbone_depth = depth
  config.data.image_size = _SIZE
  return model_size.total(model_size.measure(config, views=1)).macs


def _training(network: pose_resnet.PoseResNet, variables: dict):
  """A jitted step that takes over its state, and the first state."""
  optimizer = optax.adam(_LEARNING_RATE)

  def step(state, batch):
    params, stats, opt_state = state
    images, maps = batch

    def loss(params):
      variables = {"params": params, "batch_stats": stats}
      found, new = network.apply(variables, images, train=True, mutable=["batch_stats"])
      return jnp.mean(jnp.square(found - maps)), new["batch_stats"]

    (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    return (optax.apply_updates(params, updates), stats, opt_state), value

  params = variables["params"]
  state = (params, variables["batch_stats"], optimizer.init(params))
  return jax.jit(step, donate_argnums=0), state
