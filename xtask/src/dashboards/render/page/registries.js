// What Grafana fills the registries of its libraries with: here only what the dashboards name. Whatever is not
// here is a problem of the panel that names it.
import {
  FieldConfigOptionsRegistry, getValueFormats, fieldMatchers, standardFieldConfigEditorRegistry, standardTransformers,
  standardTransformersRegistry,
} from "@grafana/data";

const STANDARD = ["unit", "min", "max", "decimals", "displayName", "noValue", "color", "thresholds", "mappings", "links"];
const CUSTOM = [
  "axisPlacement", "axisLabel", "cellOptions", "drawStyle", "fillOpacity", "filterable", "align", "inspect",
  "lineInterpolation", "lineStyle", "lineWidth", "pointSize", "scaleDistribution", "showPoints", "spanNulls",
  "stacking", "hideFrom", "width", "minWidth", "footer", "wrapText", "gradientMode", "barAlignment", "thresholdsStyle",
];
const TRANSFORMERS = { merge: standardTransformers.mergeTransformer, organize: standardTransformers.organizeFieldsTransformer };

// A property as overrides and defaults set it: its value, as it is written.
function property(path, isCustom) {
  return {
    id: isCustom ? `custom.${path}` : path, path, name: path, isCustom,
    process: (value) => value, shouldApply: () => true, settings: {}, editor: () => null, override: () => null,
  };
}

export const properties = new FieldConfigOptionsRegistry(() => [
  ...STANDARD.map((path) => property(path, false)),
  ...CUSTOM.map((path) => property(path, true)),
]);

export function fillRegistries() {
  standardFieldConfigEditorRegistry.setInit(() => STANDARD.map((path) => property(path, false)));
  standardTransformersRegistry.setInit(() =>
    Object.values(TRANSFORMERS).map((transformer) => ({ ...transformer, transformation: async () => transformer })));
}

const units = () => getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value));

// What a panel names and the libraries do not know.
export function unknownIn({ fieldConfig, transformations = [] }) {
  const known = new Set(units());
  const problems = [];
  const unit = (name) => name === undefined || known.has(name) || problems.push(`no such unit: ${name}`);
  unit(fieldConfig?.defaults.unit);
  for (const name of Object.keys(fieldConfig?.defaults ?? {})) {
    if (name !== "custom" && !properties.getIfExists(name)) problems.push(`no such property: ${name}`);
  }
  for (const name of Object.keys(fieldConfig?.defaults.custom ?? {})) {
    if (!properties.getIfExists(`custom.${name}`)) problems.push(`no such property: custom.${name}`);
  }
  for (const { matcher, properties: set } of fieldConfig?.overrides ?? []) {
    if (!fieldMatchers.getIfExists(matcher.id)) problems.push(`no such matcher: ${matcher.id}`);
    for (const { id, value } of set) {
      if (id === "unit") unit(value);
      if (!properties.getIfExists(id)) problems.push(`no such property: ${id}`);
    }
  }
  for (const { id } of transformations) if (!TRANSFORMERS[id]) problems.push(`no such transformation: ${id}`);
  return problems;
}
