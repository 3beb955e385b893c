"""The multi-view task's options, through its config, on a network of two layers."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import synthetic_full
from epipolar_jax import checkpointing, heatmaps, skeletons, tasks
from epipolar_jax.evaluation import batch_statistics
from epipolar_jax.inputs import batches, datasets
from epipolar_jax.inputs import multiview as inputs
from epipolar_jax.models import pose_resnet
from epipolar_jax.runtime import parallel
from epipolar_jax.tasks.multiview import objective, reconstruction, summaries
from epipolar_jax.training import schedules
from epipolar_jax.training import state as train_state
from epipolar_jax.training import step as train_step
from tests import dots, small_network


@pytest.fixture(autouse=True)
def small_backbone(monkeypatch):
  monkeypatch.setattr(pose_resnet, "PoseResNet", small_network.SmallNetwork)


def _config(**fields):
  config = dots.config()
  config.data.image_size = 32
  config.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
  return config


@functools.cache
def _batch(count=4):
  frames = dots.frames(count)
  batch = next(inputs.eval_batches(frames, size=32, batch_size=count, num_threads=1))
  return {k: jnp.asarray(x) for k, x in inputs.device_part(batch).items()}


def _task(axis_name=None, **fields):
  task = tasks.build(_config(**fields), axis_name=axis_name)
  task = task._replace(predict=jax.jit(task.predict))
  variables = task.init(jax.random.key(0, impl="rbg"))
  # z's normalisation starts at zero, where fusion has nothing to learn.
  return task, jax.tree.map(lambda x: x + 0.1, variables)


def _loss(task, variables, batch):
  """Depends on every heatmap, and compiles sooner than anything that predicts."""
  total, weight, _ = jax.jit(task.loss)(variables, batch, jax.random.key(0))
  return float(total / weight)


def test_bgr_reverses_the_channels_the_network_sees():
  (right, variables), (parity, _) = _task(), _task(parity__bgr=True)
  batch = _batch()
  mirrored = batch | {"image": batch["image"][..., ::-1]}
  want = _loss(right, variables, batch)
  np.testing.assert_allclose(_loss(parity, variables, mirrored), want, rtol=1e-6)
  assert abs(_loss(parity, variables, batch) - want) > 1e-4 * want


def test_the_outermost_pixels_are_inside_the_image():
  """Of 32 px: joints at 0 and 31 have weight in the loss, half a pixel further they have none."""
  task, variables = _task(model__fusion__merge="none")
  batch = _batch()
  run = jax.jit(lambda batch: task.loss(variables, batch, jax.random.key(0))[1])
  batch = batch | {"crop": jnp.broadcast_to(jnp.eye(2, 3), batch["crop"].shape)}
  inside, outside = jnp.array([16.0, 16.0]), jnp.array([-9.0, 16.0])
  for u, counts in ((0.0, 1), (31.0, 1), (-0.5, 0), (31.5, 0)):
    for place in ((u, 16.0), (16.0, u)):
      uv = jnp.broadcast_to(outside, batch["joints_2d"].shape).at[0, 0, 0].set(inside)
      weight = run(batch | {"joints_2d": uv.at[0, 1, 1].set(jnp.array(place))})
      assert weight == 1 + counts, (place, weight)


@pytest.mark.parametrize("loss", ["joint", "mse"])
def test_a_joint_without_a_label_in_a_view_carries_no_loss(loss):
  """Whatever stands there, NaN included; the other views of the joint count as before."""
  task, variables = _task(train__loss=loss, heatmap__decode="peak", model__fusion__merge="none")
  batch = _batch()
  masked = batch | {"labelled": batch["labelled"].at[1, 2, 5].set(False)}
  run = jax.jit(jax.value_and_grad(lambda v, b: task.loss(v, b, jax.random.key(0))[0]))
  value, gradient = run(variables, masked)
  assert jnp.isfinite(value) and value < run(variables, batch)[0]
  spoilt = masked | {"joints_2d": masked["joints_2d"].at[1, 2, 5].set(jnp.nan)}
  again, same = run(variables, spoilt)
  assert again == value
  jax.tree.map(np.testing.assert_array_equal, gradient, same)


def test_weights_made_for_bgr_are_refused_elsewhere(tmp_path):
  (right, variables), (parity, _) = _task(), _task(parity__bgr=True)
  for name, task in (("right", right), ("parity", parity)):
    checkpointing.write_weights(tmp_path / name, weights=variables, meta=task.meta)
    checkpointing.restore_variables(tmp_path / name, variables, task.meta)
  with pytest.raises(ValueError, match=r"parity\.bgr: the checkpoint has True, .* the default"):
    checkpointing.restore_variables(tmp_path / "parity", variables, right.meta)
  with pytest.raises(ValueError, match=r"parity\.bgr: the checkpoint has the default, .* True"):
    checkpointing.restore_variables(tmp_path / "right", variables, parity.meta)


def test_the_shipped_checkpoint_is_of_its_config():
  folder = pathlib.Path(__file__).parents[3] / "epipolar_jax/shipped/synthetic_full"
  stored = json.loads((folder / "meta/metadata").read_text(encoding="utf-8"))
  meta = tasks.build(synthetic_full.get_config(), axis_name=None).meta
  checkpointing._check_meta(folder, stored, meta)
  for field in ("model__share_weights", "parity__lost_lines", "parity__late_source"):
    changed = not field.startswith("model")
    group, _, name = field.partition("__")
    config = synthetic_full.get_config()
    config[group][name] = changed
    with pytest.raises(ValueError, match=r"share_weights|lost_lines|late_source"):
      checkpointing._check_meta(folder, stored, tasks.build(config, axis_name=None).meta)


def test_multitest_keeps_the_most_confident_source_of_every_joint():
  single, variables = _task()
  multi, _ = _task(eval__multitest=True)
  batch = _batch()
  got = multi.predict(variables, batch)
  # Two cameras at a time leave no choice of source.
  found = {}
  for view in range(4):
    for other in range(4):
      if other != view:
        pair = {
          k: x[:, jnp.array([view, other])] if x.ndim > 1 and x.shape[1] == 4 else x
          for k, x in batch.items()
        }
        found[view, other] = single.predict(variables, pair)
  for view in range(4):
    ones = [found[view, other] for other in range(4) if other != view]
    score = np.stack([one["score"][:, 0] for one in ones])
    uv = np.stack([one["joints_2d"][:, 0] for one in ones])
    best = score.argmax(0)
    np.testing.assert_allclose(got["score"][:, view], score.max(0), rtol=1e-4)
    want = np.take_along_axis(uv, best[None, ..., None], 0)[0]
    clear = np.sort(score, 0)[-1] - np.sort(score, 0)[-2] > 1e-5
    np.testing.assert_allclose(got["joints_2d"][:, view][clear], want[clear], atol=1e-2)
  assert len(np.unique(best)) > 1, "all joints take the same source: nothing was tested"


def test_drawn_sources_are_a_function_of_the_step_on_any_number_of_devices():
  config = _config(model__fusion__sources="any", train__reprojection_weight=0.1)
  task, variables = _task(
    parallel.AXIS, **{"model__fusion__sources": "any", "train__reprojection_weight": 0.1}
  )
  optimizer = schedules.optimizer(config.optimizer, lambda step: 1e-3)
  step = train_step.make_train_step(task, optimizer, seed=5)
  state = train_state.create(variables, optimizer)
  losses = {}
  for devices in (1, 4):
    run = jax.pmap(
      step,
      axis_name=parallel.AXIS,
      in_axes=(None, 0),
      out_axes=0,
      devices=jax.devices()[:devices],
    )
    split = {k: x.reshape(devices, -1, *x.shape[1:]) for k, x in _batch().items()}
    losses[devices] = [
      float(run(state.replace(step=jnp.int32(i)), split)[1]["loss"][0]) for i in (0, 1, 0)
    ]
  np.testing.assert_allclose(losses[4], losses[1], rtol=1e-5)
  assert losses[1][0] == losses[1][2] != losses[1][1]


def _original_loss(name, per_joint, maps, targets, seen):
  """The original's criteria in float64 (metrics2d.py); maps [n j h w], seen [n j]."""
  square = (maps - targets) ** 2
  weight = seen[..., None, None]
  if name == "joint":
    value = (square * weight).mean((0, 2, 3)).sum()
    return value if per_joint else value / maps.shape[1]
  if name == "smooth_mse":
    value = (square * weight).mean((2, 3)).sum() / max(1, seen.sum())
  else:
    value = square.mean()
  return value * maps.shape[1] if per_joint else value


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize("name", ["joint", "smooth_mse", "mse"])
def test_losses_equal_the_originals_formulas(name, floor):
  rng = np.random.default_rng(0)
  uv = rng.uniform(-6, 38, (3, 2, 5, 2)).astype(np.float32)
  maps = rng.uniform(0, 1, (3, 2, 5, 8, 8)).astype(np.float32)
  seen = ((uv >= 0) & (uv <= 31)).all(-1)
  assert 0 < seen.mean() < 1
  target = functools.partial(
    heatmaps.gaussian_target, size_hw=(8, 8), stride=4, sigma=4.0, floor=floor
  )
  targets = np.asarray(jax.jit(jax.vmap(target))(uv.reshape(-1, 2)), np.float64).reshape(maps.shape)
  assert (targets.min() >= 0.0099) == floor
  for per_joint in (False, True):
    config = _config(train__loss=name, train__loss_per_joint=per_joint, parity__target_floor=floor)
    valid = np.array([True, True, False])
    loss = jax.jit(objective.heatmap_loss(config))
    known = np.broadcast_to(valid[:, None], (3, 5))
    total, weight = loss(maps, uv, seen & known[:, None], known)
    want = _original_loss(
      name,
      per_joint,
      maps[:2].reshape(-1, 5, 8, 8).astype(np.float64),
      targets[:2].reshape(-1, 5, 8, 8),
      seen[:2].reshape(-1, 5),
    )
    np.testing.assert_allclose(total / weight, want, rtol=1e-5)


