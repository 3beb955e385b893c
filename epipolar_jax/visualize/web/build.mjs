// Bundles src/ and its libraries into page.js and page.css: `npm ci && npm run build`.
// The first line of page.js carries a digest of the sources; a test compares it, so that a bundle
// that was not rebuilt is noticed without npm.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const sources = ["package-lock.json", ...readdirSync("src").map((name) => `src/${name}`)].sort();
const digest = createHash("sha256");
for (const name of sources) digest.update(`${name}\n`).update(readFileSync(name));

await build({
  entryPoints: { page: "src/main.js" },
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome100", "firefox113", "safari16.4"],
  legalComments: "none", // LICENSES.txt has them whole
  charset: "utf8",
  outdir: ".",
  banner: {
    js: `/* sources ${digest.digest("hex")}; three.js and uPlot, MIT: see LICENSES.txt */`,
  },
});

const licenses = ["three", "uplot"].map((name) => {
  const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  const text = readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim();
  return `${name} ${version}\n\n${text}\n`;
});
const head = "Libraries inside page.js and page.css, and in every page that is made with them.\n";
writeFileSync("LICENSES.txt", [head, ...licenses].join(`\n${"-".repeat(78)}\n\n`));
