// The page is a client of the server's public APIs and of nothing else.
"use strict";

const PREVIEWS = 12;
const INPUTS = ["prompt", "negative_prompt", "model", "scheduler", "steps", "guidance_scale", "n", "width", "height", "seed"];
const NUMBERS = ["steps", "guidance_scale", "n", "seed"];
const $ = (id) => document.getElementById(id);
let stopping = null;
let picture = null;

function headers(more = {}) {
  const key = sessionStorage.getItem("key");
  return key ? { Authorization: `Bearer ${key}`, ...more } : more;
}

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (response.ok) return response;
  if (response.status === 401) document.querySelector(".key").hidden = false;
  const body = await response.json().catch(() => ({}));
  const detail = Array.isArray(body.detail) ? body.detail[0].msg : body.detail;
  throw new Error(body.error?.message ?? detail ?? `the server answers ${response.status}`);
}

function say(text, failed = false) {
  $("status").textContent = text;
  $("status").classList.toggle("failed", failed);
}

function request() {
  const fields = { stream: true, progress: true, partial_images: PREVIEWS, size: "auto" };
  for (const name of INPUTS) {
    const value = $(name).value.trim();
    if (value === "" || name === "width" || name === "height") continue;
    fields[name] = NUMBERS.includes(name) ? Number(value) : value;
  }
  const [width, height] = [$("width").value, $("height").value];
  if (width || height) fields.size = `${width || height}x${height || width}`;
  return fields;
}

function send(fields, signal) {
  if (!picture) {
    const body = JSON.stringify(fields);
    return ask("/v1/images/generations", { method: "POST", signal, body, headers: { "Content-Type": "application/json" } });
  }
  const body = new FormData();
  for (const [name, value] of Object.entries({ ...fields, strength: $("strength").value })) body.append(name, value);
  body.append("image", picture);
  return ask("/v1/images/edits", { method: "POST", signal, body });
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) yield JSON.parse(part.slice(part.indexOf("data: ") + 6));
  }
}

async function draw() {
  if (stopping || !$("form").reportValidity()) return;
  stopping = new AbortController();
  $("draw").disabled = true;
  $("stop").disabled = false;
  $("progress").removeAttribute("value");
  say("Waiting for its turn…");
  const fields = request();
  const began = performance.now();
  let drawn = 0;
  try {
    for await (const event of events(await send(fields, stopping.signal))) {
      if (event.error) throw new Error(event.error.message);
      const kind = event.type.split(".")[1];
      if (kind === "progress") {
        $("progress").value = event.step / event.steps;
        say(`Step ${event.step} of ${event.steps}, ${event.seconds_left.toFixed(1)} s left`);
      } else {
        show(event);
        if (kind === "completed") add(event, fields, drawn++);
      }
    }
    say(`Done in ${((performance.now() - began) / 1000).toFixed(1)} s.`);
  } catch (error) {
    say(error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
  } finally {
    stopping = null;
    $("draw").disabled = false;
    $("stop").disabled = true;
    $("progress").value = 0;
  }
}

function show(event) {
  $("preview").src = `data:image/${event.output_format};base64,${event.b64_json}`;
  $("preview").hidden = false;
}

function add(event, fields) {
  const figure = document.createElement("figure");
  const image = document.createElement("img");
  const caption = document.createElement("figcaption");
  const text = document.createElement("span");
  const again = document.createElement("button");
  const save = document.createElement("a");
  image.src = $("preview").src;
  image.alt = fields.prompt;
  text.textContent = `${fields.prompt} · ${fields.steps} steps · seed ${event.seed} · ${event.size}`;
  again.type = "button";
  again.textContent = "Use these parameters";
  again.onclick = () => fill({ ...fields, seed: event.seed, n: 1, ...sides(event.size) });
  save.href = image.src;
  save.download = `${event.seed}.png`;
  save.textContent = "Save";
  caption.append(text, again, save);
  figure.append(image, caption);
  $("gallery").prepend(figure);
}

function sides(size) {
  const [width, height] = size.split("x");
  return { width, height };
}

function fill(values) {
  for (const name of INPUTS) {
    if (name === "model" && ![...$("model").options].some((option) => option.value === values.model)) continue;
    if (name === "n" && values.n === undefined) continue;
    $(name).value = values[name] ?? ($(name).type === "number" && name === "steps" ? 20 : "");
  }
  $("prompt").focus();
  say("The parameters are in the form.");
}

function choose(file) {
  picture = file ?? null;
  $("source").hidden = !picture;
  if (picture) $("source").src = URL.createObjectURL(picture);
  else $("image").value = "";
  for (const id of ["use", "clear"]) $(id).disabled = !picture;
}

async function useParameters() {
  const bytes = new Uint8Array(await picture.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  try {
    const body = JSON.stringify({ image: btoa(text) });
    const response = await ask("/sdapi/v1/png-info", { method: "POST", body, headers: { "Content-Type": "application/json" } });
    const { parameters } = await response.json();
    if (!parameters.prompt) throw new Error("This picture carries no parameters.");
    fill(parameters);
    choose(null);
  } catch (error) {
    say(error.message, true);
  }
}

async function listModels() {
  try {
    const { data } = await (await ask("/v1/models")).json();
    $("model").replaceChildren(...data.map(({ id }) => new Option(id)));
    say("Ready.");
  } catch (error) {
    say(error.message, true);
  }
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); draw(); });
$("stop").addEventListener("click", () => stopping?.abort());
$("image").addEventListener("change", () => choose($("image").files[0]));
$("clear").addEventListener("click", () => choose(null));
$("use").addEventListener("click", useParameters);
$("strength").addEventListener("input", () => { $("strength_shown").textContent = $("strength").value; });
$("key").addEventListener("change", () => { sessionStorage.setItem("key", $("key").value); listModels(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stopping?.abort();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) draw();
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
}
listModels();
