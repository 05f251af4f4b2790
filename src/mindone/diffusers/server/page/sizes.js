// Sizes to choose from: as many pixels as the model was trained on, in the usual proportions.

import { $ } from "./messages.js";

const PROPORTIONS = [["square", 1, 1], ["portrait 3:4", 3, 4], ["portrait 2:3", 2, 3], ["tall 9:16", 9, 16],
  ["landscape 4:3", 4, 3], ["landscape 3:2", 3, 2], ["wide 16:9", 16, 9]];
const CUSTOM = "custom";

let own = ""; // the model's own size, in a request's format

// Offers sizes around the model's own, smaller where the server allows no more; if it is unknown, only the model's own.
export function listSizes(width, height, multiple) {
  own = `${width}x${height}`;
  const options = [new Option(width ? `${width}×${height}, its own` : "the model's own", "")];
  const most = Number($("size").dataset.most);
  const grid = Math.ceil(Math.sqrt(width * height) / 16 / multiple) * multiple;
  for (const [name, across, down] of width ? PROPORTIONS : []) {
    const area = Math.min(width * height, (most * most * Math.min(across, down)) / Math.max(across, down));
    const side = (part, other) => Math.min(Math.round(Math.sqrt((area * part) / other) / grid), Math.floor(most / grid)) * grid;
    const value = `${side(across, down)}x${side(down, across)}`;
    const isNew = value !== own && options.every((option) => option.value !== value);
    if (isNew) options.push(new Option(`${value.replace("x", "×")}, ${name}`, value));
  }
  $("size").replaceChildren(...options, new Option("custom", CUSTOM));
  showSize();
}

// Selects the size of the two inputs.
export function showSize() {
  const [width, height] = [$("width").value, $("height").value];
  const named = width || height ? `${width || height}x${height || width}` : "";
  const isOffered = [...$("size").options].some((option) => option.value === named);
  $("size").value = named === own ? "" : isOffered ? named : CUSTOM;
}

function setSides(width, height) {
  [$("width").value, $("height").value] = [width, height];
  $("form").dispatchEvent(new Event("input"));
}

$("size").addEventListener("change", () => {
  if ($("size").value === CUSTOM) $("width").focus();
  else setSides(...($("size").value ? $("size").value.split("x") : ["", ""]));
});
$("swap").addEventListener("click", () => {
  const [width, height] = ["width", "height"].map((name) => $(name).value || $(name).placeholder.replace(/\D/g, ""));
  setSides(height, width);
  showSize();
});
for (const name of ["width", "height"]) $(name).addEventListener("input", showSize);
