// Validates Grafana dashboards against the types of @grafana/schema. Arguments: the files.
// Run in the folder that has the packages; called by ../schema.rs.
import { existsSync, readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { createGenerator } from "ts-json-schema-generator";
import { Ajv } from "ajv";

const raw = resolve("node_modules/@grafana/schema/dist/types/raw");
// Other packages have types of the same names, which are taken for these unless they are left out.
const tsconfig = resolve("tsconfig.json");
const ajv = new Ajv({ strict: false, allErrors: true });
const schemas = new Map();
let problems = 0;

// The JSON schema of a type; null where a panel of this kind has no such type, or there is no such kind.
function schemaOf(path, type) {
  const key = `${path} ${type}`;
  if (!schemas.has(key)) schemas.set(key, generate(`${raw}/${path}`, type));
  return schemas.get(key);
}

function generate(path, type) {
  if (!existsSync(path)) return null;
  try {
    return createGenerator({ path, type, tsconfig, skipTypeCheck: true, additionalProperties: false }).createSchema(type);
  } catch (error) {
    if (`${error.message}`.includes("No root type")) return null;
    throw error;
  }
}

// One definition of a schema, as a schema of its own.
function definition(schema, name) {
  return { definitions: schema.definitions, $ref: `#/definitions/${name}` };
}

// One property of a type, or null.
function property(schema, type, name) {
  const found = schema?.definitions[type]?.properties?.[name];
  return found ? { definitions: schema.definitions, allOf: [found] } : null;
}

function report(place, text) {
  problems += 1;
  console.log(`${place}: ${text}`);
}

function check(place, schema, value) {
  const valid = ajv.compile(schema);
  if (valid(value)) return;
  for (const error of valid.errors) {
    const more = error.params.additionalProperty ?? error.params.allowedValues?.join(", ") ?? "";
    report(place, `${error.instancePath || "/"} ${error.message} ${more}`.trim());
  }
}

// An override names a property of the field, or one of the panel's own after "custom.".
function checkOverride(place, kind, { id, value }) {
  const own = id.startsWith("custom.");
  const [, name, ...below] = own ? id.split(".") : ["", ...id.split(".")];
  const schema = own ? schemaOf(`composable/${kind}/panelcfg/x/types.gen.d.ts`, "FieldConfig") : dashboardSchema;
  const found = property(schema, "FieldConfig", name);
  if (!found) return report(place, `no such property: ${id}`);
  if (below.length === 0) check(`${place}: ${id}`, found, value);
}

function checkPanel(place, panel) {
  check(place, definition(dashboardSchema, panel.type === "row" ? "RowPanel" : "Panel"), panel);
  if (panel.type === "row") return panel.panels.forEach((inner) => checkPanel(place, inner));
  const path = `composable/${panel.type}/panelcfg/x/types.gen.d.ts`;
  const options = schemaOf(path, "Options");
  if (!options) return report(place, `no such kind of panel: ${panel.type}`);
  check(`${place}: options`, options, panel.options);
  const custom = panel.fieldConfig?.defaults.custom;
  if (custom) check(`${place}: custom`, schemaOf(path, "FieldConfig"), custom);
  for (const override of panel.fieldConfig?.overrides ?? []) {
    override.properties.forEach((one) => checkOverride(`${place}: override`, panel.type, one));
  }
}

const dashboardSchema = schemaOf("dashboard/x/types.gen.d.ts", "Dashboard");
if (!dashboardSchema) throw new Error("@grafana/schema has no type Dashboard where it had one");

const files = process.argv.slice(1);
for (const file of files) {
  const board = JSON.parse(readFileSync(file, "utf8"));
  const name = basename(file);
  for (const panel of board.panels) checkPanel(`${name}: panel "${panel.title}"`, panel);
  // The kind of the data source adds these to an annotation; the type knows those of all kinds only.
  const ofPrometheus = ["expr", "step", "titleFormat", "textFormat", "tagKeys"];
  for (const annotation of board.annotations.list) ofPrometheus.forEach((key) => delete annotation[key]);
  // Panels were checked one by one, for messages that name them.
  check(name, dashboardSchema, { ...board, panels: [] });
}
console.log(`@grafana/schema: ${files.length} dashboards, ${schemas.size} types, ${problems} problems`);
process.exit(problems === 0 && files.length > 0 ? 0 : 1);
