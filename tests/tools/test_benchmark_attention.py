"""The attention suite: what it compares is the same thing."""

import jax.numpy as jnp
import numpy as np
import pytest

from epipolar_jax.models import attention as attention_lib
from epipolar_jax.tools.benchmark import attention


@pytest.fixture
def small(monkeypatch):
  for name, value in {"_SIDE": 16, "_CHANNELS": 8, "_SAMPLES": 8}.items():
    monkeypatch.setattr(attention, name, value)


def test_rows_and_ratios(small):
  rows = attention.run(0.0, ("gather", "blocks"))
  assert [row.name for row in rows] == ["gather", "gather", "blocks", "blocks"]
  assert [row.ratio is None for row in rows] == [True, True, False, False]
  assert rows[3].ratio == pytest.approx(rows[1].median_s / rows[3].median_s)
  # 6 multiply-adds for a channel of a sample forward, 8 more backward.
  assert rows[2].flops == 12 * 16 * 16 * 8 * 8 and rows[3].flops == 28 * 16 * 16 * 8 * 8
  assert all(row.peak_bytes > 16 * 16 * 8 * 4 for row in rows)
  # What is timed was compared with `gather`: outputs and gradients of about 1.
  assert [row.error is None for row in rows] == [True, True, False, False]
  assert all(row.error < 1e-5 for row in rows[2:])
  with pytest.raises(ValueError, match="--only is nearest"):
    attention.run(0.0, ("nearest",))


def test_errors_are_found(small, monkeypatch):
  """An algorithm that gives a hundredth too much, and one that gives what is not a number."""
  right = attention._function
  out = np.asarray(right("gather", "forward")(*attention.problem()))
  for factor, error in ((1.01, 0.01 * np.abs(out).max()), (np.nan, np.nan)):
    wrong = lambda name, passes, factor=factor: (  # noqa: E731
      lambda *x: (factor if name == "blocks" else 1.0) * right("gather", passes)(*x)
    )
    monkeypatch.setattr(attention, "_PASSES", ("forward",))
    monkeypatch.setattr(attention, "_function", wrong)
    (row,) = attention.run(0.0, ("blocks",))
    np.testing.assert_allclose(row.error, error, rtol=1e-3)
  assert attention._difference([out, out + 2], [out, out]) == pytest.approx(2.0)


def test_original_in_torch_is_the_same_attention(small):
  torch = pytest.importorskip("torch", reason="PyTorch, which only the comparison needs")
  from epipolar_jax.tools.benchmark import torch_attention

  query, source, samples, valid = attention.problem()
  options = attention_lib.Options(zero_means_outside=True)
  ours = attention_lib.epipolar_attention(
    query, source, None, samples, valid, options=options, algorithm="gather"
  ).out
  maps = [torch.tensor(np.asarray(x).transpose(2, 0, 1)[None]) for x in (query, source)]
  grid = np.asarray(samples).transpose(1, 0, 2).reshape(1, 8, 16, 16, 2)
  theirs = torch_attention.attend(*maps, torch.tensor(grid))[0].numpy().transpose(1, 2, 0)
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  assert jnp.any(ours != 0)
  rows = attention.run(0.0, ("blocks",), "torch")
  assert [row.name for row in rows] == 2 * ["original (torch)"] + 2 * ["blocks"]
  assert rows[3].ratio == pytest.approx(rows[1].median_s / rows[3].median_s)
