// The server's models, the speeds of each, and its defaults for empty fields.

import { ask } from "./api.js";
import * as loras from "./loras.js";
import { $ } from "./messages.js";
import { listSizes } from "./sizes.js";

// Prompts for models without their own examples.
const EXAMPLES = ["a lighthouse on a cliff at sunset, oil painting", "a red fox in the snow, photograph", "a bowl of ramen, studio light"];

let models = [];
const samplers = [...$("scheduler").options].slice(1).map(({ value, text }) => [text, value]);

const modelNow = () => models.find((model) => model.id === $("model").value);
export const profileNow = () => modelNow()?.profiles.find((profile) => profile.id === $("profile").value);
export const takesNegativePrompts = (name) => models.find((model) => model.id === name)?.own?.negative_prompts ?? true;
export const examplesNow = () => (modelNow()?.own?.examples.length ? modelNow().own.examples : EXAMPLES);

// Gets the models and their speeds, and keeps the current choices.
export async function listModels() {
  models = (await (await ask("/v1/models")).json()).data;
  keepChoice($("model"), models.map(({ id }) => new Option(id)));
  showModel();
}

// Updates everything that depends on the model.
export function showModel() {
  const model = modelNow();
  const profiles = model?.profiles ?? [];
  const options = () => profiles.map(({ id, seconds }) => new Option(seconds === null ? id : `${id} · ${shown(seconds)}`, id));
  keepChoice($("profile"), [new Option("settings below", ""), ...options()]);
  const [index, beside] = [$("beside").selectedIndex, $("beside").value];
  $("beside").replaceChildren(new Option("nothing", ""), new Option("settings below", ""), ...options());
  if (index === 1) $("beside").selectedIndex = 1;
  else if (index > 1) $("beside").value = beside;
  $("speeds").hidden = !profiles.length;
  const tasks = model?.own?.tasks;
  $("start").hidden = Boolean(tasks) && !tasks.includes("image-to-image");
  $("enlarging").hidden = $("start").hidden; // its second pass starts from a picture
  $("follow").hidden = !model?.controlnets.length;
  const isOffered = ([, value]) => !model?.own || model.own.schedulers.includes(value);
  keepChoice($("scheduler"), [new Option("the model's", ""), ...samplers.filter(isOffered).map((each) => new Option(...each))]);
  $("negative_prompt").disabled = !takesNegativePrompts(model?.id);
  $("negative_prompt").placeholder = $("negative_prompt").disabled ? "has no effect with this model" : "what to avoid in the picture";
  keepChoice($("controlnet"), (model?.controlnets ?? []).map((name) => new Option(name)));
  loras.offer(model?.loras ?? []);
  showProfile();
}

// Shows the defaults of empty fields: the profile's values, or the model's.
export function showProfile() {
  const [profile, own] = [profileNow(), modelNow()?.own];
  const used = { ...own, ...profile };
  const owner = profile ? "the profile's" : "the model's";
  for (const name of ["steps", "guidance_scale", "width", "height"]) $(name).placeholder = used[name] ?? owner;
  $("scheduler").options[0].textContent = owner;
  $("settings").textContent = profile ? profile.settings : "";
  const guidance = own ? `, guidance ${own.guidance_scale}` : "";
  $("own").textContent = used.steps ? `Empty fields use ${owner} values: ${used.steps} steps${guidance}, ${used.width}×${used.height}.` : "";
  for (const name of ["width", "height"]) $(name).min = $(name).step = own?.multiple ?? 8;
  listSizes(used.width, used.height, own?.multiple ?? 8);
}

function keepChoice(select, options) {
  const value = select.value;
  select.replaceChildren(...options);
  if (options.some((option) => option.value === value)) select.value = value;
}

export function shown(seconds) {
  return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
}
