"""The pages as a reader meets them: made by the tool, opened and used in headless Chromium."""

import json
import pathlib
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.h36m import builder
from epipolar_jax import skeletons, tasks
from epipolar_jax.geometry import epipolar, sampling
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.tools import view
from epipolar_jax.visualize import viewer
from tests import dots, pages
from tests.data import h36m_raw

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Software rendering, so that WebGL is there without a GPU.
_ARGUMENTS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
_WRIST = skeletons.H36M_17.index("rwri")
_WAIT_MS = 240_000  # a limit for a machine that does other things too, not a measure


@pytest.fixture(scope="module")
def config():
  config = dots.config()
  config.model.fusion.update({"merge": "late", "sources": "nearest"})
  return config


@pytest.fixture(scope="module")
def network(config):
  """A freshly initialised network: what it sees, and the viewer of it."""
  task = tasks.build(config, axis_name=None)
  variables = task.init(jax.random.key(0, impl="rbg"))
  seen = {}
  inspect = jax.jit(task.inspect)

  def keep(variables, batch):
    seen[int(batch["frame"][0])] = jax.device_get(inspect(variables, batch))
    return seen[int(batch["frame"][0])]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tasks, "build", lambda *_, **__: task._replace(inspect=keep))
    patch.setattr(jax, "jit", lambda f: f)
    html = view.viewer_page(config, variables, dots.frames(2), subtitle="dots")
  return html, seen


@pytest.fixture(scope="module")
def browser():
  """Headless Chromium, if this machine has one."""
  driver = pytest.importorskip("playwright.sync_api", reason="pip install playwright drives it")
  path = next(filter(None, map(shutil.which, _CHROMIUM)), None)
  if path is None:
    pytest.skip("no Chromium here: install one (on Debian apt-get install chromium)")
  with driver.sync_playwright() as play:
    chromium = play.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
    yield chromium
    chromium.close()


class _Opened:
  """A page in the browser, and everything it complained about or asked the network for."""

  def __init__(self, browser, path: pathlib.Path, html: str, **viewport):
    path.write_text(html, encoding="utf-8")
    size = {"width": 1280, "height": 800} | viewport
    self.page = browser.new_page(viewport=size)
    self.page.set_default_timeout(_WAIT_MS)
    self.complaints, self.requests = [], []
    self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
    self.page.on("console", lambda m: m.type == "error" and self.complaints.append(m.text))
    self.page.on("request", lambda r: self.requests.append(r.url.split(":")[0]))
    self.page.goto(path.as_uri())
    self.page.wait_for_selector("body[data-ready]")

  def state(self):
    return self.page.evaluate("viewer.state")

  def wait(self, condition):
    """Asks again and again: the page's policy forbids what playwright would do."""
    end = time.monotonic() + _WAIT_MS / 1000
    while not self.page.evaluate(condition):
      assert time.monotonic() < end, condition
      self.page.wait_for_timeout(50)

  def check(self):
    assert self.complaints == []
    assert set(self.requests) <= {"file", "blob", "data"}
    assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def _line(example, config, point, reference, source):
  """Samples [k, 2] in image px of the source view, by `geometry.epipolar`."""
  truth = view._geometry(view._unaugmented(config, example))
  names = ("intrinsics", "rotation", "translation")
  cameras = Cameras(*(jnp.float32(truth[name]) for name in names)).scale(1 / 4)
  samples, valid = epipolar.sample_line(
    jnp.float32(point),
    epipolar.fundamental(cameras[reference], cameras[source]),
    size_wh=(16, 16),
    num_samples=config.model.fusion.num_samples,
  )
  assert bool(valid)
  return np.asarray(samples) * 4 + 1.5


def _circle(page, name):
  return page.evaluate(
    "name => { const c = document.querySelector(`.source circle.${name}`);"
    " return [+c.getAttribute('cx'), +c.getAttribute('cy')]; }",
    name,
  )


def test_weights_in_the_page_are_the_networks(network):
  html, seen = network
  tree = pages.read(html)
  assert len(html.encode()) < 5e6
  for stored, one in zip(tree["frames"], seen.values()):
    np.testing.assert_array_equal(stored["others"], one["others"][0])
    back = pages.decode_weights(stored["weights"], tree["weight_code"])
    np.testing.assert_allclose(back, one["weights"][0], rtol=0.0233, atol=9e-6)
    total = one["weights"][0].sum(-1)
    assert np.all(np.isclose(total, 1.0, atol=1e-4) | (total == 0.0)) and total.max() > 0.9
    np.testing.assert_array_equal(stored["source"], one["source"][0])
    assert one["source"].shape[-1] == 1
    np.testing.assert_array_equal(one["source"][0][:, 0], one["others"][0][:, 0])


