// Draws dashboards with Grafana's own libraries in Chromium, with the answers of a Prometheus.
// The argument is a JSON: see `Order` in render.rs. Run in the folder that has the packages. Ends with 1 if anything that is
// drawn is wrong: an exception, a message of the page, a name that the libraries do not know, a panel that shows nothing.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { basename, extname, join, resolve } from "node:path";
import { build } from "esbuild";
import puppeteer from "puppeteer-core";

const order = JSON.parse(process.argv.at(-1));
const TYPES = { ".svg": "image/svg+xml", ".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2", ".json": "application/json" };
// What Grafana's server has for the library: icons are in its package, fonts in packages of their own.
const FILES = [
  [/\/(img\/icons\/[\w/-]+\.svg)$/, (path) => `@grafana/ui/dist/public/${path}`],
  [/\/Inter-Regular\.woff2$/, () => "@fontsource/inter/files/inter-latin-400-normal.woff2"],
  [/\/Inter-Medium\.woff2$/, () => "@fontsource/inter/files/inter-latin-500-normal.woff2"],
  [/\/Inter-Italic\.woff2$/, () => "@fontsource/inter/files/inter-latin-400-italic.woff2"],
  [/\/roboto\/[\w-]+\.woff2$/, () => "@fontsource/roboto-mono/files/roboto-mono-latin-400-normal.woff2"],
];
// Messages of the page that say nothing about a dashboard, and why.
const HARMLESS = [
  [/favicon/, "a browser asks every site for it"],
];

async function bundle() {
  const { outputFiles } = await build({
    entryPoints: [join(order.page, "main.jsx")], nodePaths: [resolve("node_modules")], absWorkingDir: process.cwd(),
    bundle: true, write: false, format: "esm", outdir: "/", logLevel: "error", minify: true, sourcemap: false,
    define: { "process.env.NODE_ENV": '"production"', global: "window", __DEV__: "false" },
    loader: { ".svg": "dataurl", ".woff2": "dataurl", ".png": "dataurl", ".ttf": "empty" },
  });
  return Object.fromEntries(outputFiles.map(({ path, contents }) => [basename(path), Buffer.from(contents)]));
}

// The file of a package that is asked for, or nothing.
function fileOf(path) {
  for (const [pattern, file] of FILES) {
    const match = path.match(pattern);
    if (match) return resolve("node_modules", file(match[1]));
  }
  return undefined;
}

function serve(files, stage) {
  const html = '<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/main.css"><div id="root"></div><script type="module" src="/main.js"></script>';
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://page");
    const file = fileOf(pathname);
    const body = pathname === "/" ? html
      : pathname === "/stage.json" ? JSON.stringify(stage.now)
      : file ? await readFile(file).catch(() => undefined) : files[basename(pathname)];
    response.writeHead(body ? 200 : 404, { "content-type": TYPES[extname(pathname)] ?? "text/html" }).end(body);
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

async function draw(browser, address, file, problems) {
  const page = await browser.newPage();
  await page.setViewport({ width: 1680, height: 1000 });
  const say = (text) => HARMLESS.some(([pattern]) => pattern.test(text)) || problems.push(text);
  page.on("pageerror", (error) => say(`exception: ${error.message}`));
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && say(`console: ${message.text()} ${message.location().url ?? ""}`));
  page.on("requestfailed", (request) => say(`not loaded: ${request.url()}`));
  await page.goto(address);
  const drawn = await (await page.waitForFunction(() => window.drawn, { timeout: 90_000 })).jsonValue();
  problems.push(...drawn.problems);
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.setViewport({ width: 1680, height });
  await page.screenshot({ path: file, fullPage: true });
  await page.close();
  return drawn;
}

const started = performance.now();
const stage = { now: null };
const server = await serve(await bundle(), stage);
const browser = await puppeteer.launch({
  executablePath: order.chromium, headless: true, dumpio: false,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--hide-scrollbars"],
});
let count = 0;
for (const file of order.boards) {
  const name = basename(file, ".json");
  const problems = [];
  stage.now = { ...order.stage, board: JSON.parse(await readFile(file, "utf8")) };
  const { panels, withData } = await draw(browser, `http://127.0.0.1:${server.address().port}/`, join(order.output, `${name}.png`), problems)
    .catch((error) => (problems.push(error.message), {}));
  problems.forEach((problem) => console.log(`${name}: ${problem}`));
  count += problems.length;
  if (panels) console.log(`${name}: ${panels} panels drawn, ${withData} of them with data, the others say that they have none`);
}
await browser.close();
server.close();
console.log(`@grafana/ui: ${order.boards.length} dashboards, ${count} problems, ${((performance.now() - started) / 1000).toFixed(1)} s`);
process.exit(count === 0 && order.boards.length > 0 ? 0 : 1);
