"""Trains the prior of poses for two cameras (`epipolar_jax.triangulation.body_prior`).

python -m data.synthetic.bake_prior runs/clothed_none --output weights.npz [--steps 14000]

The run is that of a network without fusion. Its errors on the training split are lent to people and
cameras that are simulated (`two_views`); three of ten poses are the split's own, as the network saw
them. The validation split says how large the errors of the result are, and the splits of
`eval.splits` what it is worth beside plain triangulation.
"""

import argparse
import pathlib
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from data.synthetic import two_views
from epipolar_jax import predicting
from epipolar_jax.evaluation import driver
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.runtime import parallel
from epipolar_jax.triangulation import body_network, body_prior, methods
from epipolar_jax.triangulation.views import Views

_SKELETON = body_prior.SKELETON
_FLIP = np.array(_SKELETON.flip_order)
_LIMBS = ("hip", "kne", "ank", "sho", "elb", "wri")
# Joints that COCO has, too: detectors of it see no others.
_COCO = np.array([name[1:] in _LIMBS for name in _SKELETON.joints])
_COCO[_SKELETON.index("nose")] = True
_WIDTH, _BLOCKS = 384, 3
_REAL = 0.3  # share of poses that the network saw
_LOGGED = 250  # steps
_LEVEL = 0.683


def objective(params: body_network.Params, pairs: two_views.Pairs, seen: jax.Array) -> jax.Array:
  """Mean distance in units of 50 mm, and the surprise at it of a t distribution; [] to minimise.

  Joints that not both views see count a fifth.
  """
  scene = pairs.xy, pairs.score, seen, pairs.rotation, pairs.centres
  points, covariance = body_network.predict(params, *scene)
  off = points - pairs.joints
  distance = jnp.sqrt(jnp.sum(off * off, axis=-1) + 1e-6)
  least = jnp.broadcast_to(9e-6 * jnp.eye(3), covariance.shape)
  precision, volume = body_network.inverse(covariance + least)
  ratio = jnp.einsum("nja,njab,njb->nj", off, precision, off)
  surprise = 3.5 * jnp.log1p(ratio / 4.0) + 0.5 * jnp.log(volume)
  weight = jnp.where(seen.all(axis=1), 1.0, 0.2)
  return jnp.mean(weight * (distance / 0.05 + 0.1 * surprise))


def varied(pairs: two_views.Pairs, key: jax.Array) -> tuple[two_views.Pairs, jax.Array]:
  """Pairs with scores on other scales, half of them mirrored; and which joints each view sees."""
  keys = jax.random.split(key, 5)
  number = len(pairs.xy)
  score = pairs.score ** jnp.exp(0.4 * jax.random.normal(keys[0], (number, 1, 1)))
  coco = jax.random.uniform(keys[1], (number, 1, 1)) < 0.2
  gaps = jax.random.uniform(keys[2], (number, 1, 1)) < 0.15
  gone = gaps & (jax.random.uniform(keys[3], score.shape) < 0.2)
  seen = ~(coco & ~_COCO[None, None]) & ~gone
  scene = pairs.xy, score, seen, pairs.rotation, pairs.centres
  joints = pairs.joints[:, _FLIP] * np.array([1.0, -1.0, 1.0], np.float32)[None, None]
  flip = jax.random.uniform(keys[4], (number,)) < 0.5

  def either(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.where(flip.reshape(-1, *[1] * (a.ndim - 1)), b, a)

  xy, score, seen, rotation, centres = map(either, scene, body_network.mirrored(*scene))
  return two_views.Pairs(xy, score, rotation, centres, either(pairs.joints, joints)), seen


def train(
  simulate: Callable[[jax.Array, int], two_views.Pairs],
  real: two_views.Pairs,
  *,
  steps: int,
  batch: int,
  seed: int,
  width: int = _WIDTH,
  blocks: int = _BLOCKS,
  tell: Callable[[int, float], None] = lambda step, loss: None,
) -> body_network.Params:
  """Trains.

  Args:
    simulate: of `two_views.simulator`.
    real: of a network's own views.
    steps: of the optimiser.
    batch: poses a step.
    seed: of everything.
    width, blocks: of the network.
    tell: called with step and mean loss every 250 steps and at the end.
  """
  key, start = jax.random.split(jax.random.key(seed))
  params = body_network.init(start, width=width, blocks=blocks)
  rate = optax.warmup_cosine_decay_schedule(0.0, 1e-3, min(500, steps // 4 + 1), steps + 1, 1e-5)
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-2))
  real = two_views.Pairs(*map(jnp.asarray, real))
  own = round(_REAL * batch)

  def step(carry, key):
    params, state = carry
    keys = jax.random.split(key, 3)
    row = jax.random.randint(keys[0], (own,), 0, len(real.xy))
    drawn = simulate(keys[1], batch - own)
    pairs = two_views.Pairs(*(jnp.concatenate([a, b[row]]) for a, b in zip(drawn, real)))
    loss, slope = jax.value_and_grad(objective)(params, *varied(pairs, keys[2]))
    update, state = optimizer.update(slope, state, params)
    return (optax.apply_updates(params, update), state), loss

  many = jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys))
  carry = params, optimizer.init(params)
  for first in range(0, steps, _LOGGED):
    last = min(first + _LOGGED, steps)
    carry, losses = many(carry, jax.random.split(jax.random.fold_in(key, first), last - first))
    tell(last, float(losses.mean()))
  return jax.tree.map(np.asarray, carry[0])


