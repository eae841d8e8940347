/**
 * The few pages that people see of the authorization server: plain HTML that works without script, from this origin
 * alone, kept by no cache and shown in no frame.
 */
import { hash } from "node:crypto";
import type { FastifyReply } from "fastify";

/** Markup that is safe to put into markup. */
export type Html = { html: string };
type Part = string | number | Html | null | undefined | false | readonly Html[];

/** Joins markup and values; values are escaped, so no page can be made of what somebody typed. */
export function html(parts: TemplateStringsArray, ...values: Part[]): Html {
  return { html: parts.reduce((text, part, index) => text + partOf(values[index - 1]) + part) };
}

function partOf(value: Part): string {
  if (value === null || value === undefined || value === false) return "";
  if (Array.isArray(value)) return value.map(({ html: text }) => text).join("");
  if (typeof value === "object") return (value as Html).html;
  return String(value).replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);
}

const style = `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
html{background:#fff;color:#1b1b1b}
body{margin:0;display:grid;justify-items:center}
main{width:min(26rem,calc(100% - 2rem));padding:3rem 0}
.maker{font-weight:600;margin:0 0 2rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}
label{display:block;font-weight:600;margin:1rem 0 .25rem}
input:not([type=checkbox],[type=hidden]){box-sizing:border-box;width:100%;padding:.6rem;font:inherit;border:1px solid #767676;border-radius:.35rem}
button{margin:1.5rem .5rem 0 0;padding:.6rem 1.2rem;font:inherit;font-weight:600;border:1px solid #14508c;border-radius:.35rem;background:#14508c;color:#fff;cursor:pointer}
button.quiet{background:none;color:inherit;border-color:#767676}
:focus-visible{outline:3px solid #e08a00;outline-offset:2px}
.hint{margin:.25rem 0;font-size:.9rem}
.fault{border-left:.3rem solid #b3261e;padding:.25rem .75rem;margin:1rem 0}
code{font-size:1.05em;overflow-wrap:anywhere}
svg.code{width:12rem;height:12rem;background:#fff;padding:.5rem}
@media (prefers-color-scheme:dark){html{background:#141414;color:#f0f0f0}a{color:#8ab8ee}button{background:#8ab8ee;border-color:#8ab8ee;color:#10202f}button.quiet{color:inherit}}`;
const styleSource = `'sha256-${hash("sha256", style, "base64")}'`;

/**
 * Sends a page. `formTargets`: origins besides this one that a form of the page may end at: a browser holds
 * `form-action` against the redirect that answers a form, too.
 */
export function sendPage(
  reply: FastifyReply,
  page: { title: string; body: Html; status?: number; formTargets?: readonly string[] },
): FastifyReply {
  const { title, body, status = 200, formTargets = [] } = page;
  const document = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · Demarc</title><link rel="icon" type="image/svg+xml" href="/docs/asset/icon.svg"><style>${{ html: style }}</style></head>
<body><main><p class="maker">Demarc</p><h1>${title}</h1>
${body}
</main></body></html>
`;
  return reply
    .code(status)
    .headers({
      "content-security-policy": `default-src 'none'; style-src ${styleSource}; img-src 'self' data:; form-action ${["'self'", ...formTargets].join(" ")}; frame-ancestors 'none'; base-uri 'none'`,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cache-control": "no-store",
    })
    .type("text/html; charset=utf-8")
    .send(document.html);
}
