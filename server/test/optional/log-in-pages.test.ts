/** Every page of the log-in in a real browser: Debian's `chromium`. Each is held against axe's rules and a narrow screen. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, beforeEach, test } from "node:test";
import axe from "axe-core";
import { Secret, TOTP } from "otpauth";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { makeSetupLink } from "../../src/modules/access/index.ts";
import { startServer } from "../harness.ts";
import { makeClient, makeUser, type TestUser } from "../tokens.ts";
import { authorizeAddress, verifier } from "../visitor.ts";

const server = await startServer();
const acme = await server.tenant(server.rootId, "customer", "Acme");
const switches = ["gpu", "quic", "background-networking", "component-update", "sync"].map(
  (name) => `--disable-${name}`,
);
const browser: Browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--no-first-run", ...switches],
});
/** The application's own address, where the browser ends up. */
const application = createServer((_, reply) => reply.end("<title>Application</title>")).listen(0, "127.0.0.1");
await once(application, "listening");
after(async () => {
  await browser.close();
  application.close();
});
const callback = `http://127.0.0.1:${(application.address() as { port: number }).port}/callback`;

let context: BrowserContext;
let page: Page;
/** Where screenshots are kept for people, when asked for. */
const shots = process.env.DEMARC_SCREENSHOTS;
beforeEach(async () => {
  await context?.close();
  context = await browser.newContext({ viewport: { width: 320, height: 640 } });
  page = await context.newPage();
});

