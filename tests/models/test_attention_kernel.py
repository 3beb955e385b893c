"""The Pallas kernels: each alone against numpy, and that they become Triton code for CUDA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, sharding

from epipolar_jax.models import attention
from epipolar_jax.models.attention import kernel


def test_kernels_and_their_gradients():
  """Sizes that are no powers of two, and an index that comes twice."""
  rng = np.random.default_rng(0)
  query, rows = rng.normal(size=(3, 6)), rng.normal(size=(7, 6))
  factors, index = rng.normal(size=(3, 5)), rng.integers(0, 7, (3, 5))
  index[:, 1] = index[:, 0]
  query, rows, factors = (x.astype(np.float32) for x in (query, rows, factors))
  index = jnp.asarray(index, jnp.int32)

  def dots(query, rows):
    return jnp.einsum("pc,pnc->pn", query, rows[index], precision="highest")

  def sums(factors, rows):
    return jnp.einsum("pn,pnc->pc", factors, rows[index], precision="highest")

  for ours, plain, own in ((kernel._dots, dots, query), (kernel._sums, sums, factors)):
    found, back = jax.vjp(lambda own, rows, f=ours: f(own, rows, index), own, rows)
    expected, expected_back = jax.vjp(plain, own, rows)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    bar = jnp.cos(expected)
    for one, other in zip(back(bar), expected_back(bar)):
      np.testing.assert_allclose(one, other, atol=1e-5)


# From jax 0.12 on: Pallas will drop Triton one day, and the kernel has to move to Mosaic then.
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
def test_lowers_to_triton_for_cuda():
  """Both passes at the paper's shape; nothing is run."""

  def loss(query, key, samples, valid):
    seen = attention.epipolar_attention(query, key, None, samples, valid, algorithm="kernel")
    return jnp.sum(seen.out)

  shapes = ((64, 64, 256), (64, 64, 256), (64 * 64, 64, 2))
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  inputs.append(jax.ShapeDtypeStruct((64 * 64,), bool))
  device = sharding.AbstractDevice("NVIDIA H100 80GB HBM3", None, "gpu")
  mesh = sharding.AbstractMesh((1,), ("device",), abstract_device=device)
  with sharding.use_abstract_mesh(mesh):
    lowered = export.export(
      jax.jit(jax.value_and_grad(loss, (0, 1))),
      platforms=["cuda"],
      # Triton code has no promise of compatibility; this file is not kept.
      disabled_checks=[export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")],
    )(*inputs)
  # Similarities and output; then the gradients of the weights, and of the query.
  assert lowered.mlir_module().count("custom_call @__gpu$xla.gpu.triton") == 4
