// The operator's LoRAs: you choose them from a list, each gets a slider for its weight, and the prompt sends them.

import { $ } from "./messages.js";

const TAG = /<lora:([^:<>]+)(?::([^:<>]*))?[^<>]*>/g;

let offered = [];

// Offers the model's LoRAs, and keeps the chosen ones among them.
export function offer(names) {
  offered = names;
  $("loras").hidden = !names.length;
  const before = chosen();
  $("lora").replaceChildren(new Option("choose a LoRA…", ""), ...names.map((name) => new Option(name)));
  choose(before);
}

export function chosen() {
  return [...$("chosen_loras").querySelectorAll("input")].map((input) => ({ name: input.name, weight: Number(input.value) }));
}

export function choose(all) {
  $("chosen_loras").replaceChildren();
  for (const { name, weight } of all) add(name, weight);
}

export function inPrompt(prompt, all) {
  return [prompt, ...all.map(({ name, weight }) => `<lora:${name}:${weight}>`)].join(" ");
}

// Splits a prompt into its text and its LoRA tags.
export function outOf(prompt) {
  const found = [...prompt.matchAll(TAG)].map(([, name, weight]) => ({ name, weight: Number(weight) || 1 }));
  return [prompt.replace(TAG, "").replace(/ {2,}/g, " ").trim(), found];
}

function add(name, weight = 1) {
  if (!offered.includes(name) || chosen().some((each) => each.name === name)) return null;
  const [item, label, text, shown, slider, remove] = ["li", "label", "span", "span", "input", "button"].map((tag) => document.createElement(tag));
  // A weight from another program may be outside the usual range.
  const [least, most] = [Math.min(-1, weight), Math.max(2, weight)];
  Object.assign(slider, { type: "range", name, min: least, max: most, step: 0.05, value: weight });
  Object.assign(remove, { type: "button", textContent: "Remove", ariaLabel: `Remove the LoRA ${name}` });
  const show = () => { shown.textContent = Number(slider.value).toFixed(2); };
  slider.addEventListener("input", show);
  remove.addEventListener("click", () => {
    item.remove();
    $("lora").focus();
    changed();
  });
  show();
  text.append(`${name} `, shown);
  label.append(text, slider);
  item.append(label, remove);
  $("chosen_loras").append(item);
  return slider;
}

function changed() {
  $("form").dispatchEvent(new Event("input"));
}

$("lora").addEventListener("change", () => {
  const slider = add($("lora").value);
  $("lora").value = "";
  slider?.focus();
  changed();
});