def test_a_distribution_has_no_floor():
  with pytest.raises(ValueError, match="target_floor is for squared losses"):
    objective.heatmap_loss(_config(parity__target_floor=True))


def test_the_edge_aligned_peak_is_another_place():
  """What parity.edge_aligned changes in decoding; test_heatmaps compares both with golden."""
  maps = heatmaps.gaussian_target(jnp.array([18.0, 13.0]), size_hw=(16, 16), stride=4, sigma=8.0)
  decoders = [
    functools.partial(reconstruction.decoder, "peak", 2.0)(edge_aligned=edge)
    for edge in (False, True)
  ]
  (right, _), (parity, _) = (jax.jit(decode)(maps) for decode in decoders)
  assert 0.05 < np.abs(right - parity).max() < 4


def test_separate_networks_start_apart_and_equal_shared_ones_with_equal_weights():
  shared, variables = _task()
  apart, both = _task(model__share_weights=False)
  names = {"backbone", "source_backbone"}
  assert names <= set(both["params"]) and names <= set(both["batch_stats"])
  kinds = [jax.tree.structure(both["params"][name]) for name in sorted(names)]
  assert kinds[0] == kinds[1], "the original's two networks have the same tensors"
  differ = jax.tree.map(lambda a, b: bool((a != b).any()), *(both["params"][n] for n in names))
  assert differ["first"]["kernel"]
  twice = {group: tree | {"source_backbone": tree["backbone"]} for group, tree in variables.items()}
  want = _loss(shared, variables, _batch())
  np.testing.assert_allclose(_loss(apart, twice, _batch()), want, rtol=1e-6)
  assert abs(_loss(apart, both, _batch()) - want) > 1e-4 * want


