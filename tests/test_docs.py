"""What README and docs point to is there: files, sections, modules, configs and options."""

import importlib.util
import json
import pathlib
import re

import pytest

from epipolar_jax.cli import parsing

_ROOT = pathlib.Path(__file__).parent.parent
_PAGES = [
  *("README.md", "CHANGELOG.md", "data/README.md", ".github/CONTRIBUTING.md"),
  *sorted(str(path.relative_to(_ROOT)) for path in (_ROOT / "docs").glob("*.md")),
]
_NOTEBOOK = "docs/first_steps.ipynb"
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_MODULE = re.compile(r"python -m ((?:epipolar_jax|data|tests)(?:\.\w+)*)")
_CONFIG = re.compile(r"configs/(\w+)\.py")
_VERB = re.compile(r"epipolar (predict|triangulate|check|calibrate|convert)\b([^`|\n]*)")


def _text(page: str) -> str:
  return (_ROOT / page).read_text(encoding="utf-8")


def _anchors(text: str) -> set[str]:
  """Of a page's headings, as repository viewers make them."""
  headings = re.findall(r"^#+ (.*)$", text, re.M)
  return {re.sub(r"[^\w\- ]", "", h.lower().strip()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", _PAGES)
def test_links_lead_somewhere(page):
  for link in _LINK.findall(_text(page)):
    # The workflow's badge is a page of the host.
    if re.match(r"\w+:", link) or link.startswith("../../actions"):
      continue
    target, _, anchor = link.partition("#")
    file = (_ROOT / page).parent / target if target else _ROOT / page
    assert file.exists(), f"{page}: {link}"
    if anchor:
      assert anchor in _anchors(file.read_text(encoding="utf-8")), f"{page}: {link}"


@pytest.mark.parametrize("page", [*_PAGES, _NOTEBOOK])
def test_commands_name_what_there_is(page):
  text = _text(page)
  for module in _MODULE.findall(text):
    assert importlib.util.find_spec(module), f"{page}: python -m {module}"
  for config in _CONFIG.findall(text):
    assert (_ROOT / "configs" / f"{config}.py").exists() or config == "NAME", f"{page}: {config}"


@pytest.mark.parametrize("page", [*_PAGES, _NOTEBOOK])
def test_verbs_have_the_options(page):
  for verb, words in _VERB.findall(_text(page)):
    known = {option for action in _verb(verb)._actions for option in action.option_strings}
    for option in re.findall(r"(?<!\S)(--\w+)", words):
      assert option in known, f"{page}: epipolar {verb} {option}"


def test_the_notebook_is_code_without_results():
  cells = [c for c in json.loads(_text(_NOTEBOOK))["cells"] if c["cell_type"] == "code"]
  assert cells
  for cell in cells:
    assert not cell["outputs"] and cell["execution_count"] is None
    # Lines for the shell and for the notebook are no Python.
    lines = [line for line in cell["source"] if not line.startswith(("!", "%"))]
    compile("".join(lines), _NOTEBOOK, "exec")


def _verb(name: str):
  (verbs,) = (a for a in parsing.parser()._actions if a.dest == "verb")
  return verbs.choices[name]
