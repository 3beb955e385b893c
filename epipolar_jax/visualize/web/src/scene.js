// The frame in 3D: skeletons, cameras with their images, the rays of the picked point.
import {
  AmbientLight,
  BufferGeometry,
  CanvasTexture,
  Color,
  CylinderGeometry,
  DirectionalLight,
  DoubleSide,
  Float32BufferAttribute,
  GridHelper,
  Group,
  Line,
  LineBasicMaterial,
  LineSegments,
  Mesh,
  MeshBasicMaterial,
  MeshLambertMaterial,
  PerspectiveCamera,
  Scene,
  Sphere,
  SphereGeometry,
  Sprite,
  SpriteMaterial,
  SRGBColorSpace,
  Texture,
  Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { color } from "./dom.js";
import { add, center, dot, meet, ray } from "./geometry.js";
import { camera } from "./matching.js";

const BASE = 800; // side of a drawn camera's image, mm
const metres = (p) => new Vector3(...p).multiplyScalar(1e-3);

export class Stage {
  /** Throws when the browser has no WebGL. */
  constructor(container) {
    this.container = container;
    this.renderer = new WebGLRenderer({ antialias: true });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.scene = new Scene();
    this.scene.background = new Color(color("stage"));
    this.view = new PerspectiveCamera(38, 1, 0.05, 100);
    this.view.up.set(0, 0, 1);
    this.content = new Group();
    this.pointer = new Group();
    const sun = new DirectionalLight(0xffffff, 1.6);
    sun.position.set(2, -3, 5);
    this.scene.add(this.content, this.pointer, new AmbientLight(0xffffff, 1.9), sun);
    container.append(this.renderer.domElement);
    this.controls = new OrbitControls(this.view, this.renderer.domElement);
    this.controls.autoRotateSpeed = 1.6;
    this.controls.maxDistance = 40;
    this.controls.addEventListener("change", () => this.render());
    this.turning = null;
    new ResizeObserver(() => this.resize()).observe(container);
    this.resize();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.container;
    if (!width || !height) return;
    this.renderer.setSize(width, height);
    this.view.aspect = width / height;
    this.view.updateProjectionMatrix();
    this.render();
  }

  render() {
    this.renderer.render(this.scene, this.view);
  }

  /** Turns by itself, or stops. */
  turn(on) {
    this.controls.autoRotate = on;
    cancelAnimationFrame(this.turning);
    const step = () => {
      this.controls.update();
      this.turning = requestAnimationFrame(step);
    };
    if (on) step();
  }

  /** Turns by so many degrees around the vertical and up. */
  orbit(around, up) {
    const offset = this.view.position.clone().sub(this.controls.target);
    offset.applyAxisAngle(new Vector3(0, 0, 1), (around * Math.PI) / 180);
    const side = new Vector3().crossVectors(offset, new Vector3(0, 0, 1)).normalize();
    const raised = offset.clone().applyAxisAngle(side, (up * Math.PI) / 180);
    if (Math.abs(raised.z) < 0.97 * raised.length()) offset.copy(raised);
    this.view.position.copy(this.controls.target).add(offset);
    this.controls.update();
    this.render();
  }

  /** Looks at the middle of person and cameras from a side, all of them within sight. */
  home(frame) {
    const points = frame.rotation.map((_, v) => metres(center(camera(frame, v))));
    points.push(metres(frame.true_3d[0]));
    const ball = new Sphere().setFromPoints(points);
    const angle = ((this.view.fov / 2) * Math.PI) / 180;
    const away = new Vector3(0.5, -1, 0.75).normalize().multiplyScalar((0.74 * ball.radius) / Math.sin(angle));
    this.controls.target.copy(ball.center);
    this.view.position.copy(ball.center).add(away);
    this.controls.update();
    this.render();
  }

  drawFrame(page, frame, images, state) {
    clear(this.content);
    const feet = Math.min(...frame.true_3d.map((p) => p[2])) * 1e-3;
    const grid = new GridHelper(8, 16, color("muted"), color("rule"));
    grid.rotation.x = Math.PI / 2;
    grid.position.set(frame.true_3d[0][0] * 1e-3, frame.true_3d[0][1] * 1e-3, feet);
    this.content.add(grid);
    const { limbs } = page.skeleton;
    if (state.truth) {
      for (const [a, b] of limbs) {
        this.content.add(stick(frame.true_3d[a], frame.true_3d[b], 0.008, color("truth")));
      }
    }
    if (state.predicted) {
      // Joints that could not be triangulated are null.
      for (const [a, b] of limbs) {
        const [from, to] = [frame.joints_3d[a], frame.joints_3d[b]];
        if (from && to) this.content.add(stick(from, to, 0.022, page.colors[b]));
      }
      frame.joints_3d.forEach((p, j) => {
        if (p === null) return;
        const chosen = j === state.joint;
        this.content.add(ball(p, chosen ? 0.06 : 0.03, chosen ? color("attention") : page.colors[j]));
      });
    }
    frame.rotation.forEach((_, v) => {
      const role = v === state.reference ? "attention" : v === state.source ? "text" : "muted";
      this.content.add(...frustum(page, camera(frame, v), images[v], color(role), `view ${v}`));
    });
    this.render();
  }

  /** Ray of the reference point, ray of the match, the plane between, and where they meet. */
  drawPointer(frame, state, uv, matched) {
    clear(this.pointer);
    const own = camera(frame, state.reference);
    const [c1, d1] = [center(own), ray(uv, own)];
    const reach = 1.6 * Math.hypot(...add(frame.true_3d[0], c1, -1));
    const end = add(c1, d1, reach);
    this.pointer.add(path([c1, end], color("attention")));
    if (matched) {
      const other = camera(frame, state.source);
      const [c2, d2] = [center(other), ray(matched, other)];
      const plane = new Mesh(
        surface([c1, c2, end]),
        new MeshBasicMaterial({ color: color("attention"), transparent: true, opacity: 0.1, side: DoubleSide, depthWrite: false }),
      );
      this.pointer.add(plane, path([c2, add(c2, d2, reach)], color("text")));
      const crossing = meet(c1, d1, c2, d2);
      if (crossing) this.pointer.add(ball(crossing, 0.045, color("text")));
    }
    this.render();
  }
}

function clear(group) {
  group.traverse((node) => {
    node.geometry?.dispose();
    node.material?.map?.dispose();
    node.material?.dispose();
  });
  group.clear();
}

function stick(from, to, radius, tint) {
  const [a, b] = [metres(from), metres(to)];
  const along = b.clone().sub(a);
  const mesh = new Mesh(new CylinderGeometry(radius, radius, along.length(), 10), new MeshLambertMaterial({ color: tint }));
  mesh.position.copy(a).addScaledVector(along, 0.5);
  mesh.quaternion.setFromUnitVectors(new Vector3(0, 1, 0), along.normalize());
  return mesh;
}

function ball(at, radius, tint) {
  const mesh = new Mesh(new SphereGeometry(radius, 20, 14), new MeshLambertMaterial({ color: tint }));
  mesh.position.copy(metres(at));
  return mesh;
}

const path = (points, tint) =>
  new Line(new BufferGeometry().setFromPoints(points.map(metres)), new LineBasicMaterial({ color: tint }));

function surface(corners, uv = null) {
  const geometry = new BufferGeometry().setFromPoints(corners.map(metres));
  if (uv) geometry.setAttribute("uv", new Float32BufferAttribute(uv, 2));
  geometry.setIndex(corners.length === 3 ? [0, 1, 2] : [0, 1, 2, 0, 2, 3]);
  return geometry;
}

/** The pyramid of a crop with its image as the base, and a name above it. */
function frustum(page, own, image, tint, name) {
  const [height, width] = page.size;
  const eye = center(own);
  const depth = (BASE * Math.hypot(...own.intrinsics[0].slice(0, 2))) / width;
  const corners = [[-0.5, height - 0.5], [width - 0.5, height - 0.5], [width - 0.5, -0.5], [-0.5, -0.5]].map((uv) => {
    const direction = ray(uv, own);
    return add(eye, direction, depth / dot(own.rotation[2], direction));
  });
  const edges = corners.flatMap((corner, i) => [eye, corner, corner, corners[(i + 1) % 4]]);
  const wires = new LineSegments(
    new BufferGeometry().setFromPoints(edges.map(metres)),
    new LineBasicMaterial({ color: tint }),
  );
  const texture = new Texture(image);
  texture.colorSpace = SRGBColorSpace;
  texture.needsUpdate = true;
  const base = new Mesh(
    surface(corners, [0, 0, 1, 0, 1, 1, 0, 1]),
    new MeshBasicMaterial({ map: texture, side: DoubleSide }),
  );
  return [wires, base, label(add(eye, [0, 0, 330]), name, tint)];
}

function label(at, text, tint) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [256, 64];
  const context = canvas.getContext("2d");
  context.font = "600 40px system-ui, 'Segoe UI', 'Noto Sans', sans-serif";
  context.textAlign = "center";
  context.fillStyle = tint;
  context.fillText(text, 128, 46);
  const sprite = new Sprite(new SpriteMaterial({ map: new CanvasTexture(canvas), depthTest: false }));
  sprite.position.copy(metres(at));
  sprite.scale.set(2, 0.5, 1);
  return sprite;
}