def scale_of(params: body_network.Params, pairs: two_views.Pairs) -> float:
  """By what standard deviations are to be multiplied for 68 % of the coordinates within one."""
  found, covariance = _found(params, pairs)
  sigma = np.sqrt(np.einsum("njaa->nja", covariance))
  return float(np.quantile(np.abs(found - pairs.joints) / sigma, _LEVEL))


def _found(params, pairs: two_views.Pairs) -> tuple[np.ndarray, np.ndarray]:
  """Points [n, j, 3], m, and covariances of pairs all of whose joints are seen."""
  seen = jnp.ones(pairs.score.shape, bool)
  scene = pairs.xy, pairs.score, seen, pairs.rotation, pairs.centres
  found, covariance = body_network.symmetric(params, *map(jnp.asarray, scene))
  return np.asarray(found, np.float64), np.asarray(covariance, np.float64)


def _plain(pairs: two_views.Pairs, method: str) -> np.ndarray:
  """Joints [n, j, 3], m, by a method of triangulation."""
  k = jnp.broadcast_to(jnp.diag(jnp.array([500.0, 500.0, 1.0])), pairs.rotation.shape)
  translation = -jnp.einsum("nvab,nvb->nva", pairs.rotation, 1000.0 * pairs.centres)
  views = Views(500.0 * pairs.xy, pairs.score, Cameras(k, pairs.rotation, translation))
  return np.asarray(methods.make(method)(views).points) / 1000.0


def main(arguments: Sequence[str] | None = None) -> None:
  """Simulates, trains, judges and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("run", help="run folder or checkpoint of a network without fusion")
  parser.add_argument("--output", type=pathlib.Path, required=True, help="the weights, .npz")
  parser.add_argument("--data_dir", type=pathlib.Path, help="where data sets are; the run's own")
  parser.add_argument("--steps", type=int, default=14_000)
  parser.add_argument("--batch", type=int, default=512)
  parser.add_argument("--poses", type=int, default=100_000, help="that are simulated")
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args(arguments)
  try:
    _run(options)
  except (OSError, ValueError) as error:
    raise SystemExit(str(error)) from error


def _run(options: argparse.Namespace) -> None:
  model = predicting.load(options.run)
  config = ml_collections.ConfigDict(model.config)
  if model.skeleton.joints != _SKELETON.joints or config.data.name != "synthetic":
    raise ValueError(f"{options.run}: it should be of synthetic people with {_SKELETON.name}")
  if options.data_dir is not None:
    config.data.dir = str(options.data_dir)
  config.data.synthetic.validation_frames = 160
  config.eval.update(num_images=0, triangulation="dlt", views="")
  predict, variables = driver.make_predict(config), parallel.replicate(model.variables)
  started = time.monotonic()

  def said(text: str) -> None:
    print(f"{(time.monotonic() - started) / 60:6.1f} min  {text}", flush=True)

  def of_split(split: str):
    return driver.collect(config, predict, variables, split)[:2]

  seen = of_split("train")
  rng = np.random.default_rng([options.seed, 1])
  joints = two_views.poses(options.poses, "train", rng)
  said(f"{len(joints)} poses")
  cameras = two_views.cameras(len(joints), rng)
  simulate = two_views.simulator(joints, *cameras, two_views.errors_of(*seen))
  said("simulated")
  params = train(
    simulate,
    two_views.pairs_of(*seen),
    steps=options.steps,
    batch=options.batch,
    seed=options.seed,
    tell=lambda step, loss: said(f"step {step}: loss {loss:.3f}"),
  )
  scale = scale_of(params, two_views.pairs_of(*of_split("validation")))
  body_prior.BodyPrior(params, scale).write(options.output)
  print(f"Wrote {options.output}. All pairs of cameras, MPJPE in mm:")
  for split in config.eval.splits:
    pairs = two_views.pairs_of(*of_split(split))
    found = {"dlt": _plain(pairs, "dlt"), "robust": _plain(pairs, "robust")}
    found["prior"] = _found(params, pairs)[0]
    off = {name: np.linalg.norm(x - pairs.joints, axis=-1).mean() for name, x in found.items()}
    print(f"{split:<18}" + "".join(f"  {name} {1000 * x:6.1f}" for name, x in off.items()))


if __name__ == "__main__":
  main()