def test_viewer_in_the_browser(network, browser, config, tmp_path):
  html, seen = network
  opened = _Opened(browser, tmp_path / "viewer.html", html)
  page = opened.page
  # A click picks the feature pixel under it; the line, samples and match are those of the library.
  box = page.locator(".reference .drawing").bounding_box()
  page.mouse.click(box["x"] + box["width"] * 0.52, box["y"] + box["height"] * 0.4)
  state = opened.state()
  assert state["point"] == [8, 6] and state["joint"] == -1
  reference, source = state["reference"], state["source"]
  samples = _line(dots.frames(1)[0], config, (8, 6), reference, source)
  assert page.locator(".source circle.sample").count() == len(samples)
  shown = page.evaluate("viewer.found.samples.map(s => viewer.toImage(s))")
  np.testing.assert_allclose(shown, samples, atol=2e-3)
  slot = list(seen[0]["others"][0][reference]).index(source)
  weights = seen[0]["weights"][0][reference, slot, 6 * 16 + 8]
  np.testing.assert_allclose(page.evaluate("viewer.found.attention"), weights, rtol=0.0233)
  best = np.linalg.norm(samples - _circle(page, "match"), axis=-1).argmin()
  assert weights[best] >= weights.max() * 0.95  # 8 bits may tie
  ends = page.evaluate(
    "['x1','y1','x2','y2'].map(a => +document.querySelector('.source .epipolar').getAttribute(a))"
  )
  direction = np.subtract(samples[-1], samples[0]) / np.linalg.norm(samples[-1] - samples[0])
  for end in (ends[:2], ends[2:]):
    assert abs(np.cross([*direction, 0], [*np.subtract(end, samples[0]), 0])[2]) < 0.01
  # Dragging follows.
  page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
  page.mouse.down()
  page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.3, steps=2)
  page.mouse.up()
  assert opened.state()["point"] == [11, 4]
  # Colour matching and overlays come and go.
  assert page.locator(".source .color-match").count() == 1
  page.keyboard.press("c")
  assert page.locator(".source .color-match").count() == 0
  limbs = page.locator(".source .predicted").count()
  page.keyboard.press("p")
  assert limbs == 16 and page.locator(".source .predicted").count() == 0
  page.keyboard.press("p")
  assert page.evaluate("!viewer.source.heat.hidden")
  page.keyboard.press("h")
  assert page.evaluate("viewer.source.heat.hidden")
  opened.check()
  page.close()


def test_viewer_by_keyboard(network, browser, tmp_path):
  opened = _Opened(browser, tmp_path / "viewer.html", network[0], width=420, height=800)
  page = opened.page
  page.keyboard.press("j")
  state = opened.state()
  assert state["joint"] == 0 and page.locator("select >> nth=1").input_value() == "0"
  before = state["point"]
  page.keyboard.press("ArrowLeft" if before[0] > 8 else "ArrowRight")
  assert abs(opened.state()["point"][0] - before[0]) == 1
  page.keyboard.press("x")
  swapped = opened.state()
  assert (swapped["reference"], swapped["source"]) == (state["source"], state["reference"])
  free = next(v for v in range(4) if v not in (swapped["reference"], swapped["source"]))
  page.keyboard.press(str(free + 1))
  assert opened.state()["source"] == free
  # The curve holds what the viewer found, and is logarithmic until told otherwise.
  assert page.evaluate("viewer.curve.plot.data[1].length") == 8
  assert page.evaluate("viewer.curve.plot.scales.y.distr") == 3
  page.keyboard.press("l")
  assert page.evaluate("viewer.curve.plot.scales.y.distr") == 1
  # The scene shows something, and turns.
  look = "viewer.stage.render(), viewer.stage.renderer.domElement.toDataURL()"
  first = page.evaluate(look)
  page.keyboard.press("d")
  assert len(first) > 5000 and page.evaluate(look) != first
  page.keyboard.press("n")
  opened.wait("viewer.state.frame === 1")
  page.keyboard.press("?")
  assert page.locator("dialog[open]").count() == 1
  page.keyboard.press("Escape")
  opened.check()
  page.close()


