/** What the steps of a log-in look like. Nothing here knows a request. */
import { type Faults, faultOf, field } from "./forms.ts";
import { type Html, html } from "./page.ts";

type Parts = { hidden: Html; faults: Faults };
const form = (step: string, hidden: Html, inside: Html) => html`<form method="post" action="login">${hidden}
<input type="hidden" name="step" value="${step}">
${inside}</form>`;

export function passwordForm(
  { hidden, faults }: Parts,
  about: { clientName: string | null; name: string; again: boolean },
): Html {
  return html`${about.clientName !== null && html`<p>To go on to <strong>${about.clientName}</strong>.</p>`}
${about.again && html`<p>This step needs a log-in of this moment.</p>`}${faultOf(faults.form)}
${form(
  "password",
  hidden,
  html`${field(
    {
      name: "username",
      label: "User name or e-mail address",
      autocomplete: "username",
      hint: "If several organisations know your name, put the code of yours before it: code/name.",
      value: about.name,
      more: html` autocapitalize="none" spellcheck="false" maxlength="400"`,
    },
    faults,
  )}
${field({ name: "password", label: "Password", type: "password", autocomplete: "current-password", more: html` maxlength="1000"` }, faults)}
<button>Log in</button>`,
)}`;
}

const codeField = (faults: Faults, hint: string) =>
  field(
    {
      name: "code",
      label: "Code",
      autocomplete: "one-time-code",
      hint,
      more: html` autocapitalize="none" spellcheck="false" maxlength="64"`,
    },
    faults,
  );

export function factorForm({ hidden, faults }: Parts): Html {
  return form(
    "factor",
    hidden,
    html`${codeField(faults, "Six digits from your authenticator, or one of your recovery codes.")}
<button>Go on</button>`,
  );
}

/** `secret`: what the authenticator needs; it is shown once, so after a wrong code there is only `restart`. */
export function enrolForm(
  { hidden, faults }: Parts,
  secret: { picture: Html; text: string } | null,
  restart: string,
): Html {
  return html`<p>Your organisation asks for a second factor: an app on your phone that shows six digits.</p>
${
  secret
    ? html`<p>1. Scan this picture with your authenticator app, or type in <code>${secret.text}</code></p>${secret.picture}
<p>2. Type the six digits that it shows now.</p>`
    : html`<p>Type the six digits that your authenticator shows now, or <a href="${restart}">begin again with a new picture</a>.</p>`
}${form("enrol", hidden, html`${codeField(faults, "Six digits from your authenticator.")}<button>Set up</button>`)}`;
}

/** Shown once: who has lost the phone gets in by these. */
export function recoveryCodesPage(codes: readonly string[], next: string): Html {
  return html`<p>Keep these recovery codes where you find them without your phone. Each is good for one log-in. They are shown here once.</p>
<ul>${codes.map((code) => html`<li><code>${code}</code></li>`)}</ul>
<p><a href="${next}">I have kept them: go on</a></p>`;
}

export function changeForm({ hidden, faults }: Parts): Html {
  const type = "password" as const;
  return html`<p>Somebody else chose your password. Choose one that only you know.</p>
${form(
  "change",
  hidden,
  html`${field({ name: "new", label: "New password", type, autocomplete: "new-password", hint: "At least 12 characters of any kind.", more: html` maxlength="1000"` }, faults)}
${field({ name: "again", label: "New password again", type, autocomplete: "new-password", more: html` maxlength="1000"` }, faults)}
<button>Change password</button>`,
)}`;
}
