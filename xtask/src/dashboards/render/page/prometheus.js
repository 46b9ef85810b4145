// Asks Prometheus what a panel asks, and makes data frames of the answers. How the frames are named and shaped
// follows what Grafana documents of its Prometheus data source; the data source's own code is not here.
import { FieldType, toDataFrame, renderLegendFormat } from "@grafana/data";

const SECOND = 1000;

async function get(stage, path, parameters) {
  const answer = await fetch(`${stage.prometheus}${path}`, { method: "POST", body: new URLSearchParams(parameters) });
  const { status, data, error } = await answer.json();
  if (status !== "success") throw new Error(`Prometheus: ${error}: ${parameters.query ?? path}`);
  return data;
}

// Replaces the variables of an expression; everything is chosen.
export function replaceIn(stage, text) {
  const seconds = Math.round((stage.to - stage.from) / SECOND);
  const variables = {
    __rate_interval: `${Math.max(4 * stage.scrape, stage.step + stage.scrape)}s`,
    __range: `${seconds}s`,
    __interval: `${stage.step}s`,
    datasource: "prometheus",
    job: ".+",
    instance: ".+",
    netns: ".+",
    port: stage.port,
  };
  return text.replace(/\$\{?(\w+)(?::\w+)?\}?/g, (all, name) => variables[name] ?? all);
}

// The frames of all targets of a panel.
export async function ask(stage, panel) {
  const frames = [];
  for (const target of panel.targets ?? []) {
    const query = replaceIn(stage, target.expr);
    const series = target.instant
      ? (await get(stage, "/api/v1/query", { query, time: stage.to / SECOND })).result
      : await overTime(stage, query);
    if (target.format === "table") frames.push(...asTable(target, series, panel.targets.length > 1));
    else if (target.format === "heatmap") frames.push(...asBuckets(target, series));
    else frames.push(...series.map((one) => asSeries(target, one)));
  }
  return frames;
}

// Each step has a value, `null` where there is none: lines have gaps there.
async function overTime(stage, query) {
  const [start, end] = [stage.from, stage.to].map((time) => Math.floor(time / SECOND / stage.step) * stage.step);
  const { result } = await get(stage, "/api/v1/query_range", { query, start, end, step: stage.step });
  for (const one of result) {
    const known = new Map(one.values);
    one.values = [];
    for (let time = start; time <= end; time += stage.step) one.values.push([time, known.get(time) ?? null]);
  }
  return result;
}

const number = (text) => (text === null ? null : Number(text.replace("Inf", "Infinity")));

function asSeries({ refId, legendFormat }, { metric, value, values = [value] }) {
  const bare = Object.entries(metric).filter(([label]) => label !== "__name__");
  const plain = `${metric.__name__ ?? ""}{${bare.map(([label, text]) => `${label}="${text}"`).join(", ")}}`;
  const displayNameFromDS = legendFormat ? renderLegendFormat(legendFormat, metric) : plain;
  return toDataFrame({
    refId,
    name: displayNameFromDS,
    fields: [
      { name: "Time", type: FieldType.time, values: values.map(([time]) => time * SECOND) },
      {
        name: "Value",
        type: FieldType.number,
        labels: metric,
        config: { displayNameFromDS },
        values: values.map(([, text]) => number(text)),
      },
    ],
  });
}

// A row for each series: its labels, then its value.
function asTable({ refId }, series, isOneOfMany) {
  if (series.length === 0) return [];
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const columns = labels.map((name) => ({
    name,
    type: FieldType.string,
    config: { filterable: true },
    values: series.map(({ metric }) => metric[name] ?? ""),
  }));
  const time = { name: "Time", type: FieldType.time, values: series.map(({ value }) => value[0] * SECOND) };
  const name = isOneOfMany ? `Value #${refId}` : "Value";
  const value = { name, type: FieldType.number, values: series.map((one) => number(one.value[1])) };
  return [toDataFrame({ refId, fields: [time, ...columns, value] })];
}

// A frame for each bucket, the lowest first, with what is in it and in no lower one.
function asBuckets(target, series) {
  const bound = ({ metric }) => number(metric.le);
  const sorted = [...series].sort((one, other) => bound(one) - bound(other));
  const alone = sorted.map((one, index) => ({
    ...one,
    values: one.values.map(([time, text], at) => {
      if (text === null) return [time, null];
      const below = index > 0 ? number(sorted[index - 1].values[at][1]) : 0;
      return [time, `${Math.max(0, number(text) - below)}`];
    }),
  }));
  return alone.map((one) => asSeries(target, one));
}
