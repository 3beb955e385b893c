"""The page of options and fields says what the code has."""

import pathlib

from configs import h36m
from epipolar_jax import config_ranges
from epipolar_jax.tools import reference

_PAGE = pathlib.Path(__file__).parent.parent.parent / "docs" / "reference.md"


def test_the_page_is_that_of_this_code():
  assert _PAGE.read_text(encoding="utf-8") == reference.text(), (
    "run: python -m epipolar_jax.tools.reference > docs/reference.md"
  )


def test_every_field_of_the_headline_config_is_described():
  text = reference.text()
  for field in config_ranges.leaves(h36m.get_config()):
    assert f"| `{field}` |" in text, field


def test_a_comment_above_and_one_beside_are_both_taken():
  source = (
    "  c.model = m = ml_collections.ConfigDict()\n  # Above.\n  m.a = 1  # beside\n  m.b = 2\n"
  )
  assert list(reference._described(source)) == [("model.a", "Above. beside")]
