/** Forms of the pages: labels, and faults tied to their fields, so that a screen reader tells them with the field. */
import { type Html, html } from "./page.ts";

export type Field = {
  name: string;
  label: string;
  type?: "text" | "email" | "password";
  autocomplete: string;
  value?: string;
  hint?: string;
  readonly?: boolean;
};
/** What is wrong, by the name of the field. */
export type FieldFaults = Readonly<Record<string, readonly string[]>>;

export function formOf(
  action: string,
  fields: readonly Field[],
  button: string,
  more: { hidden?: Record<string, string>; faults?: FieldFaults; after?: Html } = {},
): Html {
  const { hidden = {}, faults = {}, after } = more;
  return html`<form method="post" action="${action}">
${hiddenFields(hidden)}
${fields.map((field) => fieldOf(field, faults[field.name] ?? []))}
${after}
<button>${button}</button>
</form>`;
}

export function hiddenFields(fields: Readonly<Record<string, string>>): Html {
  const inputs = Object.entries(fields).map(
    ([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`,
  );
  return html`${inputs}`;
}

/** A field with its label; `fault` names what is wrong with it. */
function fieldOf(
  { name, label, type = "text", autocomplete, value, hint, readonly }: Field,
  faults: readonly string[] = [],
): Html {
  const notes = [hint ? `${name}-hint` : "", faults.length > 0 ? `${name}-fault` : ""].filter(Boolean).join(" ");
  return html`<label for="${name}">${label}</label>
${hint ? html`<p class="hint" id="${name}-hint">${hint}</p>` : null}
${faults.length > 0 ? html`<p class="fault" id="${name}-fault">${faults.join(" ")}</p>` : null}
<input id="${name}" name="${name}" type="${type}" autocomplete="${autocomplete}" required autocapitalize="none" spellcheck="false"
 ${value ? html` value="${value}"` : null}${readonly ? html` readonly` : null}${notes ? html` aria-describedby="${notes}"` : null}${faults.length > 0 ? html` aria-invalid="true"` : null}>
`;
}

/** A fault of no single field; it is read out where the page appears. */
export function alertOf(message: string | undefined): Html | null {
  return message === undefined ? null : html`<p class="fault" role="alert">${message}</p>`;
}
