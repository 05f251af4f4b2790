// The pictures that a request starts from and follows, and the parameters that a picture carries.

import { base64Of, post } from "./api.js";
import { Brush } from "./brush.js";
import { $, fill, say } from "./form.js";

let picture = null;
const brush = new Brush($("paint"), $("cursor"), () => Number($("brush").value), () => $("erase").checked);

// Start from a picture, or with null from noise.
export function startFrom(file) {
  picture = file ?? null;
  for (const id of ["use", "clear"]) $(id).disabled = !picture;
  for (const id of ["painted", "brushes"]) $(id).hidden = !picture;
  if (picture) $("source").src = URL.createObjectURL(picture);
  else $("image").value = "";
}

// Send a request to whichever endpoint takes its pictures.
export async function send(fields, signal) {
  const control = $("control_image").files[0];
  if (control) {
    const values = { controlnet: $("controlnet").value, control_kind: $("control_kind").value, control_scale: Number($("control_scale").value) };
    fields = { ...fields, ...values };
  }
  if (!picture) {
    const more = control ? { control_image: await base64Of(control) } : {};
    return post("/v1/images/generations", { ...fields, ...more }, signal);
  }
  const body = new FormData();
  for (const [name, value] of Object.entries({ ...fields, strength: $("strength").value })) {
    if (value !== undefined) body.append(name, value);
  }
  body.append("image", picture);
  if (control) body.append("control_image", control);
  const mask = await brush.mask();
  if (mask) body.append("mask", mask, "mask.png");
  return post("/v1/images/edits", body, signal);
}

async function useParameters() {
  try {
    const { parameters } = await (await post("/sdapi/v1/png-info", { image: await base64Of(picture) })).json();
    if (!parameters.prompt) throw new Error("This picture carries no parameters.");
    fill(parameters);
    startFrom(null);
  } catch (error) {
    say(error.message, true);
  }
}

$("source").addEventListener("load", () => brush.start($("source").naturalWidth, $("source").naturalHeight));
$("image").addEventListener("change", () => startFrom($("image").files[0]));
$("clear").addEventListener("click", () => startFrom(null));
$("use").addEventListener("click", useParameters);
$("unpaint").addEventListener("click", () => brush.clear());
$("unfollow").addEventListener("click", () => { $("control_image").value = ""; });
$("strength").addEventListener("input", () => { $("strength_shown").textContent = $("strength").value; });
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) startFrom(event.dataTransfer.files[0]);
  });
}