@pytest.mark.parametrize("branches", [(), ("match",), ("value",), ("match", "value")])
def test_gradient_reaches_the_other_network_only_through_open_branches(branches):
  task, variables = _task(model__share_weights=False, model__fusion__other_grad=branches)

  def loss(params):
    total, weight, _ = task.loss(variables | {"params": params}, _batch(), jax.random.key(0))
    return total / weight

  gradient = jax.jit(jax.grad(loss))(variables["params"])
  reached = np.abs(gradient["source_backbone"]["first"]["kernel"]).max() > 0
  assert reached == bool(branches)
  assert np.abs(gradient["backbone"]["first"]["kernel"]).max() > 0


def _batch_stats_alone(config, variables, batches):
  """The statistics of each batch by itself, averaged."""
  alone = config.copy_and_resolve_references()
  alone.model.bn_momentum = 1.0
  loss = jax.jit(tasks.build(alone, axis_name=None).loss)
  stats = [loss(variables, batch, jax.random.key(0))[2] for batch in batches]
  return jax.tree.map(lambda *x: np.mean(x, axis=0), *stats)


def _halves():
  return [{k: x[i : i + 2] for k, x in _batch().items()} for i in (0, 2)]


def test_cumulative_statistics_are_means_over_all_steps():
  config = _config(model__bn_momentum=-1.0)
  task, variables = _task(parallel.AXIS, model__bn_momentum=-1.0)
  optimizer = schedules.optimizer(config.optimizer, lambda step: 0.0)
  step = train_step.make_train_step(task, optimizer, seed=0, cumulative_stats=True)
  run = jax.pmap(step, axis_name=parallel.AXIS, in_axes=(None, 0), devices=jax.devices()[:1])
  state = train_state.create(variables, optimizer)
  for batch in _halves():
    state, _ = run(state, {k: x[None] for k, x in batch.items()})
    state = jax.tree.map(lambda x: x[0], state)
  want = _batch_stats_alone(config, variables, _halves())
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    jax.device_get(state.variables["batch_stats"]),
    want,
  )


