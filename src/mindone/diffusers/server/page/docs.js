// Lists the paths in /openapi.json with their fields.
"use strict";

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

// What stands between backticks is code.
function prose(text) {
  return text.split(/`+/).map((part, i) => (i % 2 ? element("code", part) : part));
}

function schemaOf(operation, document_) {
  const content = operation.requestBody?.content ?? {};
  const schema = Object.values(content)[0]?.schema;
  const name = schema?.$ref?.split("/").pop();
  return name ? document_.components.schemas[name] : schema;
}

function field(name, schema, required) {
  const type = schema.enum?.join(" | ") ?? schema.const ?? schema.type ?? schema.anyOf?.map((each) => each.type ?? each.enum?.join(" | ")).join(" | ") ?? "";
  const said = [type, schema.default === undefined || schema.default === null ? "" : `default ${JSON.stringify(schema.default)}`, schema.description ?? ""];
  return element("li", "", element("code", name), ...prose(` ${required ? "(required) " : ""}${said.filter(Boolean).join("; ")}`));
}

async function list() {
  const key = sessionStorage.getItem("key");
  const response = await fetch("/openapi.json", { headers: key ? { Authorization: `Bearer ${key}` } : {} });
  const document_ = await response.json();
  for (const [path, methods] of Object.entries(document_.paths ?? {})) {
    for (const [method, operation] of Object.entries(methods)) {
      const section = element("section", "", element("h2", `${method.toUpperCase()} ${path}`), element("p", "", ...prose(operation.description ?? "")));
      const schema = schemaOf(operation, document_);
      if (schema?.properties) {
        const fields = Object.entries(schema.properties).map(([name, each]) => field(name, each, schema.required?.includes(name)));
        section.append(element("ul", "", ...fields));
      }
      document.getElementById("list").append(section);
    }
  }
}

list();
