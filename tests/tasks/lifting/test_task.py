"""Lifting tasks as a system: labels, every task trains a step, views agree in the world, flips."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import lifting_direct_h36m, lifting_direct_rhd, lifting_h36m
from epipolar_jax import checkpointing, skeletons, tasks
from epipolar_jax.inputs import lifting as inputs
from epipolar_jax.inputs import multiview
from epipolar_jax.tasks import task
from epipolar_jax.tasks.lifting import network, poses, views
from epipolar_jax.training import loop
from tests import dots, hands


def _config(task, *, lifter="original", people=True):
  config = (lifting_direct_h36m if people else lifting_direct_rhd).get_config()
  config.task = task
  config.lifting.update({"lifter": lifter, "width": 32, "heatmap_size": 64})
  config.model.update({"backbone_depth": 18, "width": 0.125, "deconv_channels": 16})
  config.model.fusion.num_samples = 8
  config.data.update({"image_size": 64, "num_threads": 1})
  return config


def _batch(config, *, train=False, count=2):
  people = config.model.skeleton == "h36m_17"
  source = dots.frames(count) if people else hands.frames(count)
  load = inputs.loader(config, train=train)
  batches = multiview.eval_batches(source, size=64, batch_size=count, num_threads=1, load=load)
  return multiview.device_part(next(batches))


_TASKS = [(name, "original", True) for name in network.KINDS] + [
  ("keypoint_lifting_rot", "residual", True),
  ("lifting_rot", "original", False),
  ("lifting_direct", "residual", False),
]


@pytest.mark.parametrize(("name", "lifter", "people"), _TASKS)
def test_every_task_has_a_loss_and_says_where_joints_are(name, lifter, people):
  config = _config(name, lifter=lifter, people=people)
  config.lifting.loss = "l1" if lifter == "residual" else "mse"
  if name.startswith("multiview"):
    config.model.fusion.merge = "late"
  task = tasks.build(config, axis_name=None)
  batch = _batch(config)
  # Shapes only: the networks are compiled elsewhere.
  variables = jax.eval_shape(task.init, jax.random.key(0))
  total, weight, stats = jax.eval_shape(task.loss, variables, batch, jax.random.key(1))
  assert total.shape == weight.shape == ()
  assert jax.tree.structure(stats) == jax.tree.structure(variables["batch_stats"])
  out = jax.eval_shape(task.predict, variables, batch)
  views, joints = (4, 17) if people else (1, 21)
  expected = {"canonical"} if network.KINDS[name].canonical else {"camera"}
  if network.KINDS[name].viewpoint:
    expected |= {"camera"}
  assert {k for k in out if k in ("camera", "canonical")} == expected
  for key in expected:
    assert out[key].shape == out[f"{key}_truth"].shape == (2, views, joints, 3)
  assert ("world" in out) == ("camera" in expected)


def test_labels_of_all_views_agree_in_the_world():
  example = dots.frames(1)[0]
  frame = poses.frame_of(skeletons.H36M_17)
  describe = jax.jit(jax.vmap(functools.partial(poses.describe, frame=frame), (None, 0)))
  truth = describe(example["joints_3d"], task.cameras(example))
  relative = example["joints_3d"] - example["joints_3d"][0]
  scale = np.linalg.norm(relative[8])
  np.testing.assert_allclose(truth.scale, scale, rtol=1e-4)
  world = np.einsum("vja,vab->vjb", truth.camera, example["rotation"]) * scale
  np.testing.assert_allclose(world, np.broadcast_to(relative, world.shape), atol=0.1)
  # The pose's own frame does not depend on who looks.
  np.testing.assert_allclose(
    truth.canonical, np.broadcast_to(truth.canonical[:1], truth.canonical.shape), atol=1e-3
  )
  assert np.abs(np.asarray(truth.canonical)[0, 4, 2]) < 1e-4


def test_joints_are_normalised_as_a_turned_camera_sees_them():
  """Moving the crop over the image changes the turn; with it undone, the rays are the same."""
  rng = np.random.default_rng(0)
  points = rng.normal(0, 0.2, (17, 3)) + np.array([0.3, -0.2, 4.0])
  rays = []
  for shift in (0.0, 20.0):
    intrinsics = np.array([[200.0, 0, 20 + shift], [0, 200.0, 40 - shift], [0, 0, 1]])
    uv = points @ intrinsics.T
    uv = uv[:, :2] / uv[:, 2:]
    shown, turn = views.normalise(
      jnp.asarray(uv), jnp.ones(17, bool), jnp.asarray(intrinsics, jnp.float32), size=64
    )
    half = np.exp(shown[-1])
    flat = np.concatenate([shown[:34].reshape(17, 2) * half, np.ones((17, 1))], 1)
    rays.append(flat @ np.asarray(turn))
    assert np.abs(shown[:34]).max() < 2.0 and np.all(shown[34:51] == 1.0)
    # Doubts are told beside the coordinates; what is not visible is zero.
    weight = jnp.full(17, 0.3).at[2].set(0.0)
    doubted, _ = views.normalise(
      jnp.asarray(uv), weight, jnp.asarray(intrinsics, jnp.float32), size=64
    )
    np.testing.assert_array_equal(doubted, shown.at[4:6].set(0.0).at[34:51].set(weight))
  a, b = (r / np.linalg.norm(r, axis=1, keepdims=True) for r in rays)
  np.testing.assert_allclose(a, b, atol=1e-5)
  np.testing.assert_allclose(a, points / np.linalg.norm(points, axis=1, keepdims=True), atol=1e-5)


def test_mirrored_hands_come_back_mirrored():
  """With flip, both hands look alike in their own frame, and the camera's frame is untouched."""
  out = {}
  for flip in (False, True):
    config = _config("lifting_rot", people=False)
    config.lifting.flip = flip
    task = tasks.build(config, axis_name=None)
    variables = task.init(jax.random.key(0))
    out[flip] = jax.device_get(jax.jit(task.predict)(variables, _batch(config, count=2)))
  np.testing.assert_array_equal(out[True]["camera_truth"], out[False]["camera_truth"])
  left, right = out[True]["canonical_truth"] - out[False]["canonical_truth"]
  assert np.abs(left).max() == 0 and np.abs(right[..., :2]).max() == 0
  np.testing.assert_allclose(
    out[True]["canonical_truth"][1, ..., 2], -out[False]["canonical_truth"][1, ..., 2]
  )
  assert out[True]["rotation_error_deg"].shape == (2, 1)