def test_recomputed_statistics_are_means_over_training_frames(monkeypatch):
  monkeypatch.setattr(datasets, "open_split", lambda config, split: dots.frames(4))
  # One frame a device: batches of four, of two different pairs of frames.
  config = _config(eval__recompute_bn_frames=4, eval__batch_size=4)
  _, variables = _task()
  got = batch_statistics.recompute(config, variables)
  assert got["params"].keys() == variables["params"].keys()
  want = _batch_stats_alone(config, variables, [_batch()])
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    jax.device_get(got["batch_stats"]),
    want,
  )
  config.eval.recompute_bn_frames = 3
  with pytest.raises(ValueError, match=r"eval\.recompute_bn_frames is 3, fewer than a batch"):
    batch_statistics.recompute(config, variables)


@pytest.mark.parametrize("merge", ["none", "heatmaps"])
def test_methods_that_use_matches_name_the_fusion_that_has_none(merge):
  config = dots.config()
  config.model.fusion.merge = merge
  config.eval.triangulation = "dlt,epipolar"
  with pytest.raises(ValueError, match=f"eval.triangulation 'epipolar' .* {merge!r}"):
    tasks.build(config, axis_name=None)


def test_a_skeleton_of_ones_own_shapes_the_network_its_checkpoint_and_the_table(tmp_path):
  path = tmp_path / "mouse.toml"
  path.write_text(
    'name = "mouse"\nsize_mm = 80\njoints = ["nose", "left_ear", "right_ear", "tail"]\n'
    'parents = ["tail", "nose", "nose", ""]\nflip_pairs = [["right_ear", "left_ear"]]\n'
  )
  config = _config(model__skeleton=str(path))
  task = tasks.build(config, axis_name=None)
  shapes = jax.eval_shape(task.init, jax.random.key(0))
  assert shapes["params"]["backbone"]["head"]["bias"].shape == (4,)
  assert task.meta["model"]["num_joints"] == 4
  assert task.meta["model"]["skeleton"]["joints"] == ["nose", "left_ear", "right_ear", "tail"]
  # Thresholds are shares of its size.
  truth = np.zeros((1, 4, 3), np.float32)
  found = {"joints_3d": truth + np.float32(2.0), "joint_valid": np.ones((1, 4), bool)}
  labels = {"joints_3d": truth, "labelled": np.ones((1, 4), bool)}
  mouse = skeletons.of_model(config.model)
  numbers = summaries.of_poses(found, labels, mouse)
  # Of 80 mm; all joints are 3.5 mm off.
  assert numbers["pck_3d_2mm_percent"] == 0 and numbers["pck_3d_4mm_percent"] == 100
  # A data set of 17 joints is another's.
  with pytest.raises(ValueError, match=r"joints_3d has 17 joints, model\.skeleton mouse has 4"):
    next(batches.eval_batches(config, dots.frames(1)))
