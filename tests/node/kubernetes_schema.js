// kubernetes_schema.js DESCRIPTION: holds each object of the standard input, one a line, to the
// OpenAPI description's schema of its kind; fields that it does not know are errors. Prints what is
// wrong, a line each, and at the end how many objects were held to a schema, by kind.
'use strict';
const fs = require('node:fs');
const Ajv = require('ajv');
const addFormats = require('ajv-formats');

const doc = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
for (const schema of Object.values(doc.components.schemas)) {
  if (schema.properties && schema.additionalProperties === undefined) schema.additionalProperties = false;
}
const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv, ['date-time', 'byte', 'int32', 'int64', 'double']);
ajv.addFormat('int-or-string', true);
ajv.addSchema(doc, 'k8s');

const by_kind = {};
for (const [name, schema] of Object.entries(doc.components.schemas)) {
  for (const g of schema['x-kubernetes-group-version-kind'] || []) {
    by_kind[`${g.group ? `${g.group}/` : ''}${g.version} ${g.kind}`] = name;
  }
}

const counts = {};
for (const line of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const object = JSON.parse(line);
  const name = by_kind[`${object.apiVersion} ${object.kind}`];
  if (name === undefined) continue;
  const validate = ajv.getSchema(`k8s#/components/schemas/${name}`);
  counts[object.kind] = (counts[object.kind] || 0) + 1;
  if (validate(object)) continue;
  for (const e of validate.errors) {
    console.log(`${object.kind} ${object.metadata.name}: ${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`);
  }
}
console.log(JSON.stringify(counts));
