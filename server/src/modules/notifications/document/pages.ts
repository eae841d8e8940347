/** What people read: the index, Swagger UI, guides and the pages behind problems. Served from here alone, no outside file. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import fastifyStatic from "@fastify/static";
import type { FastifyInstance, FastifyReply } from "fastify";
import { marked } from "marked";
import type { Kernel } from "#kernel/kernel";
import { declaredProblems } from "#kernel/problem";

const guides = new URL("../../../../../docs/", import.meta.url);
/** Pages of docs/ that the server shows, by the last part of their address. */
const guideTitles = {
  "getting-started": "Getting started",
  errors: "Errors",
  limits: "Limits",
  "repeatable-calls": "Calls that are safe to repeat",
  versioning: "Versions",
  "logging-in": "Keys, tokens and logging in",
  monitoring: "Monitoring",
} as const;

const policy = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

export async function mountPages(http: FastifyInstance, kernel: Kernel): Promise<void> {
  const { documents, versions, settings } = kernel;
  http.addHook("onRequest", (_request, reply, done) => {
    reply.headers({ "content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" });
    done();
  });
  const swagger = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
  await http.register(fastifyStatic, { root: swagger, prefix: "/docs/asset/", index: false, allowedPath: (path) => /^\/(swagger-ui(-bundle|-standalone-preset)?\.(js|css)|favicon-\d+x\d+\.png)$/.test(path) });
  http.get("/docs/asset/page.css", (_request, reply) => reply.type("text/css").send(style));
  http.get("/docs/asset/docs.js", (_request, reply) => reply.type("text/javascript").send(script));

  http.get("/", (request, reply) => {
    const index = {
      name: "Demarc",
      release: settings.release,
      versions: documents.versions(),
      services: kernel.modules.map(({ name, about }) => ({
        name,
        title: title(name),
        about,
        documents: versions.labels(true).flatMap((label) =>
          documents.openapi(name, label) ? [{ version: label, openapi: `/${label}/openapi/${name}.json`, docs: `/docs/${name}?version=${label}` }] : [],
        ),
      })),
      pages: Object.fromEntries(Object.keys(guideTitles).map((name) => [name, `/docs/${name}`])),
    };
    if (!/text\/html/.test(request.headers.accept ?? "")) return reply.header("vary", "Accept").send(index);
    const services = index.services
      .filter((service) => service.documents.length > 0)
      .map(
        (service) =>
          `<li><h3>${text(service.title)}</h3><p>${text(service.about)}</p><p>${service.documents
            .map((document) => `<a href="${document.docs}">${document.version}</a> (<a href="${document.openapi}">OpenAPI</a>)`)
            .join(" · ")}</p></li>`,
      );
    const links = Object.entries(guideTitles).map(([name, words]) => `<li><a href="/docs/${name}">${words}</a></li>`);
    return html(reply.header("vary", "Accept"), "Demarc", `<p>Release ${text(settings.release)}. Versions: ${versions.labels(true).join(", ")}.</p>
<h2>Services</h2><ul class="services">${services.join("")}</ul><h2>Guides</h2><ul>${links.join("")}</ul>`);
  });

  http.get<{ Params: { name: string }; Querystring: object }>("/docs/:name", (request, reply) => {
    const { name } = request.params;
    if (name in guideTitles) {
      const words = readFileSync(new URL(`${name}.md`, guides), "utf8");
      return html(reply, guideTitles[name as keyof typeof guideTitles], marked.parse(words, { async: false }));
    }
    const labels = versions.labels(true).filter((label) => documents.openapi(name, label));
    if (labels.length === 0) return reply.callNotFound();
    const options = labels.map((label) => `<option value="/${label}/openapi/${name}.json">${label}</option>`).join("");
    return html(
      reply,
      `${title(name)} API`,
      `<nav><a href="/">All services</a> <label>Version <select id="version">${options}</select></label></nav><div id="swagger"></div>`,
      '<link rel="stylesheet" href="/docs/asset/swagger-ui.css"><script src="/docs/asset/swagger-ui-bundle.js" defer></script><script src="/docs/asset/docs.js" defer></script>',
    );
  });

  http.get<{ Params: { code: string } }>("/docs/error/:code", (request, reply) => {
    const kind = declaredProblems().find(({ code }) => code === request.params.code);
    if (!kind) return reply.callNotFound();
    return html(reply, kind.title, `<p><code>${kind.code}</code>, HTTP status ${kind.status}.</p><p><a href="/docs/errors">All errors</a></p>`);
  });
}

function html(reply: FastifyReply, heading: string, body: string, head = ""): FastifyReply {
  return reply.type("text/html; charset=utf-8").send(`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${text(heading)}</title><link rel="icon" href="/docs/asset/favicon-32x32.png"><link rel="stylesheet" href="/docs/asset/page.css">${head}</head><body><main><h1>${text(heading)}</h1>${body}</main></body></html>`);
}

const title = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);
const text = (words: string) => words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

const style = `body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#1b1f24;background:#fff}main{max-width:72rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.6rem;margin:0 0 1rem}a{color:#0b5cad}code,pre{font-family:ui-monospace,monospace;background:#f3f4f6;border-radius:4px}code{padding:.1em .3em}
pre{padding:.8rem;overflow:auto}pre code{padding:0}table{border-collapse:collapse}td,th{border:1px solid #d0d7de;padding:.3rem .6rem;text-align:left;vertical-align:top}
.services{list-style:none;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(18rem,1fr));gap:1rem}.services li{border:1px solid #d0d7de;border-radius:8px;padding:1rem}
.services h3{margin:0}nav{display:flex;gap:1.5rem}`;

/** The page's own address chooses the version, so that a link to it can be kept. */
const script = `addEventListener("load", () => {
  const picker = document.getElementById("version");
  const wanted = new URLSearchParams(location.search).get("version");
  for (const option of picker.options) if (option.text === wanted) picker.value = option.value;
  const show = () => SwaggerUIBundle({ url: picker.value, dom_id: "#swagger", deepLinking: true, validatorUrl: null, persistAuthorization: false, oauth2RedirectUrl: location.origin + "/docs/asset/oauth2-redirect.html" });
  picker.addEventListener("change", () => { location.search = "?version=" + picker.options[picker.selectedIndex].text; });
  show();
});`;
