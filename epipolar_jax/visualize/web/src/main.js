// Unpacks the page's data and starts what they are for.
import "./page.css";
import { unpack } from "./codec.js";
import { startInputs } from "./inputs.js";
import { startViewer } from "./viewer.js";

const starters = { viewer: startViewer, inputs: startInputs };

async function start() {
  const page = await unpack(document.getElementById("data").textContent);
  await starters[page.kind](document.getElementById("app"), page);
  document.body.dataset.ready = "true";
}

start().catch((error) => {
  const app = document.getElementById("app");
  app.className = "failed";
  app.textContent = `This page could not be drawn: ${error.message}`;
  throw error;
});
