// The page's messages: its status, errors, and the fields at fault.

export const $ = (id) => document.getElementById(id);

// The inputs of request fields whose names differ in the form.
const INPUT_OF = { size: "width", num_images: "n", mask: "image", lora: "lora", control: "control_image", control_scale: "control_scale" };

export function say(text) {
  $("failed").textContent = "";
  $("status").textContent = text;
}

// Shows an error at its field, if the form has that, and beside the picture.
export function fail(error) {
  const field = $(INPUT_OF[error.field] ?? error.field ?? "");
  if (field?.closest("form, .key")) markWrong(field, error.message, true);
  $("status").textContent = "";
  $("failed").textContent = error.message;
}

// Whether the form is valid; shows each error at its field and focuses the first one.
export function isRight(form) {
  for (const field of form.elements) markRight(field); // the server may accept now what it refused before
  const wrong = [...form.elements].filter((field) => field.willValidate && !field.checkValidity());
  wrong.forEach((field, i) => markWrong(field, `${nameOf(field)}: ${field.validationMessage}`, i === 0));
  if (wrong.length) fail(new Error(wrong.length > 1 ? `${wrong.length} fields need another value.` : "One field needs another value."));
  return !wrong.length;
}

export function markWrong(field, text, isFirst = false) {
  markRight(field);
  const line = document.createElement("p");
  Object.assign(line, { id: `wrong_${field.id}`, className: "wrong", textContent: text });
  let before = field.closest(".row") ?? field.closest("label") ?? field;
  while (before.nextElementSibling?.className === "wrong") before = before.nextElementSibling; // of others in the row
  before.after(line);
  field.setAttribute("aria-invalid", "true");
  describedBy(field, (ids) => [...ids, line.id]);
  const key = field.closest(".key");
  if (key) key.hidden = false;
  if (isFirst) field.focus();
}

export function markRight(field) {
  const line = $(`wrong_${field.id}`);
  if (!line) return;
  line.remove();
  field.removeAttribute("aria-invalid");
  describedBy(field, (ids) => ids.filter((id) => id !== line.id));
}

function nameOf(field) {
  return field.ariaLabel ?? field.labels[0].firstChild.textContent.trim();
}

function describedBy(field, change) {
  const ids = change((field.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean));
  if (ids.length) field.setAttribute("aria-describedby", ids.join(" "));
  else field.removeAttribute("aria-describedby");
}