def test_the_residual_lifter_deduces_the_viewpoint_from_both_poses():
  """It tells the pose in two frames; the rotation is the one between them, mirrored hands too."""
  config = _config("lifting_rot", lifter="residual", people=False)
  config.lifting.update({"loss": "l1", "flip": True})
  task = tasks.build(config, axis_name=None)
  batch = _batch(config)
  out = jax.device_get(jax.jit(task.predict)(task.init(jax.random.key(0)), batch))
  for i, side in enumerate(batch["hand_side"]):
    turns = []
    for end in ("", "_truth"):
      own, camera = out[f"canonical{end}"][i, 0], out[f"camera{end}"][i, 0]
      own = own * np.array([1, 1, -1]) if side else own
      # Kabsch.
      u, _, v = np.linalg.svd((own - own.mean(0)).T @ (camera - camera.mean(0)))
      turns.append(u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v)
    angle = np.degrees(np.arccos((np.trace(turns[0] @ turns[1].T) - 1) / 2))
    assert out["rotation_error_deg"][i, 0] == pytest.approx(angle, abs=0.05)


def test_heatmaps_of_the_original_exchange_rows_and_columns():
  draw = functools.partial(
    views.joint_heatmaps,
    image_size=64,
    map_size=32,
    sigma=4.0,
    visible=jnp.array([True, False]),
  )
  uv = jnp.array([[40.0, 20.0], [1.0, 1.0]])
  for layout, peak in (("crop", (10, 20)), ("original", (10, 5))):
    maps = np.asarray(draw(uv, layout=layout))
    assert np.unravel_index(maps[..., 0].argmax(), (32, 32)) == peak
    assert maps[..., 0].min() == pytest.approx(0.01) and not maps[..., 1].any()
  with pytest.raises(ValueError, match=r"lifting.heatmap_layout is 'x'; allowed: crop, original"):
    draw(uv, layout="x")


