import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { declaredProblems } from "#kernel/problem";
import { type Answer, startServer } from "../../../../test/harness.ts";

/** Calls come from as many addresses as it takes: open pages share a bucket per address. */
const settings = { trustedProxies: ["127.0.0.1"] };
const server = await startServer({ settings });
let callers = 0;
const browser = "text/html,application/xhtml+xml,*/*;q=0.8";

function read(path: string, headers: Record<string, string> = {}, on = server): Promise<Answer> {
  callers++;
  const address = `192.0.${Math.floor(callers / 250)}.${callers % 250}`;
  return on.get(path, { headers: { "x-forwarded-for": address, ...headers } });
}
const page = (path: string) => read(path, { accept: browser });
const index = (await read("/")).body;
const hrefs = (html: string) => [...html.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, to]) => to!);

test("DO-1 the index lists every service in every version, as JSON and as a page", async () => {
  const labels = ["v1", "latest", "beta"];
  assert.deepEqual(
    index.versions.map(({ label }: { label: string }) => label),
    labels,
  );
  const { text } = await page("/");
  assert.deepEqual(
    index.services.map(({ name }: { name: string }) => name),
    server.kernel.modules.map(({ name }) => name),
  );
  for (const { name, documents } of index.services) {
    assert.deepEqual(
      documents.map(({ version }: { version: string }) => version),
      labels,
    );
    for (const { version, openapi, docs, asyncapi } of documents) {
      assert.ok(hrefs(text).includes(openapi) && hrefs(text).includes(docs), name);
      assert.equal(asyncapi, name === "notifications" ? `/${version}/asyncapi/notifications.json` : undefined);
      assert.ok(!asyncapi || hrefs(text).includes(asyncapi), name);
    }
  }
});

test("DO-1 every link of the index and of every page answers 200, and every place in a page is there", async () => {
  const seen = new Map<string, Answer>();
  const broken: string[] = [];
  async function follow(path: string, from: string): Promise<void> {
    const [place = "", anchor] = path.split("#");
    let answer = seen.get(place);
    if (!answer) {
      answer = await page(place);
      seen.set(place, answer);
      if (answer.status !== 200) broken.push(`${from} -> ${place}: ${answer.status}`);
      if (/html/.test(answer.headers.get("content-type") ?? "")) {
        for (const to of hrefs(answer.text))
          if (!/^https?:/.test(to)) await follow(to.startsWith("#") ? place + to : to, place);
      }
    }
    if (anchor && !anchor.startsWith("/") && !answer.text.includes(`id="${anchor}"`))
      broken.push(`${from} -> ${path}: no such place`);
  }
  for (const { documents } of index.services) {
    for (const { openapi, docs } of documents) {
      await follow(openapi, "index");
      await follow(docs, "index");
    }
  }
  for (const address of Object.values<string>(index.pages)) await follow(address, "index");
  await follow("/", "start");
  assert.deepEqual(broken, []);
});

test("every page of docs/ is shown under its own heading, and a service's name leads to its Swagger UI", async () => {
  const files = readdirSync(new URL("../../../../../docs/", import.meta.url)).map((name) => name.replace(/\.md$/, ""));
  assert.deepEqual(Object.keys(index.pages).sort(), [...files, "changelog"].sort());
  for (const address of Object.values<string>(index.pages)) {
    const { text } = await page(address);
    assert.equal(text.match(/<h1/g)?.length, 1, address);
  }
  for (const { name } of index.services) assert.match((await page(`/docs/${name}`)).text, /id="swagger"/, name);
});

test("documents have an ETag that answers 304, and may be read from any origin", async () => {
  for (const { documents } of index.services) {
    for (const { openapi } of documents) {
      const { headers, body } = await read(openapi, { origin: "https://elsewhere.example" });
      assert.equal(body.openapi, "3.1.0");
      assert.equal(headers.get("access-control-allow-origin"), "*");
      assert.match(headers.get("etag")!, /^"[\w-]+"$/);
      const again = await read(openapi, { "if-none-match": headers.get("etag")! });
      assert.deepEqual([again.status, again.text], [304, ""]);
    }
  }
});

test("every declared problem has the page that its type leads to, with each status it comes with", async () => {
  for (const { code, status } of declaredProblems()) {
    const { status: found, text } = await page(`/docs/error/${code}`);
    assert.equal(found, 200, code);
    assert.match(text, new RegExp(`<h1><code>${code}</code></h1>`));
    assert.match(text, new RegExp(`<h2>Status ${status}</h2><p>[^<]+</p><p>[^<]+`), `${code} ${status}`);
  }
  const refused = await read("/v1/watch");
  assert.equal((await page(refused.body.type)).status, 200);
});

test("two servers of a release answer the same octets", async () => {
  const other = await startServer({ settings });
  const documents = index.services.flatMap((service: any) =>
    service.documents.flatMap((one: any) => [one.openapi, one.docs]),
  );
  for (const path of ["/", "/docs/error/stale", ...Object.values<string>(index.pages), ...documents]) {
    assert.equal((await read(path, {}, other)).text, (await read(path)).text, path);
  }
});

test("programs get JSON from the index and from a page that is not there, browsers get pages", async () => {
  for (const accept of [
    "*/*",
    "application/json",
    "application/json, text/html",
    "application/json, text/html;q=0.9",
  ]) {
    const { headers } = await read("/", { accept });
    assert.match(headers.get("content-type")!, /^application\/json/, accept);
    assert.equal(headers.get("vary"), "Accept");
  }
  for (const accept of [browser, "text/html, application/json;q=0.5"]) {
    assert.match((await read("/", { accept })).headers.get("content-type")!, /^text\/html/, accept);
  }
  for (const path of ["/docs/nothing", "/docs/error/nothing"]) {
    const program = await read(path);
    assert.deepEqual([program.status, program.body.code], [404, "not_found"]);
    const person = await page(path);
    assert.equal(person.status, 404);
    assert.match(person.text, /There is no such page/);
  }
});

test("pages load nothing from elsewhere, and of the packages behind them only what they need is served", async () => {
  for (const path of ["/", "/docs/monitoring", "/docs/limits", "/docs/error/stale", "/docs/asset/page.css"]) {
    const { headers } = await page(path);
    assert.match(headers.get("content-security-policy")!, /^default-src 'self';/, path);
    assert.equal(headers.get("x-content-type-options"), "nosniff");
  }
  for (const file of ["package.json", "swagger-initializer.js", "swagger-ui-standalone-preset.js", "..%2fpages.ts"]) {
    assert.equal((await page(`/docs/asset/${file}`)).status, 404, file);
  }
});

test("pages count in the bucket of their caller's address, and nobody else's", async () => {
  const answers = await Promise.all(
    Array.from({ length: 150 }, () => server.get("/docs/limits", { headers: { "x-forwarded-for": "198.51.100.7" } })),
  );
  let last = answers.find(({ status }) => status === 429);
  for (let tries = 0; !last && tries < 5_000; tries++) {
    const answer = await server.get("/docs/limits", { headers: { "x-forwarded-for": "198.51.100.7" } });
    if (answer.status === 429) last = answer;
  }
  assert.equal(last?.body.code, "rate_limited");
  assert.match(last.headers.get("retry-after")!, /^[1-9]\d*$/);
  assert.equal((await page("/docs/limits")).status, 200);
});
