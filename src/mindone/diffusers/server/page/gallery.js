// The pictures of this session, each with its parameters.

import { $, fill } from "./form.js";
import { startFrom } from "./pictures.js";

export function add(file, event, fields) {
  const [width, height] = event.size.split("x");
  const [image, caption, save] = ["img", "figcaption", "a"].map((name) => document.createElement(name));
  image.src = URL.createObjectURL(file);
  image.alt = fields.prompt;
  Object.assign(save, { href: image.src, download: file.name, textContent: "Save" });
  const how = fields.profile ?? `${fields.steps} steps`;
  const again = () => fill({ ...fields, seed: event.seed, n: 1, width, height });
  caption.append(
    `${fields.prompt} · ${how} · seed ${event.seed} · ${event.size}`,
    button("Use these parameters", again),
    button("Start from it", () => startFrom(file)),
    save,
  );
  const figure = document.createElement("figure");
  figure.append(image, caption);
  $("gallery").prepend(figure);
}

function button(text, onclick) {
  return Object.assign(document.createElement("button"), { type: "button", textContent: text, onclick });
}
