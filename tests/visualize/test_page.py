"""Pages: what is packed comes back, nothing is fetched, the bundle belongs to its sources."""

import base64
import gzip
import hashlib
import json
import pathlib
import re
import struct

import numpy as np
import pytest

import epipolar_jax.visualize
from epipolar_jax.visualize import page
from tests import pages

_WEB = pathlib.Path(epipolar_jax.visualize.__file__).parent / "web"


def test_tree_with_arrays_comes_back():
  tree = {
    "a": [{"x": np.arange(7, dtype=np.uint8)}, {"x": np.zeros((0, 3), np.float32)}],
    "b": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3),
    "text": "</script> & Grüße",
  }
  back = pages.unpack(page.pack(tree))
  np.testing.assert_array_equal(back["a"][0]["x"], tree["a"][0]["x"])
  assert back["a"][1]["x"].shape == (0, 3)
  np.testing.assert_array_equal(back["b"], tree["b"])
  assert back["text"] == tree["text"]


def test_arrays_are_aligned_for_typed_views():
  tree = [np.zeros(3, np.uint8), np.zeros(2, np.float32), np.zeros(5, np.int32)]
  data = gzip.decompress(base64.b64decode(page.pack(tree)))
  (length,) = struct.unpack("<I", data[:4])
  offsets = [node["offset"] for node in json.loads(data[4 : 4 + length])]
  assert all(offset % 8 == 0 for offset in offsets)


def test_what_a_page_cannot_hold_is_refused():
  with pytest.raises(TypeError, match="float64"):
    page.pack({"x": np.zeros(3)})
  with pytest.raises(ValueError):
    page.pack({"x": float("nan")})


def test_rounded_makes_null_of_what_is_not_finite():
  assert page.rounded(np.array([[1.234, np.nan], [np.inf, 2.0]]), 1) == [[1.2, None], [None, 2.0]]


def test_page_fetches_nothing():
  html = page.render("A <title>", {"kind": "viewer"})
  assert "<title>A &lt;title&gt;</title>" in html
  assert "default-src 'none'" in html
  markup = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
  assert not re.search(r"(src|href)=[\"']?(https?:)?//", markup)
  assert "@import" not in markup and not re.search(r"url\(\s*[\"']?http", markup)


def test_bundle_was_built_from_these_sources():
  names = ["package-lock.json", *(f"src/{p.name}" for p in (_WEB / "src").iterdir())]
  digest = hashlib.sha256()
  for name in sorted(names):
    digest.update(f"{name}\n".encode() + (_WEB / name).read_bytes())
  first = (_WEB / "page.js").read_text(encoding="utf-8").splitlines()[0]
  assert digest.hexdigest() in first, "run `npm ci && npm run build` in epipolar_jax/visualize/web"


def test_licences_of_the_libraries_are_there():
  text = (_WEB / "LICENSES.txt").read_text(encoding="utf-8")
  locked = json.loads((_WEB / "package-lock.json").read_text(encoding="utf-8"))["packages"]
  for name in ("three", "uplot"):
    assert f"{name} {locked[f'node_modules/{name}']['version']}" in text
  assert text.count("Permission is hereby granted") == 2
