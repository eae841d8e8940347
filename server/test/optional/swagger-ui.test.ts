/** Swagger UI in a real browser: Debian's `chromium`. Each test has a page of its own that knows no token. */
import assert from "node:assert/strict";
import { after, afterEach, beforeEach, test } from "node:test";
import { type Browser, chromium, type Page } from "playwright-core";
import { startServer } from "../harness.ts";
import { makeClient, makeUser } from "../tokens.ts";

const switches = ["gpu", "quic", "background-networking", "component-update", "sync"].map(
  (name) => `--disable-${name}`,
);
const server = await startServer();
const tenant = await server.tenant(server.rootId, "customer", "Acme");
const key = await server.key(tenant, ["user.read"]);
const client = await makeClient(server, tenant, ["user.read"]);
const browser: Browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--no-first-run", ...switches],
});
after(() => browser.close());

let page: Page;
/** Requests to other origins, failed ones, and what the browser complains of (scripts, Content-Security-Policy). */
let complaints: string[] = [];

beforeEach(async () => {
  complaints = [];
  page = await (await browser.newContext()).newPage();
  await page.route("**", (route) => {
    if (new URL(route.request().url()).origin === server.url) return route.continue();
    complaints.push(`asks ${route.request().url()}`);
    return route.abort();
  });
  page.on("requestfailed", (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // A refused call is a refused call, not a fault of the page.
    if (message.type() === "error" && !message.text().includes("status of 401")) complaints.push(message.text());
  });
});
afterEach(async () => {
  await page.context().close();
  assert.deepEqual(complaints, []);
});

async function open(service: string, place = ""): Promise<void> {
  await page.goto(`${server.url}/docs/${service}?version=v1${place}`);
  await page.locator(".opblock").first().waitFor();
}

/** Fills the dialog's part for a scheme, whose fields are found by their name or by being the only one. */
async function authorize(scheme: string, fields: Record<string, string>): Promise<void> {
  await page.getByRole("button", { name: "Authorize", exact: true }).click();
  const part = page
    .locator(".modal-ux .auth-container")
    .filter({ has: page.getByRole("heading", { name: new RegExp(`^${scheme}\\b`) }) })
    .first();
  for (const [name, value] of Object.entries(fields))
    await part.locator(name ? `input[data-name=${name}]` : "input").fill(value);
  await part.locator("button.authorize").click();
  await part.getByRole("button", { name: "Remove authorization" }).waitFor();
  await page.locator(".modal-ux .close-modal").click();
}

/** Presses Try it out and Execute on the operation that is open; what the page then shows of the reply. */
async function tryItOut(): Promise<{ status: string; text: string }> {
  const operation = page.locator(".opblock.is-open");
  await operation.getByRole("button", { name: "Try it out" }).click();
  await operation.getByRole("button", { name: "Execute" }).click();
  const reply = operation.locator(".live-responses-table .response");
  await reply.waitFor();
  return { status: (await reply.locator(".response-col_status").innerText()).trim(), text: await reply.innerText() };
}

async function accessToken(): Promise<string> {
  const reply = await fetch(`${server.url}/oauth/token`, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString("base64")}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  });
  return ((await reply.json()) as { access_token: string }).access_token;
}

for (const { name } of server.kernel.modules) {
  test(`DO-1 Swagger UI of ${name} loads from this server alone and without a failed request`, async () => {
    await open(name);
    await page.waitForLoadState("networkidle");
  });
}

const schemes = {
  xApiKey: async () => ({ "": key }),
  oauth2: async () => ({ clientId: client.id, clientSecret: client.secret }),
  bearer: async () => ({ "": await accessToken() }),
  authorizationHeader: async () => ({ "": `Bearer ${await accessToken()}` }),
};

for (const [name, fields] of Object.entries(schemes)) {
  test(`53. DO-2 with the scheme ${name}, Try it out shows 200 and the reply, and a reload forgets the credential`, async () => {
    await open("directory", "#/user/listUsers");
    await authorize(name, await fields());
    const answer = await tryItOut();
    assert.equal(answer.status, "200");
    assert.match(answer.text, /"items"/);

    await page.reload();
    assert.equal((await tryItOut()).status, "401");
    assert.deepEqual(await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]"), [0, 0, ""]);
  });
}

test("53. oauth2 by authorization code: the log-in opens beside the page, and Try it out shows 200", async () => {
  const user = await makeUser(server, tenant, "ann", "read_only");
  await open("directory", "#/user/listUsers");
  await page.getByRole("button", { name: "Authorize", exact: true }).click();
  const part = page
    .locator(".modal-ux .auth-container")
    .filter({ has: page.getByRole("heading", { name: /^oauth2.*authorizationCode/ }) });
  assert.equal(await part.getByLabel("client_id:").inputValue(), "demarc-docs");
  const [popup] = await Promise.all([page.waitForEvent("popup"), part.locator("button.authorize").click()]);
  await popup.getByLabel("User name or e-mail address").fill(user.email);
  await popup.getByLabel("Password").fill(user.password);
  await Promise.all([popup.waitForEvent("close"), popup.getByRole("button", { name: "Log in" }).click()]);
  await part.getByRole("button", { name: "Remove authorization" }).waitFor();
  await page.locator(".modal-ux .close-modal").click();
  assert.equal((await tryItOut()).status, "200");
});

test("DO-2 `Bearer x` typed into bearer shows the 401 that explains it", async () => {
  await open("directory", "#/user/listUsers");
  await authorize("bearer", { "": "Bearer x" });
  const answer = await tryItOut();
  assert.equal(answer.status, "401");
  assert.match(answer.text, /"hint": "bearer_twice"/);
});

test("DO-2 a token typed alone into authorizationHeader shows the 401 that explains it", async () => {
  await open("directory", "#/user/listUsers");
  await authorize("authorizationHeader", { "": await accessToken() });
  const answer = await tryItOut();
  assert.equal(answer.status, "401");
  assert.match(answer.text, /"hint": "unknown_scheme"/);
});
