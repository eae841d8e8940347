/** What the steps of a log-in look like. Nothing here knows a request. */
import { alertOf, type FieldFaults, formOf } from "./form.ts";
import { type Html, html } from "./page.ts";

/** What a form of a step carries along, and what is wrong with what was typed; of no single field: `alert`. */
type Parts = { hidden: Record<string, string>; faults: FieldFaults; alert?: string };
const stepForm = (step: string, { hidden, faults }: Parts, fields: Parameters<typeof formOf>[1], button: string) =>
  formOf("login", fields, button, { hidden: { ...hidden, step }, faults });

export function passwordForm(parts: Parts, about: { clientName: string | null; name: string; again: boolean }): Html {
  const fields = [
    {
      name: "username",
      label: "User name or e-mail address",
      autocomplete: "username",
      hint: "If several organisations know your name, put the code of yours before it: code/name.",
      value: about.name,
    },
    { name: "password", label: "Password", type: "password", autocomplete: "current-password" },
  ] as const;
  return html`${about.clientName !== null && html`<p>To go on to <strong>${about.clientName}</strong>.</p>`}
${about.again && html`<p>This step needs a log-in of this moment.</p>`}${alertOf(parts.alert)}
${stepForm("password", parts, fields, "Log in")}
<p><a href="forgot">Forgot your password?</a></p>`;
}

const codeField = (hint: string) => [{ name: "code", label: "Code", autocomplete: "one-time-code", hint }];

export function factorForm(parts: Parts): Html {
  const fields = codeField("Six digits from your authenticator, or one of your recovery codes.");
  return stepForm("factor", parts, fields, "Go on");
}

/** `secret`: what the authenticator needs; it is shown once, so after a wrong code there is only `restart`. */
export function enrolForm(parts: Parts, secret: { picture: Html; text: string } | null, restart: string): Html {
  return html`<p>Your organisation asks for a second factor: an app on your phone that shows six digits.</p>
${
  secret
    ? html`<p>1. Scan this picture with your authenticator app, or type in <code>${secret.text}</code></p>${secret.picture}
<p>2. Type the six digits that it shows now.</p>`
    : html`<p>Type the six digits that your authenticator shows now, or <a href="${restart}">begin again with a new picture</a>.</p>`
}${stepForm("enrol", parts, codeField("Six digits from your authenticator."), "Set up")}`;
}

/** Shown once: who has lost the phone gets in by these. */
export function recoveryCodesPage(codes: readonly string[], next: string): Html {
  return html`<p>Keep these recovery codes where you find them without your phone. Each is good for one log-in. They are shown here once.</p>
<ul>${codes.map((code) => html`<li><code>${code}</code></li>`)}</ul>
<p><a href="${next}">I have kept them: go on</a></p>`;
}

export function changeForm(parts: Parts): Html {
  const [type, autocomplete] = ["password", "new-password"] as const;
  const fields = [
    { name: "new", label: "New password", type, autocomplete, hint: "At least 12 characters of any kind." },
    { name: "again", label: "New password again", type, autocomplete },
  ];
  return html`<p>Somebody else chose your password. Choose one that only you know.</p>
${stepForm("change", parts, fields, "Change password")}`;
}
