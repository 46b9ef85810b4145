// Draws one dashboard as it is at one time: panels by their places, rows with their titles. What is wrong with it is
// left in `window.drawn` for draw.mjs, which opened the page.
import React from "react";
import { createRoot } from "react-dom/client";
import { Router } from "react-router-dom";
import { createMemoryHistory } from "history";
import { lastValueFrom } from "rxjs";
import { applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, ThemeContext, transformDataFrame } from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import { ErrorBoundary, GlobalStyles, PanelChrome, PortalContainer } from "@grafana/ui";
import { ask, replaceIn } from "./prometheus.js";
import { fillRegistries, properties, unknownIn } from "./registries.js";
import { Content, hasValues, isKnown } from "./panels.jsx";

// In pixels: a column of 24, a line of the grid, and what is left free between panels.
const [COLUMN, LINE, GAP] = [1640 / 24, 38, 8];
const theme = createTheme({ colors: { mode: "light" } });
const stage = await (await fetch("stage.json")).json();
stage.range = { from: dateTime(stage.from), to: dateTime(stage.to), raw: { from: "now-1h", to: "now" } };
const problems = [];

// What Grafana does between the answers and the picture.
async function prepared(panel) {
  const asked = await ask(stage, panel);
  const changed = await lastValueFrom(transformDataFrame(panel.transformations ?? [], asked));
  const frames = applyFieldOverrides({
    data: changed, fieldConfig: panel.fieldConfig, fieldConfigRegistry: properties, theme, timeZone: "utc",
    replaceVariables: (text) => replaceIn(stage, text),
  });
  cacheFieldDisplayNames(frames);
  return frames;
}

function Panel({ panel, frames, width, height }) {
  const report = ({ error }) => {
    problems.push(`${panel.title}: ${error}`);
    return `${error}`;
  };
  return (
    <PanelChrome title={panel.title} description={panel.description} width={width} height={height}
      padding={panel.type === "table" ? "none" : "md"}>
      {(innerWidth, innerHeight) => (
        <div data-content style={{ width: innerWidth, height: innerHeight, display: "flex", overflow: "hidden" }}>
          <ErrorBoundary>
            {({ error }) => error ? report({ error })
              : <Content panel={panel} frames={frames} stage={stage} width={innerWidth} height={innerHeight} />}
          </ErrorBoundary>
        </div>
      )}
    </PanelChrome>
  );
}

function Place({ panel, frames }) {
  const { x, y, w, h } = panel.gridPos;
  const style = { position: "absolute", left: x * COLUMN, top: y * LINE, width: w * COLUMN - GAP, height: h * LINE - GAP };
  if (panel.type === "row") return <h3 style={{ ...style, paddingTop: 4 }}>{panel.title}</h3>;
  return (
    <div style={style} data-panel={panel.id} data-kind={panel.type}>
      <Panel panel={panel} frames={frames} width={style.width} height={style.height} />
    </div>
  );
}

function Page({ board, answers }) {
  const height = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h)) * LINE;
  return (
    <Router history={createMemoryHistory()}>
      <ThemeContext.Provider value={theme}>
        <GlobalStyles isExtensionSidebarOpen={false} />
        <PortalContainer />
        <h2 style={{ padding: "16px 16px 0" }}>{board.title}</h2>
        <div id="board" style={{ position: "relative", margin: 16, height }}>
          {board.panels.map((panel) => <Place key={panel.id} panel={panel} frames={answers.get(panel.id) ?? []} />)}
        </div>
      </ThemeContext.Provider>
    </Router>
  );
}

// Whether a panel shows what it has, or says that it has nothing.
function missingIn(panel, frames) {
  const content = document.querySelector(`[data-panel="${panel.id}"] [data-content]`);
  if (!content) return "it is not there";
  const text = content.innerText.trim();
  const noData = panel.fieldConfig?.defaults.noValue ?? "No data";
  if (panel.type === "text") return text ? null : "no text";
  if (!hasValues(frames)) return text.includes(noData) ? null : `neither data nor "${noData}", but "${text}"`;
  const shown = {
    timeseries: () => [...content.querySelectorAll("canvas")].some(isPainted),
    table: () => content.querySelectorAll("[role=row]").length > 1,
    heatmap: () => content.querySelector("[data-cell]") || frames.every((frame) => !frame.fields[1].values.some(Boolean)),
  }[panel.type] ?? (() => text !== "" && !text.includes("undefined") && !text.includes("NaN"));
  return shown() ? null : `its data is not shown: "${text}"`;
}

// Whether anything but axes and their grid is there: something that has a colour.
function isPainted(canvas) {
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  for (let at = 0; at < data.length; at += 4) {
    const colors = data.subarray(at, at + 3);
    if (data[at + 3] > 0 && Math.max(...colors) - Math.min(...colors) > 60) return true;
  }
  return false;
}

async function draw() {
  await initPluginTranslations("tcp-backlog-probe");
  fillRegistries();
  const board = stage.board;
  const answers = new Map();
  for (const panel of board.panels.filter(({ type }) => type !== "row")) {
    if (!isKnown(panel)) throw new Error(`${panel.title}: no such kind of panel: ${panel.type}`);
    problems.push(...unknownIn(panel).map((problem) => `${panel.title}: ${problem}`));
    answers.set(panel.id, await prepared(panel));
  }
  createRoot(document.getElementById("root")).render(<Page board={board} answers={answers} />);
  await document.fonts.ready;
  const missing = () => board.panels.filter(({ id }) => answers.has(id)).map((panel) => [panel, missingIn(panel, answers.get(panel.id))])
    .filter(([, problem]) => problem);
  const deadline = performance.now() + 15_000;
  const frame = () => new Promise(requestAnimationFrame);
  // A plot is painted some frames after it is there, and what is around it in the one after that.
  while (missing().length > 0 && performance.now() < deadline) await frame();
  await frame();
  problems.push(...missing().map(([panel, problem]) => `${panel.title}: ${problem}`));
  const withData = board.panels.filter(({ id }) => answers.has(id) && hasValues(answers.get(id))).length;
  return { panels: answers.size, withData, problems };
}

draw().then((drawn) => { window.drawn = drawn; }, (error) => { window.drawn = { problems: [...problems, `${error.stack}`] }; });