/** The page that is open has this heading, breaks no serious rule of axe, and needs no sideways scrolling. */
async function seen(title: string): Promise<void> {
  await page.getByRole("heading", { level: 1, name: title }).waitFor();
  const wide = await page.evaluate("document.documentElement.scrollWidth");
  assert.ok(Number(wide) <= 320, `${title} is ${wide} px wide`);
  await accessible(title);
}
async function accessible(title: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    if (shots)
      await page.screenshot({ path: `${shots}/${title.replaceAll(/\W+/g, "-")}-${colorScheme}.png`, fullPage: true });
    await page.evaluate(axe.source);
    const { violations } = (await page.evaluate("axe.run()")) as axe.AxeResults;
    const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    assert.deepEqual(
      grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`),
      [],
      `${title}, ${colorScheme}`,
    );
  }
}
async function type(fields: Record<string, string>, button: string): Promise<void> {
  for (const [label, value] of Object.entries(fields)) await page.getByLabel(label, { exact: true }).fill(value);
  await page.getByRole("button", { name: button }).click();
}
const logIn = (user: TestUser, password = user.password) =>
  type({ "User name or e-mail address": user.email, Password: password }, "Log in");
const digits = (secret: string) =>
  new TOTP({ secret: Secret.fromBase32(secret), algorithm: "SHA1", digits: 6, period: 30 }).generate({
    timestamp: server.clock.now().getTime(),
  });
const policy = (mfa: string) =>
  server.sql("update access.tenant set auth_policy = auth_policy || $2 where id = $1", [acme, { mfa }]);

test("a person logs in through every step there is, lets an application in, and lands there with a code", async (t) => {
  await policy("required");
  t.after(() => policy("optional"));
  const user = await makeUser(server, acme, "ann", "read_only");
  await server.sql("update access.login set must_change = true where user_id = $1", [user.id]);
  const client = await makeClient(server, acme, [], { kind: "application", redirectUris: [callback], public: true });
  await page.goto(server.url + authorizeAddress({ client_id: client.id, redirect_uri: callback, scope: "watch.read" }));
  await seen("Log in");
  await logIn(user, "not the password");
  await seen("Log in");
  assert.match(await page.getByRole("alert").innerText(), /user name or password is wrong/);
  await logIn(user);

  await seen("Set up a second factor");
  const secret = await page.locator("code").innerText();
  await type({ Code: "000000" }, "Set up");
  await seen("Set up a second factor");
  assert.equal(await page.getByLabel("Code").getAttribute("aria-invalid"), "true");
  await type({ Code: digits(secret) }, "Set up");
  await seen("Your recovery codes");
  assert.equal(await page.getByRole("listitem").count(), 10);
  await page.getByRole("link", { name: "go on" }).click();

  await seen("Choose a new password");
  await type({ "New password": "short", "New password again": "short" }, "Change password");
  await seen("Choose a new password");
  await type(
    { "New password": "quite another horse 9", "New password again": "quite another horse 9" },
    "Change password",
  );

  const title = await page.locator("h1").innerText();
  assert.match(title, /^Let .* in\?$/);
  await seen(title);
  await page.getByRole("button", { name: "Allow" }).click();
  await page.waitForURL(`${callback}?**`);
  assert.equal(await page.title(), "Application");
  const code = new URL(page.url()).searchParams.get("code")!;
  const answer = await server.call("POST", "/oauth/token", {
    body: {
      grant_type: "authorization_code",
      client_id: client.id,
      redirect_uri: callback,
      code,
      code_verifier: verifier,
    },
  });
  assert.equal(answer.status, 200, answer.text);

  await context.clearCookies();
  server.clock.advance(90_000);
  await page.goto(`${server.url}/oauth/login`);
  await logIn(user, "quite another horse 9");
  await seen("Second factor");
  await type({ Code: digits(secret) }, "Go on");
  await seen("Logged in");
  await page.goto(`${server.url}/oauth/logout`);
  await seen("Log out?");
  await page.getByRole("button", { name: "Log out" }).click();
  await seen("Logged out");
});

test("a person lets a device in, and the refusals on the way are pages", async () => {
  const user = await makeUser(server, acme, "ben", "read_only");
  const begun = await fetch(`${server.url}/oauth/device_authorization`, {
    method: "POST",
    body: new URLSearchParams({ client_id: "demarc-cli" }),
  });
  const { user_code: code, verification_uri: address } = (await begun.json()) as Record<string, string>;
  await page.goto(address!);
  await logIn(user);
  await seen("Let a device in");
  await type({ "Code that the device shows": "BBBB-BBBB" }, "Go on");
  await seen("Let a device in");
  await type({ "Code that the device shows": code!.toLowerCase() }, "Go on");
  await seen("Let this device in?");
  await page.getByRole("button", { name: "Allow" }).click();
  await seen("The device is in");

  await page.goto(server.url + authorizeAddress({ client_id: "nobody", redirect_uri: callback }));
  await seen("This request cannot be answered");
  await context.clearCookies();
  await page.goto(`${server.url}/oauth/login`);
  const other = await context.newPage();
  await other.goto(`${server.url}/oauth/login`);
  await context.clearCookies();
  await logIn(user);
  await seen("This form is no longer good");
});

test("the page after five wrong passwords says how long to wait", async () => {
  const user = await makeUser(server, acme, "cut", "read_only");
  await page.goto(`${server.url}/oauth/login`);
  for (let tries = 0; tries < 5; tries++) await logIn(user, "not the password");
  await logIn(user);
  await seen("Too many wrong tries");
});

test("the links that people are sent lead to pages: invitation, forgotten password, set-up, and one that works no more", async () => {
  const user = await makeUser(server, acme, "dan", "read_only");
  await server.sql("update access.login set password = null where user_id = $1", [user.id]);
  const key = await server.key(acme, "tenant_administrator");
  const invited = await server.post("/v1/invitation", { userId: user.id, sendInvitation: false }, { key });
  assert.equal(invited.status, 201, invited.text);
  await page.goto(invited.body.url);
  await seen("Choose your password");
  await type({ Password: "short", "The same again": "shirt" }, "Set the password");
  await seen("Choose your password");
  await type({ Password: "quite a good horse", "The same again": "quite a good horse" }, "Set the password");
  await seen("Done");
  await page.goto(invited.body.url);
  await seen("This link does not work");

  await page.goto(`${server.url}/oauth/forgot`);
  await seen("Forgot your password?");
  await type({ "User name or e-mail address": user.email }, "Send me a link");
  await seen("Look into your mailbox");

  await page.goto(await makeSetupLink(server.kernel, server.rootId));
  await seen("Set up Demarc");
  const password = "a horse that starts";
  const person = { "Your full name": "Eva", "E-mail address": "eva@demarc.example", "User name": "eva" };
  await type({ ...person, Password: password, "The same again": password }, "Set up");
  await seen("Your installation is ready");
});

test("the pages of the documents break no serious rule of axe", async () => {
  await page.setViewportSize({ width: 1_200, height: 800 });
  for (const path of ["/", "/docs/getting-started", "/docs/routes", "/docs/error/stale", "/docs/nothing"]) {
    await page.goto(server.url + path);
    await accessible(path);
  }
});
