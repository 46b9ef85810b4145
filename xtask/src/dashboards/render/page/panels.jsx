// One component for each kind of panel: Grafana's own where its library has one. The heat map it has not: that one
// is drawn here, so its picture shows the numbers, not Grafana's looks.
import React from "react";
import { getDisplayValueAlignmentFactors, getFieldDisplayValues, renderTextPanelMarkdown, VizOrientation } from "@grafana/data";
import { BarGauge, BigValue, TimeSeries, TooltipPlugin2, VizRepeater, useTheme2 } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";

const values = (frame) => frame.fields.filter(({ name }) => name !== "Time").flatMap((field) => field.values);
export const hasValues = (frames) => frames.some((frame) => values(frame).some((value) => value !== null && value !== ""));

function NoData({ panel }) {
  return <div data-no-data style={{ margin: "auto" }}>{panel.fieldConfig?.defaults.noValue ?? "No data"}</div>;
}

function Lines({ panel, frames, stage, width, height }) {
  return (
    <TimeSeries frames={frames} structureRev={1} width={width} height={height} timeRange={stage.range} timeZone="utc"
      legend={panel.options.legend} options={panel.options} />
  );
}

// Stat and bar gauge: one value for each series, laid out by Grafana's repeater.
function Repeated({ panel, frames, width, height, one, autoGrid }) {
  const theme = useTheme2();
  const { fieldConfig, options } = panel;
  const getValues = () => getFieldDisplayValues({
    fieldConfig, reduceOptions: options.reduceOptions, replaceVariables: (text) => text, theme, data: frames, sparkline: false,
    timeZone: "utc",
  });
  return (
    <VizRepeater getValues={getValues} getAlignmentFactors={getDisplayValueAlignmentFactors} source={frames} width={width}
      height={height} renderCounter={0} autoGrid={autoGrid} orientation={options.orientation} itemSpacing={3}
      minVizWidth={options.minVizWidth} minVizHeight={options.minVizHeight} maxVizHeight={options.maxVizHeight}
      renderValue={(cell) => one(cell, theme)} />
  );
}

function Stat(props) {
  const { options } = props.panel;
  const one = ({ value, alignmentFactors, width, height, count }, theme) => (
    <BigValue value={value.display} count={count} width={width} height={height} alignmentFactors={alignmentFactors}
      theme={theme} colorMode={options.colorMode} graphMode={options.graphMode} justifyMode={options.justifyMode}
      textMode={options.textMode} disableWideLayout={!options.wideLayout} />
  );
  return <Repeated {...props} one={one} autoGrid />;
}

function Bars(props) {
  const { options } = props.panel;
  const one = ({ value, alignmentFactors, orientation, width, height, count }, theme) => (
    <BarGauge value={value.display} field={value.field} display={value.view?.getFieldDisplayProcessor(value.colIndex)}
      width={width} height={height} orientation={orientation ?? VizOrientation.Horizontal} theme={theme} itemSpacing={3}
      lcdCellWidth={8} displayMode={options.displayMode} showUnfilled={options.showUnfilled}
      valueDisplayMode={options.valueMode} namePlacement={options.namePlacement} alignmentFactors={alignmentFactors}
      isOverflow={count > 1} />
  );
  return <Repeated {...props} one={one} />;
}

function Rows({ panel, frames, stage, width, height }) {
  return (
    <TableNG data={frames[0]} width={width} height={height} timeRange={stage.range} structureRev={1}
      noHeader={!panel.options.showHeader} sortBy={panel.options.sortBy} cellHeight={panel.options.cellHeight}
      fieldConfig={panel.fieldConfig} noValue={panel.fieldConfig.defaults.noValue} enableVirtualization={false} transparent />
  );
}

function Heat({ panel, frames, width, height }) {
  const theme = useTheme2();
  const format = frames[0].fields[1].display;
  const most = Math.max(...frames.flatMap(values));
  const label = 90;
  const cell = (value, key) => {
    const share = value > 0 ? (value / most) ** panel.options.color.exponent : 0;
    const background = share > 0 ? `rgba(255, 120, 10, ${0.15 + 0.85 * share})` : theme.colors.background.secondary;
    return <div key={key} data-cell={share > 0 || undefined} style={{ flex: 1, background, margin: "0 1px 1px 0" }} />;
  };
  const rows = [...frames].reverse().map((frame) => {
    const bound = frame.fields[1].labels.le;
    const text = bound === "+Inf" ? "+Inf" : ((shown) => `${shown.text}${shown.suffix ?? ""}`)(format(Number(bound)));
    return (
      <div key={bound} style={{ display: "flex", flex: 1, minHeight: 0 }}>
        <div style={{ width: label, fontSize: 10, lineHeight: 1, alignSelf: "end", textAlign: "right", paddingRight: 6 }}>{text}</div>
        {frame.fields[1].values.map(cell)}
      </div>
    );
  });
  return <div style={{ width, height, display: "flex", flexDirection: "column" }}>{rows}</div>;
}

function Text({ panel }) {
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: renderTextPanelMarkdown(panel.options.content) }} />;
}

const KINDS = { timeseries: Lines, stat: Stat, bargauge: Bars, table: Rows, heatmap: Heat, text: Text };
export const isKnown = (panel) => panel.type in KINDS;

export function Content(props) {
  const { panel, frames } = props;
  const Kind = KINDS[panel.type];
  // A stat says itself that it has no value.
  const speaks = panel.type === "text" || panel.type === "stat" || hasValues(frames);
  return speaks ? <Kind {...props} /> : <NoData {...props} />;
}
