import { services } from "#kernel/permissions";
import type { OAuthClient } from "../oauth/client.ts";
import { hiddenFields } from "./form.ts";
import { type Html, html } from "./page.ts";

type About = {
  hidden: Record<string, string>;
  client: OAuthClient;
  scopes: readonly string[];
  person: string;
  otherPerson: string;
  /** The host that gets the answer: a person may know it, where the name could be anybody's. */
  goesTo: string;
};

export function consentForm({ hidden, client, scopes, person, otherPerson, goesTo }: About): Html {
  return html`<p><strong>${client.name}</strong> at <code>${goesTo}</code> wants to act for you, <strong>${person}</strong>. It may then:</p>
${scopeList(scopes)}
<p class="hint">Never more than you may do yourself. You can take it back at any time.</p>
${client.id === "demarc-cli" && html`<p>Go on only if you have just started the command line on this computer.</p>`}
<form method="post" action="consent">${hiddenFields(hidden)}
<button name="decision" value="allow">Allow</button><button class="quiet" name="decision" value="deny">Refuse</button></form>
<p><a href="${otherPerson}">You are somebody else? Log in again</a></p>`;
}

export function scopeList(scopes: readonly string[]): Html {
  return html`<ul>${scopes.map((scope) => html`<li>${words(scope)}</li>`)}</ul>`;
}

function words(scope: string): string {
  if (scope === "*") return "do everything that you may do";
  if (scope === "read") return "read everything that you may read";
  const [service, part] = scope.split(":");
  if ((services as readonly string[]).includes(service!))
    return part === "read" ? `read in ${service}` : `read and change in ${service}`;
  return `use the permission ${scope}`;
}
