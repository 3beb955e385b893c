"""`--prior body`: two cameras with it, and what is refused before any work."""

import numpy as np
import pytest

from data.synthetic import two_views
from epipolar_jax import __main__ as command
from epipolar_jax.keypoints import writing
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.motion import files
from epipolar_jax.triangulation import body_prior
from tests import walkers

_JOINTS = body_prior.SKELETON.joints


@pytest.fixture
def recorded(tmp_path):
  """Writes poses before a ring of cameras; returns the arguments of `triangulate`."""

  def write(cameras, joints=_JOINTS):
    rig = walkers.ring(cameras)
    rng = np.random.default_rng(1)
    truth = 1000.0 * two_views.poses(6, "test", rng)[:, None] + [0.0, 0.0, 900.0]
    x = np.einsum("vab,fpjb->fpvja", rig.cameras.rotation, truth)
    x += rig.cameras.translation[:, None]
    uv = np.einsum("vab,fpvjb->fpvja", rig.cameras.intrinsics, x / x[..., 2:])[..., :2]
    uv += rng.normal(0, 3.0, uv.shape)
    seen = Observations(uv, np.full(uv.shape[:-1], 0.9), joints, rig.names)
    writing.write(tmp_path / "seen.npz", seen, "plain npz")
    rig.write(tmp_path / "rig.json")
    given = ["triangulate", "--keypoints", str(tmp_path / "seen.npz"), "--out", str(tmp_path)]
    return [*given, "--cameras", str(tmp_path / "rig.json"), "--trust_names"], truth

  return write


def test_two_cameras_with_and_without(recorded, tmp_path, capsys):
  arguments, truth = recorded(2)
  assert command.main(arguments) == 0
  plain = files.read(tmp_path / "joints.npz")[0]
  assert "Body prior" not in capsys.readouterr().out
  assert command.main([*arguments, "--prior", "body"]) == 0
  assert "Body prior: 102 of 102 joints, moved by" in capsys.readouterr().out
  found = files.read(tmp_path / "joints.npz")[0]
  assert found.valid.all() and not np.array_equal(found.points, plain.points)
  off = [np.linalg.norm(x.points - truth, axis=-1).mean() for x in (plain, found)]
  assert off[1] < 1.2 * off[0]


def test_more_cameras_methods_and_animals_are_refused(recorded, capsys):
  arguments, _ = recorded(3)
  assert command.main([*arguments, "--prior", "body"]) == 2
  assert "the body prior is for two cameras, and there are 3" in capsys.readouterr().err
  arguments, _ = recorded(2)
  assert command.main([*arguments, "--prior", "body", "--method", "dlt"]) == 2
  assert "--prior takes the place of --method dlt" in capsys.readouterr().err
  arguments, _ = recorded(2, tuple(f"paw{i}" for i in range(17)))
  assert command.main([*arguments, "--prior", "body"]) == 2
  assert "needs hips and shoulders: there is no rhip" in capsys.readouterr().err