def test_each_joint_has_an_attention_of_its_own(config, browser, tmp_path):
  rng = np.random.default_rng(0)
  examples = dots.frames(1)
  geometry = view._geometry(view._unaugmented(config, examples[0]))
  views, joints = geometry["labels_2d"].shape[:2]
  evidence = rng.uniform(0, 9, (views, 16, 16, joints)).astype(np.float32)
  sharpness = rng.uniform(0.5, 2, joints)
  others = np.array([[b for b in range(views) if b != a] for a in range(views)])
  frame = geometry | {
    "true_2d": geometry["labels_2d"],
    "true_3d": geometry["labels_3d"],
    "joints_2d": geometry["labels_2d"],
    "joints_3d": geometry["labels_3d"],
    "joint_valid": np.ones(joints, bool),
    "occluded": np.zeros(views, bool),
    "heatmaps": evidence,
    "label": "dots",
    "source": others,
    "others": others,
    "evidence": evidence,
    "sharpness": sharpness,
  }
  html = viewer.render(
    [frame], skeleton=skeletons.H36M_17, stride=4, num_samples=8, title="t", subtitle="s"
  )
  opened = _Opened(browser, tmp_path / "viewer.html", html)
  page = opened.page

  def expected(point, joint):
    samples = (_line(examples[0], config, point, 0, 1) - 1.5) / 4
    found = sampling.bilinear(jnp.asarray(evidence[1, ..., joint, None]), jnp.asarray(samples))
    return np.asarray(jax.nn.softmax(sharpness[joint] * found[:, 0]))

  for joint, name in ((3, page.evaluate("viewer.page.skeleton.joints[3]")), (16, "right wrist")):
    page.evaluate(f"viewer.pickJoint({joint}), viewer.movePoint([8, 6])")
    assert opened.state()["joint"] == joint and opened.state()["source"] == 1
    np.testing.assert_allclose(
      page.evaluate("viewer.found.attention"), expected((8, 6), joint), rtol=2e-3
    )
    assert page.locator(".curve .note").inner_text() == f"of the {name}"
  page.evaluate("viewer.pickJoint(-1), viewer.movePoint([8, 6])")
  joint = evidence[0, 6, 8].argmax()
  np.testing.assert_allclose(
    page.evaluate("viewer.found.attention"), expected((8, 6), joint), rtol=2e-3
  )
  opened.check()
  page.close()


def test_raw_images_bend_the_lines(config, browser, tmp_path):
  records = h36m_raw.records(1)
  raw = h36m_raw.write(tmp_path / "raw", records, records, h36m_raw.images())
  source = builder.prepare(raw, tmp_path, builder.Options(image_size=64)).as_data_source("train")
  config = config.copy_and_resolve_references()
  config.data.name = "h36m"
  before = view.raw_stages(config, "train", raw)
  html = view.inputs_page(config, [source[0]], subtitle="tiny", before=before)
  assert len(html.encode()) < 5e6
  opened = _Opened(browser, tmp_path / "raw.html", html)
  page = opened.page
  page.evaluate("inputs.pickJoint(-1)")
  tabs = page.locator("nav button").all_inner_texts()
  assert tabs == ["Raw", "Undistorted", "Stored", "Network input", "Augmented 1", "Augmented 2"]
  for stage, points in ((0, 10), (1, 2)):
    page.locator("nav button").nth(stage).click()
    opened.wait(f"inputs.state.stage === {stage}")
    assert "Cameras and labels agree" in page.locator(".verdict").inner_text()
    curves = page.evaluate(
      "[...inputs.drawings[1].svg.querySelectorAll('.epipolar')].map("
      "c => [...c.points].map(p => [p.x, p.y]))"
    )
    assert len(curves) == 3 * 17 and all(len(c) >= points for c in curves)
    labels = page.evaluate("inputs.stage.joints_2d[1]")
    # From each other view a line through each joint, straight or bent.
    for curve, label in zip(curves, [*labels] * 3):
      assert _distance(np.array(curve), np.array(label)) < 0.2
  opened.check()
  page.close()
  with pytest.raises(ValueError, match=r"--raw is for Human3\.6M"):
    config.data.name = "synthetic"
    view.raw_stages(config, "train", raw)


def _distance(curve, point):
  """From a point to the nearest piece of a curve, px."""
  start, step = curve[:-1], np.diff(curve, axis=0)
  place = np.sum((point - start) * step, -1) / np.sum(step * step, -1)
  nearest = start + np.clip(place, 0, 1)[:, None] * step
  return np.linalg.norm(point - nearest, axis=-1).min()


