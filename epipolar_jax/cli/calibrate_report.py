"""What `epipolar calibrate` prints: what held-out frames gained, and when cameras took them."""

# A 90th percentile that is so many times what it was rose.
_RISE = 1.02


def tell_timing(found) -> None:
  """Prints when cameras took their frames, and what of it is used."""
  distance = f"median epipolar distance {found.before_px:.2f} px"
  if any(found.supported().offset) or any(found.drift):
    print(
      f"Out of step, in frames of {found.views[0]}; {distance}, in step {found.after_px:.2f} px:"
    )
  else:
    print(
      f"Taken to be in step: no offset is supported, in frames of {found.views[0]}; {distance}, "
      f"with these offsets {found.after_px:.2f} px:"
    )
  for name, offset, drift, sigma in zip(found.views, found.offset, found.drift, found.sigma):
    text = f", drifting by {drift:+.5f} frames a frame" if drift else ""
    sure, verdict = found.verdict(name)
    used = "" if sure or drift else "; taken as 0"
    print(f"{name:>16}  {offset:+8.3f} ± {sigma:.3f}{text}  {verdict}{used}")


def tell_drift(observations, rig) -> None:
  """Prints whose frame rate seems to differ."""
  from epipolar_jax.calibration import offsets

  found = offsets.estimate(observations, rig, drift=True)
  for name, drift in zip(found.views, found.drift):
    if drift:
      print(
        f"{name} seems to run at {1 + drift:.5f} times the frame rate of {found.views[0]} (not "
        "used: --drift)"
      )


def tell(refined, rig, views: tuple[str, ...]) -> list[str]:
  """Prints what held-out frames gained; returns it in sentences."""
  import numpy as np

  from epipolar_jax.calibration import refining
  from epipolar_jax.cli import outputs

  what = "left-out" if len(views) > 2 else "reprojection"
  said = [
    f"Fitted {len(refined.fitted)} frames; {what} error of the other {len(refined.held_out)}: "
    f"median {np.nanmedian(refined.before):.2f} px before, {np.nanmedian(refined.after):.2f} px "
    "after."
  ]
  print(f"{said[0]} px, median / 90th percentile:")
  print(f"{'camera':>16}  {'before':>16}  {'after':>16}    turned by    moved by")
  for view, name in enumerate(views):
    turned, moved = refining.difference(rig.select((name,)), refined.rig.select((name,)))
    before, after = (outputs.percentiles(x[:, view]) for x in (refined.before, refined.after))
    print(f"{name:>16}  {before}  {after}  {turned:8.3f} °  {moved:8.1f} mm")
  risen = _risen(refined, views)
  if risen:
    said.append(
      f"The 90th percentile rose though the median fell: {'; '.join(risen)}. Points that are far "
      "off hardly count in the fit: detections of something else, or of the body's other side, may "
      "lie farther from better cameras; a camera out of step, or that was moved, shows so too. "
      "Cameras are judged by the median of all held-out errors, "
      f"{np.nanmedian(refined.before):.2f} px before and {np.nanmedian(refined.after):.2f} px "
      "after."
    )
    print(said[-1])
  if refined.corners_mm:
    before, after = refined.corners_mm
    said.append(
      f"Distances between corners of the held-out boards: {before:.2f} mm rms wrong before, "
      f"{after:.2f} mm after."
    )
    print(said[-1])
  if np.isfinite(refined.moved_mm):
    said.append(
      f"Points lie {refined.moved_mm:.1f} mm (median) from where the cameras started from put "
      "them. The world is theirs: the refined rig was moved as a whole so that this is least."
    )
    print(said[-1])
  if refined.factor != 1.0:
    said.append(f"All lengths were multiplied by {refined.factor:.5f}, for the known one.")
    print(said[-1])
  return said


def _risen(refined, views: tuple[str, ...]) -> list[str]:
  """Cameras, and all of them, whose held-out 90th percentile rose though their median fell."""
  import numpy as np

  parts = {"all cameras": np.s_[:]} | {name: np.s_[:, [i]] for i, name in enumerate(views)}
  found = []
  for name, part in parts.items():
    before, after = (x[part][np.isfinite(x[part])] for x in (refined.before, refined.after))
    if not len(before) or not len(after) or np.median(after) >= np.median(before):
      continue
    high, higher = np.percentile(before, 90), np.percentile(after, 90)
    if higher > _RISE * high:
      medians = f"{np.median(before):.2f} to {np.median(after):.2f}"
      found.append(f"{name} {high:.2f} to {higher:.2f} px (median {medians})")
  return found
