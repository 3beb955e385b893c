"""The steps lower for TPU and CUDA from here, without what those machines cannot do or do badly.

`jax.export` takes a `shard_map` under `jit` but no `pmap`: here the steps' twins by `shard_map` are
mapped over a mesh of eight devices that need not exist.
"""

import functools
import re

import jax
import pytest
from jax import export, sharding

from configs import h36m
from epipolar_jax import tasks
from epipolar_jax.inputs import multiview
from epipolar_jax.runtime import parallel
from epipolar_jax.training import schedules
from epipolar_jax.training import state as train_state
from epipolar_jax.training import step as train_step
from tests import dots

_DEVICES = 8
_SIZE = 64  # px, of the images; the heatmaps have a quarter of it
_P = sharding.PartitionSpec
_MESH = sharding.AbstractMesh((_DEVICES,), (parallel.AXIS,))
# Reading or writing single rows at computed places, as many as a heatmap has pixels or more, is
# what TPUs hate; a few rows for each joint, camera or kernel tap do not count.
_MANY_ROWS = (_SIZE // 4) ** 2


def _config(merge):
  config = h36m.get_config()
  config.model.update({"backbone_depth": 18, "width": 0.125, "deconv_channels": 16})
  config.model.fusion.update({"merge": merge, "num_samples": 16})
  config.data.image_size = _SIZE
  config.train.accumulate = 2
  config.eval.triangulation = "dlt,robust"
  if merge == "heatmaps":
    config.model.fusion.sources = "all"
    config.train.loss = "cross_entropy"
    config.heatmap.decode = "softmax"
  return config


def _spread(tree, spec):
  """Shapes of a tree on the mesh: whole on every device, or with an axis of devices before it."""
  place = sharding.NamedSharding(_MESH, spec)

  def shape(x):
    full = (_DEVICES, *x.shape) if spec == _P(parallel.AXIS) else x.shape
    # As arrays come to a device: the host's numbers of a frame are int64.
    dtype = jax.dtypes.canonicalize_dtype(x.dtype)
    return jax.ShapeDtypeStruct(full, dtype, sharding=place)

  return jax.tree.map(shape, tree)


@functools.cache
def _steps(merge):
  """Of training and evaluation: the function under `jit` and the shapes of its arguments."""
  config = _config(merge)
  frames = multiview.eval_batches(dots.frames(2), size=_SIZE, batch_size=2, num_threads=1)
  batch = _spread(multiview.device_part(next(frames)), _P(parallel.AXIS))
  optimizer = schedules.optimizer(config.optimizer, lambda step: 1e-3)
  task = tasks.build(config, axis_name=parallel.AXIS)

  def create(key):
    return train_state.create(task.init(key), optimizer)

  state = _spread(jax.eval_shape(create, jax.random.key(0)), _P())
  step = train_step.make_train_step(task, optimizer, seed=0, accumulate=config.train.accumulate)
  predict = tasks.build(config, axis_name=None).predict
  return {
    "train": (jax.jit(parallel.shard_mapped(step, _MESH, _P())), state, batch),
    "eval": (
      jax.jit(parallel.shard_mapped(predict, _MESH, _P(parallel.AXIS))),
      state.variables,
      batch,
    ),
  }


def _rows(text):
  """Of every gather and scatter: its name and how many rows of its operand it touches."""
  found = []
  for name in ("gather", "scatter"):
    for match in re.finditer(rf'"stablehlo\.{name}"\(', text):
      # The types follow the attributes, and the scatter's region of several lines.
      end = re.compile(r": \(tensor<[^>]*>, tensor<([^>]*)xi32>").search(text, match.end())
      *counts, _ = (int(n) for n in end[1].split("x"))
      rows = 1
      for n in counts:
        rows *= n
      found.append((name, rows))
  return found


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("kind", ["train", "eval"])
@pytest.mark.parametrize("merge", ["late", "heatmaps"])
def test_steps_lower_for_machines_that_are_not_here(merge, kind, platform):
  function, *shapes = _steps(merge)[kind]
  exported = export.export(function, platforms=[platform])(*shapes)
  text = exported.mlir_module()
  assert exported.nr_devices == _DEVICES
  assert "all_reduce" in text or kind == "eval"
  assert not re.search(r"\bf64\b|xf64>", text)
  assert "?x" not in text and "stablehlo.dynamic_reshape" not in text
  assert not re.search(r"callback|infeed|outfeed|stablehlo\.(send|recv)", text)
  rows = _rows(text)
  assert rows, "kernel taps and cameras are gathered: nothing was counted"
  if platform == "tpu":
    assert max(count for _, count in rows) < _MANY_ROWS, sorted(set(rows))
    assert set(re.findall(r"custom_call @([\w$.]+)", text)) <= {"Eigh", "Sharding"}