def test_inputs_page_shows_a_wrong_camera(config, browser, tmp_path):
  config = config.copy_and_resolve_references()
  config.data.flip_probability = 1.0
  good = dots.frames(1)
  opened = _Opened(browser, tmp_path / "good.html", view.inputs_page(config, good, subtitle="dots"))
  # It opens with one joint, the right wrist: a line from each other view.
  assert opened.page.locator("select >> nth=1").input_value() == str(_WRIST)
  assert opened.page.locator("svg text").count() == 12
  opened.page.evaluate("inputs.pickJoint(-1)")
  for stage in range(4):
    opened.page.locator("nav button").nth(stage).click()
    opened.wait(f"inputs.state.stage === {stage}")
    # Labels and cameras are float32: 0.001 px.
    assert "Cameras and labels agree" in opened.page.locator(".verdict").inner_text()
    assert opened.page.locator(".epipolar").count() > 100
  opened.page.keyboard.press("j")
  assert opened.page.locator("svg text").count() == 12  # a line from each other view
  opened.check()
  opened.page.close()
  wrong = dict(good[0])
  wrong["translation"] = wrong["translation"] + np.eye(4, 3, dtype=np.float32) * 100
  wrong["translation"][1:] = good[0]["translation"][1:]
  html = view.inputs_page(config, [wrong], subtitle="dots")
  opened = _Opened(browser, tmp_path / "wrong.html", html)
  assert "disagree" in opened.page.locator(".verdict").inner_text()
  projections = opened.page.locator(".numbers table >> nth=1").locator("td")
  classes = [projections.nth(v).get_attribute("class") for v in range(4)]
  assert classes == ["bad", None, None, None]
  opened.check()
  opened.page.close()


def test_inputs_page_fits_a_phone(config, browser, tmp_path):
  html = view.inputs_page(config, dots.frames(1), subtitle="dots")
  phone = {"width": 390, "height": 844}
  opened = _Opened(browser, tmp_path / "phone.html", html, **phone)
  for stage in range(4):
    opened.page.locator("nav button").nth(stage).click()
    opened.wait(f"inputs.state.stage === {stage}")
    opened.check()
  wide = opened.page.evaluate(
    "[...document.querySelectorAll('#app *')].filter(e => !e.closest('svg')"
    " && e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 80))"
  )
  assert wide == []
  opened.page.close()


def test_network_input_stage_has_targets_on_its_joints(config):
  html = view.inputs_page(config, dots.frames(1), subtitle="dots")
  stages = pages.read(html)["frames"][0]["stages"]
  assert [s["name"] for s in stages] == ["Stored", "Network input", "Augmented 1", "Augmented 2"]
  for v in range(4):
    for joint in (0, 9):
      row, column = np.unravel_index(stages[1]["heatmaps"][v, joint].argmax(), (16, 16))
      assert np.hypot(*(np.array([column, row]) * 4 + 1.5 - stages[1]["joints_2d"][v][joint])) < 3
  shifted = np.array(stages[2]["joints_2d"]) - np.array(stages[1]["joints_2d"])
  assert np.abs(shifted).max() > 0.5  # the config of the dots augments
  camera = [np.array(stages[2][k][0]) for k in ("intrinsics", "rotation", "translation")]
  projected = Cameras(*map(jnp.float32, camera)).project(jnp.float32(stages[2]["joints_3d"]))
  np.testing.assert_allclose(projected, stages[2]["joints_2d"][0], atol=5e-3)


def test_config_of_a_run_is_read_back(config, tmp_path):
  with pytest.raises(FileNotFoundError, match="--workdir"):
    view.run_config(tmp_path)
  (tmp_path / "config.json").write_text(json.dumps(json.loads(config.to_json_best_effort())))
  assert view.run_config(tmp_path).to_dict() == config.to_dict()
  (tmp_path / "config.json").write_text("[]")
  with pytest.raises(ValueError, match="not a config"):
    view.run_config(tmp_path)


def test_frames_are_picked():
  assert view.pick([], 10) == [0, 3, 6, 9]
  assert view.pick(["7", "0"], 8) == [7, 0]
  for wrong in ("8", "-1", "x"):
    with pytest.raises(ValueError, match="frames 0 to 7"):
      view.pick([wrong], 8)
