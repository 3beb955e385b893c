"""A tree of values and arrays in, one self-contained HTML page out: no network, no server."""

import base64
import gzip
import html
import importlib.resources
import json
import pathlib
import struct
from typing import Any

import cv2
import numpy as np

from epipolar_jax.visualize import palette

_DTYPES = ("uint8", "int32", "float32")
_ALIGN = 8

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="epipolar-jax">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src blob: data:">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{palette}{style}</style>
</head>
<body>
<div id="app"></div>
<noscript>This page is drawn by the script inside it: please allow JavaScript.</noscript>
<script type="application/octet-stream" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def render(title: str, tree: dict[str, Any]) -> str:
  """The HTML of one page.

  Args:
    title: of the browser's tab.
    tree: JSON-like, with numpy arrays; `kind` says which of the pages of `web/src` it is for.
  """
  return _TEMPLATE.format(
    title=html.escape(title),
    palette=palette.style_sheet(),
    style=_asset("page.css"),
    data=pack(tree),
    script=_asset("page.js"),
  )


def write(path: pathlib.Path, page: str) -> None:
  """Writes a page; its folder is made."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(path.name + ".tmp")
  temporary.write_text(page, encoding="utf-8")
  temporary.replace(path)


def pack(tree: Any) -> str:
  """Base64 of gzip of (uint32 length of the JSON, the JSON, the arrays); `codec.js` unpacks it.

  Raises:
    TypeError: an array of a type that the page has no counterpart for, or no JSON value.
    ValueError: a number that is not finite, which JSON cannot hold.
  """
  arrays: list[np.ndarray] = []
  # Offsets are counted from the start of the arrays first: the JSON's length depends on its digits.
  skeleton = _outline(tree, arrays)
  length = len(_dump(skeleton, 10**9)) + _ALIGN
  length += -(length + 4) % _ALIGN
  head = _dump(skeleton, 4 + length).ljust(length)
  body = b"".join(_padded(x) for x in arrays)
  packed = gzip.compress(struct.pack("<I", length) + head + body, compresslevel=9, mtime=0)
  return base64.b64encode(packed).decode()


def jpeg(image: np.ndarray, *, quality: int = 93) -> np.ndarray:
  """The JPEG bytes [n] uint8 of an RGB image [h, w, 3] uint8."""
  encoded, data = cv2.imencode(
    ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
  )
  if not encoded:
    raise ValueError(f"no JPEG of an image of shape {image.shape}, type {image.dtype}")
  return data.reshape(-1)


def rounded(x: np.ndarray, digits: int) -> list[Any]:
  """Nested lists of an array, rounded; what is not finite becomes None."""
  if x.ndim == 0:
    return round(float(x), digits) if np.isfinite(x) else None
  return [rounded(row, digits) for row in x]


def _outline(node: Any, arrays: list[np.ndarray]) -> Any:
  """The tree with every array replaced by its type, shape and offset."""
  if isinstance(node, dict):
    return {str(name): _outline(child, arrays) for name, child in node.items()}
  if isinstance(node, (list, tuple)):
    return [_outline(child, arrays) for child in node]
  if isinstance(node, np.ndarray):
    if node.dtype.name not in _DTYPES:
      raise TypeError(f"a page holds arrays of {', '.join(_DTYPES)}, got {node.dtype}")
    offset = sum(len(_padded(x)) for x in arrays)
    arrays.append(node)
    return {"array": node.dtype.name, "shape": list(node.shape), "offset": offset}
  return node


def _dump(outline: Any, start: int) -> bytes:
  def shift(node):
    if isinstance(node, dict):
      if "array" in node:
        return node | {"offset": node["offset"] + start}
      return {name: shift(child) for name, child in node.items()}
    return [shift(child) for child in node] if isinstance(node, list) else node

  return json.dumps(shift(outline), separators=(",", ":"), allow_nan=False).encode()


def _padded(x: np.ndarray) -> bytes:
  data = np.ascontiguousarray(x).astype(x.dtype.newbyteorder("<"), copy=False).tobytes()
  return data + bytes(-len(data) % _ALIGN)


def _asset(name: str) -> str:
  folder = importlib.resources.files("epipolar_jax.visualize") / "web"
  return (folder / name).read_text(encoding="utf-8").strip()