def test_training_draws_views_and_leaves_images_at_home():
  config = _config("lifting_direct")
  load = inputs.loader(config, train=True)
  example, rng = dots.frames(1)[0], np.random.default_rng(0)
  nothing = loop.inputs.augmentation(config.data)
  frames = [load(example, nothing, rng, size=64) for _ in range(20)]
  assert all("image" not in f and f["rotation"].shape == (1, 3, 3) for f in frames)
  drawn = {
    int(np.argmin([np.abs(f["rotation"][0] - r).max() for r in example["rotation"]]))
    for f in frames
  }
  assert drawn == {0, 1, 2, 3}
  config.lifting.train_views = 5
  with pytest.raises(ValueError, match=r"lifting.train_views is 5; the data set has 4 views"):
    inputs.loader(config, train=True)(example, nothing, rng, size=64)
  config.data.flip_probability = 0.5
  with pytest.raises(ValueError, match=r"data.flip_probability is 0.5; lifting tasks need 0"):
    inputs.loader(config, train=True)


def test_hands_are_cut_around_their_joints():
  config = _config("lifting_direct", people=False)
  batch = _batch(config, count=4)
  uv = np.einsum("bvca,bvja->bvjc", batch["crop"][..., :2], batch["joints_2d"])
  uv = uv + batch["crop"][:, :, None, :, 2]
  assert (uv[batch["visible"]] > -1).all() and (uv[batch["visible"]] < 65).all()
  np.testing.assert_allclose(uv[:, 0, 12], 32.0, atol=1e-3)
  example = hands.frames(1)[0]
  np.testing.assert_allclose(
    batch["joints_3d"][0, 0], (example["joints_3d"][0] + example["joints_3d"][12]) / 2, rtol=1e-5
  )
  assert batch["hand_side"].tolist() == [0, 1, 0, 1]


def test_a_short_run_learns_and_evaluates(tmp_path, monkeypatch):
  """lifting_direct with hands through the real loop: better than at the start, and all logs."""
  source = hands.frames(32)
  monkeypatch.setattr(loop.inputs.datasets, "open_split", lambda config, split: source)
  config = _config("lifting_direct", lifter="residual", people=False)
  config.lifting.update({"loss": "l1", "width": 64, "dropout": 0.0})
  config.lifting.update({"joint_noise": 0.0, "center_noise": 0.0, "offset_noise": 0.0})
  config.optimizer.update({"learning_rate": 3e-3, "schedule": "cosine"})
  config.train.update({"batch_size": 16, "num_epochs": 60.0, "eval_epochs": 30.0, "log_steps": 20})
  config.eval.update({"batch_size": 16, "num_images": 2})
  state, complete = loop.train(config, tmp_path)
  assert complete and int(state.step) == 120
  task = tasks.build(config, axis_name=None)
  template = jax.eval_shape(task.init, jax.random.key(0))
  restored, _ = checkpointing.restore_variables(checkpointing.newest(tmp_path), template, task.meta)
  jax.tree.map(np.testing.assert_array_equal, restored, jax.device_get(state.variables))
  result = loop.driver.report(config, restored, step=120, output=tmp_path / "eval.json")
  assert result["validation"]["epe_mm"] < 0.6 * result["validation"]["mean_pose_epe_mm"]
  assert (tmp_path / "eval_validation.png").stat().st_size > 5_000
  (events,) = (tmp_path / "tensorboard").glob("events.*")
  logged = events.read_bytes()
  assert b"eval/predictions" in logged and b"\x89PNG" in logged


def test_wrong_options_teach():
  config = lifting_h36m.get_config("residual")
  config.task = "img_lifting_rot"
  with pytest.raises(ValueError, match="choose task keypoint_lifting_rot"):
    tasks.build(config, axis_name=None)
  config = _config("lifting")
  config.lifting.loss = "l7"
  with pytest.raises(ValueError, match=r"lifting.loss is 'l7'; allowed: l1, mse"):
    tasks.build(config, axis_name=None)
