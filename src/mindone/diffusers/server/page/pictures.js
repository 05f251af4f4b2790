// The picture that a request starts from, with its painted mask, and the one that a ControlNet follows.

import { base64Of, post } from "./api.js";
import { Brush } from "./brush.js";
import { useParameters } from "./form.js";
import { $, fail } from "./messages.js";
import { PictureInput } from "./picture_input.js";
import { form as kept } from "./store.js";

const STROKES = "strokes";

const brush = new Brush($("paint"), $("cursor"), () => Number($("brush").value), () => $("erase").checked, painted);
const start = new PictureInput($("image"), $("clear"), $("source"), started);
const control = new PictureInput($("control_image"), $("unfollow"), $("followed"), () => changed());
let strokes = []; // initial strokes for when the picture has loaded

// Starts from a picture, or with null from noise.
export function startFrom(file) {
  strokes = [];
  return start.choose(file);
}

// Restores the pictures and the paint from before a reload.
export async function restore() {
  strokes = (await kept.get(STROKES).catch(() => null)) ?? [];
  await Promise.all([start.restore(), control.restore()]);
}

// A request: its fields, including those for its pictures, and the pictures.
export function withPictures(fields, all) {
  const image = $("start").hidden ? null : start.file;
  const followed = $("follow").hidden ? null : control.file;
  const { controlnet, control_kind } = all;
  const named = followed ? { ...fields, controlnet, control_kind, control_scale: Number(all.control_scale) } : fields;
  if (image) return { fields: { ...named, strength: Number(all.strength) }, image, followed };
  return { fields: $("enlarging").hidden ? named : enlarged(named, all), image, followed };
}

// The fields of an upscale.
export function enlarged(fields, { upscale, upscale_with, upscale_strength }) {
  if (!upscale) return fields;
  const details = upscale_with === "details" ? { strength: Number(upscale_strength) } : {};
  return { ...fields, upscale: Number(upscale), ...details };
}

// Sends a request to the endpoint that takes its pictures.
export async function send({ fields, image, followed }, signal) {
  if (!image) {
    const more = followed ? { control_image: await base64Of(followed) } : {};
    return post("/v1/images/generations", { ...fields, ...more }, signal);
  }
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  body.append("image", image);
  if (followed) body.append("control_image", followed);
  const mask = await brush.mask();
  if (mask) body.append("mask", mask, "mask.png");
  return post("/v1/images/edits", body, signal);
}

function started(file) {
  for (const id of ["painted", "brushes"]) $(id).hidden = !file;
  $("no_upscale").hidden = !file;
  for (const id of ["upscale", "upscale_with"]) $(id).disabled = Boolean(file);
  if (!file) {
    brush.clear();
    strokes = [];
  }
  changed();
}

// Reacts to added or removed paint.
function painted() {
  const isEmpty = !brush.strokes.length;
  for (const id of ["undo", "unpaint"]) $(id).disabled = isEmpty;
  kept.put(STROKES, isEmpty ? null : brush.strokes).catch(() => {});
}

function changed() {
  $("form").dispatchEvent(new Event("input"));
}

async function useSettingsInIt() {
  try {
    const { parameters } = await (await post("/sdapi/v1/png-info", { image: await base64Of(start.file) })).json();
    if (!parameters.prompt) throw new Error("This picture contains no settings.");
    useParameters(parameters);
    startFrom(null);
  } catch (error) {
    fail(error);
  }
}

$("source").addEventListener("load", () => brush.start($("source").naturalWidth, $("source").naturalHeight, strokes.splice(0)));
$("undo").addEventListener("click", () => brush.undo());
$("unpaint").addEventListener("click", () => brush.clear());
$("use").addEventListener("click", useSettingsInIt);
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return; // leaves text for the prompt alone
    event.preventDefault();
    document.body.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) startFrom(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => {
  if (!event.clipboardData.files.length) return;
  event.preventDefault();
  startFrom(event.clipboardData.files[0]);
});
