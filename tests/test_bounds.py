"""Every line of requirements.txt has a lower bound; tests/bounds.py installs and tests them."""

import pathlib

import pytest

from tests import bounds

_ROOT = pathlib.Path(__file__).parent.parent


def _lines():
  return (_ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()


def test_every_requirement_has_a_bound_that_can_be_pinned():
  pinned = bounds.lowest("\n".join(_lines()))
  assert len(pinned) == len(_lines()) and all("==" in line for line in pinned)
  assert len(bounds.lowest("\n".join(bounds.files_extra()))) == 2
  assert bounds.lowest("a>=1.2,<3\n# note\n\nb>=2") == ["a==1.2", "b==2"]
  with pytest.raises(ValueError, match="'importlib_resources' should be NAME>=VERSION"):
    bounds.lowest("jax>=0.10\nimportlib_resources\n")
