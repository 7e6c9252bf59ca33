// Elements from plain values. Whatever a log or a person wrote becomes text, never markup.

export function el(tag, given = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...inside.flat().filter((one) => one !== null && one !== undefined && one !== false));
  return made;
}

export function fill(target, ...inside) {
  target.replaceChildren(...inside.flat().filter((one) => one !== null && one !== undefined && one !== false));
  return target;
}

let hiding;
export function say(text, seconds = 6) {
  const place = document.getElementById("message");
  place.textContent = text;
  place.hidden = !text;
  clearTimeout(hiding);
  hiding = setTimeout(() => { place.hidden = true; }, seconds * 1000);
}

export const short = (id) => (id ? id.slice(0, 8) : "nobody");
export const seconds = (s) => (s >= 60 ? `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}` : `${s.toFixed(2)} s`);
