/** What people read: the index, Swagger UI, guides and the pages behind problems. Served from here alone, no outside file. */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import fastifyStatic from "@fastify/static";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { routeTable } from "#kernel/http";
import type { Kernel } from "#kernel/kernel";
import { problemsOf } from "#kernel/openapi-refusals";
import { declaredProblems, notFound, rateLimited, refuse } from "#kernel/problem";
import { admitReader, wantsHtml } from "#kernel/readers";
import { readGuides } from "./guides.ts";
import { errorPage, indexPage, pageOf, swaggerPage, titleOf } from "./html.ts";

const policy =
  "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
const assets =
  /^\/(page\.css|swagger\.js|icon\.svg|swagger-ui\.css|swagger-ui-bundle\.js|oauth2-redirect\.html|oauth2-redirect\.js|demarc-listen\.mjs)$/;

export async function mountPages(http: FastifyInstance, kernel: Kernel): Promise<void> {
  const { documents, versions, settings, throttle } = kernel;
  const guides = readGuides(kernel.modules.map(({ name }) => name));
  const guideAt = new Map(guides.map((guide) => [guide.address, guide]));
  const newest = versions.newest.label;
  const entries = routeTable(kernel).filter(({ route }) => versions.covers(route.versions, newest));

  http.addHook("onRequest", async (request, reply) => {
    reply.headers({
      "content-security-policy": policy,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    });
    const wait = await throttle.chargeAddress(request.visit.address);
    if (wait !== null) throw refuse(rateLimited, { headers: { "retry-after": String(wait) } });
    // Assets are the same for everybody, and the log-in of Swagger UI comes back to one of them.
    if (!request.raw.url?.startsWith("/docs/asset/") && !(await admitReader(kernel, request, reply))) return reply;
  });
  const swagger = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
  await http.register(fastifyStatic, {
    root: [fileURLToPath(new URL("asset/", import.meta.url)), swagger],
    prefix: "/docs/asset/",
    index: false,
    allowedPath: (path) => assets.test(path),
    setHeaders(reply, path) {
      // A program to be kept, not a text to be shown.
      if (path.endsWith(".mjs")) reply.header("content-disposition", 'attachment; filename="demarc-listen.mjs"');
    },
  });

  function index() {
    return {
      name: "Demarc",
      release: settings.release,
      versions: documents.versions(),
      services: kernel.modules
        .map(({ name, about }) => ({
          name,
          title: titleOf(name),
          about,
          documents: labelsOf(name).map((label) => ({
            version: label,
            openapi: `/${label}/openapi/${name}.json`,
            docs: `/docs/${name}?version=${label}`,
            ...(name === "notifications" ? { asyncapi: `/${label}/asyncapi/notifications.json` } : {}),
          })),
        }))
        .filter((service) => service.documents.length > 0),
      pages: Object.fromEntries(guides.map(({ name, address }) => [name, address])),
    };
  }
  function labelsOf(service: string): string[] {
    return versions.labels(true, kernel.now()).filter((label) => documents.openapi(service, label));
  }

  http.get("/", (request, reply) => {
    reply.header("vary", "Accept");
    return wantsHtml(request) ? html(reply, pageOf("Demarc", indexPage(index(), guides))) : reply.send(index());
  });
  http.get("/docs", (_request, reply) => reply.redirect("/", 308));

  http.get<{ Params: { name: string } }>("/docs/:name", (request, reply) => {
    const { name } = request.params;
    const guide = guideAt.get(`/docs/${name}`);
    if (guide) return html(reply, pageOf(guide.title, guide.html));
    const open = labelsOf(name);
    return open.length > 0 ? html(reply, swaggerPage(name, open)) : missing(request, reply);
  });

  http.get<{ Params: { code: string } }>("/docs/error/:code", (request, reply) => {
    const { code } = request.params;
    const kinds = declaredProblems().filter((kind) => kind.code === code);
    if (kinds.length === 0) return missing(request, reply);
    return html(
      reply,
      pageOf(
        code,
        errorPage(kinds, entries, newest, (route) => problemsOf(kernel, route)),
      ),
    );
  });
}

function html(reply: FastifyReply, text: string): FastifyReply {
  return reply.type("text/html; charset=utf-8").send(text);
}

function missing(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (!wantsHtml(request)) throw refuse(notFound);
  const body = '<h1>There is no such page</h1><p>The <a href="/">index</a> lists all there are.</p>';
  return html(reply.code(404), pageOf("There is no such page", body));
}
