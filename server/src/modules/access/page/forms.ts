/** Parts that the forms of the pages are made of: every field has its label, every fault stands at its field. */
import { type Html, html } from "./page.ts";

export type Faults = Partial<Record<string, string>>;

type Field = {
  name: string;
  label: string;
  type?: "text" | "password";
  autocomplete: string;
  hint?: string;
  value?: string;
  more?: Html;
};

export function field({ name, label, type = "text", autocomplete, hint, value, more }: Field, faults: Faults): Html {
  const fault = faults[name];
  const described = [...(hint ? [`${name}-hint`] : []), ...(fault ? [`${name}-fault`] : [])].join(" ");
  return html`<label for="${name}">${label}</label>
${hint && html`<p class="hint" id="${name}-hint">${hint}</p>`}${fault && html`<p class="fault" id="${name}-fault">${fault}</p>`}
<input id="${name}" name="${name}" type="${type}" autocomplete="${autocomplete}" required${value !== undefined && html` value="${value}"`}${described && html` aria-describedby="${described}"`}${fault && html` aria-invalid="true"`}${more}>`;
}

/** A fault of no single field; it is read out where the page appears. */
export function faultOf(message: string | undefined): Html | false {
  return message !== undefined && html`<p class="fault" role="alert" id="fault">${message}</p>`;
}
