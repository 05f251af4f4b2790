// The stage beside the form: it shows the generation and a picture, with actions for that picture.

import { useSettings } from "./form.js";
import { $, fail, say } from "./messages.js";
import { startFrom } from "./pictures.js";

const panes = [...document.querySelectorAll("#panes figure")];
const ROUGH = 4; // enlargement at which a preview's pixels become visible

let picture = null;
let isTouched = false; // whether a preview has arrived since the last start
let handlers = {};

// Callbacks that delete a picture, zoom into it and generate it again at a larger size.
export function connect(given) {
  handlers = given;
}

// Makes room for the pictures that are generated side by side.
export function prepare(count) {
  panes.forEach((pane, i) => {
    pane.hidden = i >= count;
    caption(i, "");
  });
}

export function caption(i, text) {
  panes[i].querySelector("figcaption").textContent = text;
}

// Shows a preview or the finished picture.
export function showFile(i, file, alt, step) {
  const image = panes[i].querySelector("img");
  URL.revokeObjectURL(image.src);
  Object.assign(image, { src: URL.createObjectURL(file), alt, hidden: false });
  image.dataset.step = step;
  isTouched = true;
  $("empty").hidden = true;
}

// Shows a picture of the gallery, or with null only the examples.
export function show(chosen, i = 0) {
  picture = chosen;
  for (const id of ["about", "picture"]) {
    $(id).hidden = !chosen;
    $(id).classList.remove("away");
  }
  $("empty").hidden = Boolean(chosen);
  panes[i].picture = chosen;
  panes[i].querySelector("button").disabled = !chosen;
  if (!chosen) {
    prepare(1);
    panes[0].querySelector("img").hidden = true;
    return;
  }
  showFile(i, chosen.file, chosen.values.prompt, "last");
  $("about").textContent = $("about").title = describe(chosen);
  $("download").href = panes[i].querySelector("img").src;
  $("download").download = fileName(chosen);
  $("enlarge").disabled = chosen.hasSource || Boolean(chosen.values.upscale) || $("enlarging").hidden;
}

export function describe({ values, steps, seed, size, seconds }) {
  const how = values.profile || `${steps} steps`;
  const loras = values.loras.map(({ name, weight }) => `${name} ${weight}`);
  const took = seconds ? [`${seconds.toFixed(1)} s`] : [];
  return [values.prompt, how, ...loras, `seed ${seed}`, size.replace("x", "×"), ...took].join(" · ");
}

// A file name from the seed and as many words of the prompt as fit.
export function fileName({ values, seed, file }) {
  const words = values.prompt.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
  let name = "";
  for (const word of words) if (name.length + word.length < 60) name += `${word}-`;
  return `${name || "picture-"}${seed}.${file.type.split("/")[1]}`;
}

// ---- during generation ----

export function begin() {
  isTouched = false;
  $("empty").hidden = true;
  $("progress").removeAttribute("value");
  $("left").textContent = "Sent…";
  for (const id of ["about", "picture"]) $(id).classList.add("away"); // they belong to another picture
  for (const pane of panes) pane.querySelector("button").disabled = true;
  const { top } = $("panes").getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) $("stage").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

export function showStep(done, text) {
  if (done === null) $("progress").removeAttribute("value");
  else $("progress").value = done;
  $("left").textContent = text;
  document.title = done === null ? "mindone-diffusers" : `${Math.round(100 * done)} % · mindone-diffusers`;
}

// A stopped picture stays as it is; without a preview, or after an error, the previous picture comes back.
export function end(outcome) {
  document.title = "mindone-diffusers";
  if (outcome === "failed" || (outcome === "stopped" && !isTouched)) show(picture);
}

// ---- actions for the shown picture ----

async function copy(text, what) {
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyOldWay(text); // the page comes from another machine without TLS
    say(`The ${what} is copied.`);
  } catch {
    fail(new Error(`The browser blocks copying. The ${what}: ${text}`));
  }
}

function copyOldWay(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text });
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  focused.focus();
  if (!isCopied) throw new Error("not copied");
}

// Smooths small previews more than the browser does.
for (const pane of panes) {
  const image = pane.querySelector("img");
  image.addEventListener("load", () => {
    image.classList.toggle("rough", image.clientWidth > ROUGH * image.naturalWidth && image.dataset.step !== "last");
  });
  pane.querySelector("button").addEventListener("click", () => handlers.zoom(pane.picture));
}
$("zoom_in").addEventListener("click", () => handlers.zoom(picture));
$("copy_prompt").addEventListener("click", () => copy(picture.values.prompt, "prompt"));
$("copy_seed").addEventListener("click", () => copy(String(picture.seed), "seed"));
$("use_settings").addEventListener("click", () => {
  useSettings({ ...picture.values, seed: picture.seed });
  say("The settings are in the form.");
});
$("use_as_start").addEventListener("click", async () => {
  await startFrom(new File([picture.file], fileName(picture), { type: picture.file.type }));
  $("start").scrollIntoView({ block: "nearest" });
  $("paint").focus({ preventScroll: true });
  say("The picture is in the form, under Start from a picture.");
});
$("enlarge").addEventListener("click", () => handlers.enlarge(picture));
$("delete").addEventListener("click", () => handlers.remove(picture));
