/** The pages that people read, as text. Nothing here knows a request. */
import type { Documents } from "#kernel/documents";
import type { Entry } from "#kernel/door";
import type { ProblemKind } from "#kernel/problem";
import type { Guide } from "./guides.ts";

type Index = {
  release: string;
  versions: ReturnType<Documents["versions"]>;
  services: {
    name: string;
    title: string;
    about: string;
    documents: { version: string; openapi: string; docs: string; asyncapi?: string }[];
  }[];
};

/** A whole page. Styles of `page.css` hold below `.page` alone, so that Swagger UI keeps its own. */
export function pageOf(title: string, body: string, more: { head?: string; className?: string } = {}): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}${title === "Demarc" ? "" : " - Demarc"}</title><link rel="icon" type="image/svg+xml" href="/docs/asset/icon.svg">
${more.head ?? ""}<link rel="stylesheet" href="/docs/asset/page.css"></head><body>
<header><nav aria-label="Site"><a class="home" href="/">Demarc</a> <a href="/docs/getting-started">Getting started</a> <a href="/docs/routes">Operations</a> <a href="/docs/errors">Errors</a></nav></header>
<main class="${more.className ?? "page"}">${body}</main></body></html>
`;
}

export function indexPage({ release, versions, services }: Index, guides: readonly Guide[]): string {
  const service = ({ title, about, documents }: Index["services"][number]) => {
    const lines = documents.map(
      ({ version, docs, openapi, asyncapi }) =>
        `<li><span class="label">${version}</span> <a href="${docs}" aria-label="${title} ${version}: try it out">Try it out</a> · <a href="${openapi}" aria-label="${title} ${version}: OpenAPI">OpenAPI</a>${asyncapi ? ` · <a href="${asyncapi}" aria-label="${title} ${version}: AsyncAPI">AsyncAPI</a>` : ""}</li>`,
    );
    return `<li><h3>${title}</h3><p>${escaped(about)}</p><ul>${lines.join("")}</ul></li>`;
  };
  const version = ({ label, status, servedBy, deprecatedAt, sunsetAt }: Index["versions"][number]) =>
    `<li><code>${label}</code> ${[
      status === "alias" ? `is served by ${servedBy}` : status === "ga" ? "is current" : `is ${status}`,
      ...(deprecatedAt ? [`deprecated since ${deprecatedAt}`] : []),
      ...(sunsetAt ? [`ends ${sunsetAt}`] : []),
    ].join(", ")}</li>`;
  const links = (reference: boolean) =>
    guides
      .filter((guide) => guide.reference === reference)
      .map(({ address, title }) => `<li><a href="${address}">${escaped(title)}</a></li>`)
      .join("");
  return `<h1>Demarc</h1><p>A customer API: keys, limits and records of its own for every customer and partner, over services that are ready to use.
New here? <a href="/docs/getting-started">Start with a first call</a>.</p>
<h2>Services</h2><ul class="services">${services.map(service).join("")}</ul>
<h2>Guides</h2><ul class="guides">${links(false)}</ul><h2>Reference</h2><ul class="guides">${links(true)}</ul>
<h2>Versions</h2><ul>${versions.map(version).join("")}</ul>
<p class="quiet">Release ${escaped(release)}. Programs get this page as JSON.</p>`;
}

/** What a problem means, by its status, and what the caller can do. */
const advice: Record<number, string> = {
  400: "The request itself is at fault. <code>errors</code> names each faulty place; correct them all. Unchanged, the call will be refused again.",
  401: 'No credential came with the call, or none that counts now: wrong, expired, disabled and revoked ones all get this answer. A member <code>hint</code> tells when the form of the header is at fault. See <a href="/docs/logging-in">keys and tokens</a>.',
  403: "The credential is right, but this call is not open to it. Where a permission is missing, <code>permission</code> names it.",
  404: "Nothing stands at this address, or the caller may not see it: both get the same answer. <code>allow</code> lists the verbs where only the verb is wrong.",
  408: "The request did not arrive in time. Nothing was done; send it again.",
  409: "The request is valid, but in conflict with what exists; <code>detail</code> and the members beside it say with what. Nothing was changed.",
  410: "What was asked for has ended. The header <code>Link</code> names the successor, where there is one.",
  412: "The resource is no longer as it was when it was read. Read it again, apply the change to what it is now, and send its new <code>ETag</code>.",
  413: "The body is larger than this address takes. Send less at once.",
  415: "Send <code>application/json</code> in UTF-8.",
  422: "An <code>Idempotency-Key</code> stands for one call by one caller. Take a new value for another call.",
  426: 'Open a WebSocket at this address, and speak STOMP. See <a href="/docs/notifications">news</a>.',
  429: 'Wait as many seconds as <code>Retry-After</code> says, then send the call again. Nothing was done. See <a href="/docs/limits">limits</a>.',
  431: "The header lines of the request are too long together.",
  500: 'The fault is ours. Quote the request id. With an <code>Idempotency-Key</code> the call <a href="/docs/repeatable-calls">can be repeated</a> without doing it twice.',
  503: 'The server cannot answer now. Try again after <code>Retry-After</code>; with an <code>Idempotency-Key</code> <a href="/docs/repeatable-calls">nothing is done twice</a>.',
};

/** The page behind a problem's `type`: one code, in rare cases with two statuses. */
export function errorPage(
  kinds: readonly ProblemKind[],
  entries: readonly Entry[],
  label: string,
  problemsOf: (route: Entry["route"]) => readonly ProblemKind[],
): string {
  const parts = kinds.map(
    (kind) => `<h2>Status ${kind.status}</h2><p>${escaped(kind.title)}</p><p>${advice[kind.status] ?? ""}</p>`,
  );
  const answering = entries.filter(({ route }) => problemsOf(route).some((problem) => kinds.includes(problem)));
  // What nearly every call may answer is no matter of operations.
  const listed = answering.length > entries.length / 2 ? [] : answering;
  const operations = listed.map(({ service, route }) => {
    const place = `/docs/${service}?version=${label}#/${route.path.split("/")[1]}/${route.id}`;
    return `<li><a href="${place}">${route.id}</a> <code>${route.method} /${label}${route.path}</code></li>`;
  });
  return `<h1><code>${kinds[0]!.code}</code></h1>${parts.join("")}
${operations.length > 0 ? `<h2>Operations that answer it</h2><ul>${operations.join("")}</ul>` : ""}
<p><a href="/docs/errors">All errors</a></p>`;
}

export function swaggerPage(service: string, labels: readonly string[]): string {
  const options = labels.map((label) => `<option value="/${label}/openapi/${service}.json">${label}</option>`).join("");
  const head =
    '<link rel="stylesheet" href="/docs/asset/swagger-ui.css"><script src="/docs/asset/swagger-ui-bundle.js" defer></script><script src="/docs/asset/swagger.js" defer></script>';
  const body = `<p><label>Version <select id="version">${options}</select></label></p><div id="swagger"></div>`;
  return pageOf(`${titleOf(service)} API`, body, { head, className: "api" });
}

export const titleOf = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);
const escaped = (words: string) => words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
