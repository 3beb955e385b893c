"""The fusion layer against golden files of the original (modeling/layers/epipolar.py Epipolar)."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.geometry import epipolar
from epipolar_jax.models import attention
from epipolar_jax.models.fusion import features as feature_fusion
from epipolar_jax.models.fusion import lines
from tests import golden_files

_BRANCHES = {"other1": "match", "other2": "value"}


@pytest.fixture(scope="module")
def golden():
  inputs, cases = golden_files.load("attention_inputs"), {}
  more = golden_files.load("attention_more")
  for key, array in (golden_files.load("attention_cases") | more).items():
    case, slash, name = key.partition("/")
    if slash:
      cases.setdefault(case, {})[name] = array
  return inputs | {name: more[name] for name in ("white1", "white2", "steps64")}, cases


def _nhwc(x):
  return jnp.asarray(np.asarray(x).transpose(0, 2, 3, 1))


def _layer(flags, **overrides):
  def get(name, default=None):
    return flags.get(f"EPIPOLAR.{name}", default)

  prior = "none"
  if get("PRIOR"):
    prior = "multiply" if get("PRIORMUL") else "add"
  options = attention.Options(
    attention=get("ATTENTION", "avg"),
    similarity=get("SIMILARITY", "dot"),
    softmax=get("SOFTMAX_ENABLED", True),
    pooling=get("POOLING", False),
    prior=prior,
    zero_means_outside=True,
  )
  return feature_fusion.EpipolarFusion(
    num_samples=get("SAMPLESIZE"),
    options=options,
    prior_views=4,
    embeddings=tuple(get("PARAMETERIZED")),
    bottleneck=get("BOTTLENECK", 1),
    z_residual=get("ZRESIDUAL"),
    other_grad=tuple(_BRANCHES[name] for name in get("OTHER_GRAD", _BRANCHES)),
    **overrides,
  )


def _variables(case, prior):
  params, stats = {}, {}
  for name, array in case.items():
    if not name.startswith("param."):
      continue
    _, module, leaf = name.split(".")
    if leaf.startswith("running"):
      stats.setdefault(module, {})[leaf.removeprefix("running_")] = array
    else:
      ours = {"weight": "scale" if module == "bn" else "kernel"}.get(leaf, leaf)
      array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
      params.setdefault(module, {})[ours] = array
  if prior is not None:
    k = prior.shape[0]
    table = np.zeros((4, 4, prior[0].size, k), np.float32)
    table[3, 1] = prior.reshape(k, -1).T
    params["prior"] = table
  return {"params": params, "batch_stats": stats}


def _run(golden, name, **overrides):
  """Output, weights, matches and gradients of sum(out · w) with the stored samples."""
  inputs, cases = golden
  case = cases[name]
  flags = json.loads(str(case["flags"]))
  train = flags["bn"] == "train"
  pairs = slice(0, 2) if train else slice(1, 2)
  layer = _layer(flags, **overrides)
  steps = inputs["steps64" if flags["EPIPOLAR.SAMPLESIZE"] == 64 else "steps"]
  samples = inputs["start"][:, :, None] + inputs["vec"][:, :, None] * steps[:, None]
  samples = ((samples - 1.5) / 4)[pairs].astype(np.float32)
  kind = flags["feats"][0][:-1]

  def pick(x):
    return _nhwc(x if x.shape[0] == 1 else x[pairs])

  features = pick(inputs[kind + "1"]), pick(inputs[kind + "2"])
  weight = pick(inputs["w"])
  prior = case.get("prior", cases["priormul"]["prior"]) if flags.get("EPIPOLAR.PRIOR") else None
  extra = feature_fusion.Extra(pair=jnp.array([[3, 1]]))
  valid = np.ones(samples.shape[:2], bool)

  def loss(params, reference, source, stats):
    (out, seen, _), _ = layer.apply(
      {"params": params, "batch_stats": stats},
      reference,
      source,
      samples,
      valid,
      extra,
      train=train,
      mutable=["batch_stats"],
    )
    return jnp.sum(out * weight), (out, seen)

  variables = _variables(case, prior)
  differentiate = any("grad" in key for key in case)
  run = jax.value_and_grad(loss, (0, 1, 2), has_aux=True) if differentiate else loss
  run = jax.jit(run)
  result = run(variables["params"], *features, variables["batch_stats"])
  (_, (out, seen)), gradients = result if differentiate else (result, None)
  match = attention.match(jnp.asarray(samples), seen.best)
  return case, np.asarray(out).transpose(0, 3, 1, 2), seen, match, gradients


def _cut(ours, golden):
  """The pixels [n, c, h, w] that the golden file keeps: all or every second one."""
  step = ours.shape[-1] // golden.shape[-1]
  return ours[..., ::step, ::step]


@pytest.mark.parametrize(
  "name",
  [
    "main_z_zres_train",
    "avg_dot_relu",
    "avg_cos",
    "max_grads",
    "param4_bottleneck2_pooling",
    "priormul",
    "prior",
    "softmax_off",
    "othergrad_other1",
    "avg_dot_noz",
    "avg_dot_white",
    "main_S64",
    "param4_bottleneck1",
    "similarity_prior",
    "z_nores_eval",
    "z_nores_train",
  ],
)
def test_equals_golden_epipolar_forward(golden, name):
  case, out, seen, match, gradients = _run(golden, name)
  if "finalout" in case:
    # Measured 3e-6 (softmax_off, values to 100: 2e-5).
    np.testing.assert_allclose(_cut(out, case["finalout"]), case["finalout"], atol=2e-5, rtol=1e-6)
  if "depth" in case:
    weights = np.asarray(seen.weights).reshape(1, 32, 32, -1).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(weights[:, :, ::4, ::4], case["depth"], atol=1e-6)
  if "match" in case:
    np.testing.assert_allclose(match, case["match"].reshape(1, 1024, 2), atol=1e-3)
  for index, key in ((1, "grad_feat1"), (2, "grad_feat2")):
    if key in case:
      got = np.asarray(gradients[index]).transpose(0, 3, 1, 2)
      np.testing.assert_allclose(_cut(got, case[key]), case[key], atol=3e-5)
  if "grad_z.weight" in case:
    kernel = np.asarray(gradients[0]["z"]["kernel"]).transpose(3, 2, 0, 1)
    np.testing.assert_allclose(kernel, case["grad_z.weight"], rtol=1e-4, atol=5e-4)
    np.testing.assert_allclose(gradients[0]["bn"]["scale"], case["grad_bn.weight"], rtol=1e-4)
  if "grad_prior" in case:
    table = np.asarray(gradients[0]["prior"][3, 1]).T.reshape(-1, 32, 32)
    np.testing.assert_allclose(table[::4], case["grad_prior"], atol=1e-5)


@pytest.mark.parametrize(
  "algorithm, sampling, key",
  [
    ("dense", "exact", "finalout"),
    ("gather", "legacy_align", "legacy_align"),
    ("blocks", "correct_noalign", "correct_noalign"),
  ],
)
def test_main_layer_equals_golden_in_every_algorithm_and_misplacement(
  golden, algorithm, sampling, key
):
  case, out, _, match, _ = _run(golden, "main_z_zres_eval", algorithm=algorithm, sampling=sampling)
  np.testing.assert_allclose(out, case[key], atol=2e-5)
  if key == "correct_noalign":
    match = np.asarray(match).reshape(1, 32, 32, 2)[:, ::4, ::4]
    np.testing.assert_allclose(match, case["noalign_match"], atol=1e-3)


def test_lines_of_a_map_that_is_not_square():
  """Pixels in row order, lines clipped to 9 columns and 5 rows."""
  matrix = jnp.asarray([[0.0, 0.02, -0.1], [-0.02, 0.0, 0.3], [0.1, -0.3, 0.0]])
  samples, valid = lines.sample_lines(matrix, size_hw=(5, 9), num_samples=6)
  assert samples.shape == (45, 6, 2) and valid.mean() > 0.5
  points = jnp.array([[u, v] for v in range(5) for u in range(9)], jnp.float32)
  one = functools.partial(epipolar.sample_line, size_wh=(9, 5), num_samples=6)
  want, hit = jax.jit(jax.vmap(one, (0, None)))(points, matrix)
  np.testing.assert_array_equal(valid, hit)
  np.testing.assert_allclose(samples, want, atol=1e-5)
  inside = np.asarray(samples)[np.asarray(valid)]
  assert inside[..., 0].max() > 6 and inside[..., 1].max() <= 4.001


def test_misplaced_samples_of_a_map_that_is_not_square():
  """By hand, 8 wide and 4 high: (u + 1/2) (w - 1) / w and u w / (w - 1) - 1/2."""
  samples = jnp.array([[3.5, 1.5], [0.0, 0.0]])
  aligned = lines.misplace(samples, (4, 8), "legacy_align")
  np.testing.assert_allclose(aligned, [[3.5, 1.5], [0.4375, 0.375]], rtol=1e-6)
  edges = lines.misplace(samples, (4, 8), "correct_noalign")
  np.testing.assert_allclose(edges, [[3.5, 1.5], [-0.5, -0.5]], rtol=1e-6)
  np.testing.assert_allclose(
    lines.misplace(jnp.array([7.0, 3.0]), (4, 8), "legacy_align"), [6.5625, 2.625], rtol=1e-6
  )
