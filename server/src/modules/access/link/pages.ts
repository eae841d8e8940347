/** The pages where links lead: choose a password, ask for a new one, set up an empty installation. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { anonymous, readingContext } from "#kernel/context";
import type { Context } from "#kernel/contract";
import type { Kernel } from "#kernel/kernel";
import { type Fault, Problem, rateLimited, refuse, validationFailed } from "#kernel/problem";
import { callerOf } from "../oauth/caller.ts";
import { OAuthError } from "../oauth/error.ts";
import { type Form, readForm } from "../oauth/form.ts";
import { type Field, type FieldFaults, formOf } from "../page/form.ts";
import { type Html, html, sendPage } from "../page/page.ts";
import { linkExpired, linkInvalid } from "./link.ts";
import { requestPasswordReset, resetRequested } from "./reset.ts";
import { acceptInvitation, ownerOfLink, resetPassword } from "./set-password.ts";
import { readSetupLink, setUp } from "./setup.ts";

const mostOctets = 16_384;

type Answer = (ctx: Context, form: Form, reply: FastifyReply) => Promise<FastifyReply>;
type Page = { path: string; show: Answer; take: Answer };

export function mountLinkPages(http: FastifyInstance, kernel: Kernel): void {
  http.removeAllContentTypeParsers();
  http.addContentTypeParser("*", { parseAs: "buffer" }, (request, body, done) => {
    request.visit.bytesIn = body.length;
    done(null, body);
  });
  http.setErrorHandler((error: Error, request, reply) => sendFault(kernel, request, reply, error));
  http.addHook("onRequest", async (request) => {
    const wait = await kernel.throttle.chargeAddress(request.visit.address);
    if (wait !== null) throw refuse(rateLimited, { headers: { "retry-after": String(wait) } });
  });
  const contextOf = (request: FastifyRequest) => readingContext(kernel, callerOf(kernel, request, anonymous));
  for (const { path, show, take } of [invitationPage, resetPage, setupPage, forgotPage]) {
    http.get(`/oauth/${path}`, async (request, reply) => {
      const token = new URL(request.raw.url ?? "", "http://localhost").searchParams.get("token");
      return show(contextOf(request), new Map(token ? [["token", token]] : []), reply);
    });
    http.post(`/oauth/${path}`, { bodyLimit: mostOctets }, async (request, reply) => {
      const form = readForm(request.headers["content-type"], request.body as Buffer | undefined, false);
      return take(contextOf(request), form, reply);
    });
  }
}

const tokenOf = (form: Form) => form.get("token") ?? "";
const passwordRule = "At least 12 characters of any kind.";
const passwords: readonly Field[] = [
  { name: "new", label: "Password", type: "password", autocomplete: "new-password", hint: passwordRule },
  { name: "again", label: "The same again", type: "password", autocomplete: "new-password" },
];

/** Both passwords are there and equal: checked here, because only pages ask twice. */
function passwordTyped(form: Form): { chosen: string; faults: FieldFaults } {
  const [chosen, again] = [form.get("new"), form.get("again")];
  if (chosen === undefined) return { chosen: "", faults: { new: ["A password is needed."] } };
  return { chosen, faults: chosen === again ? {} : { again: ["The two passwords are not the same."] } };
}

/** Faults of a body as faults of fields; what belongs to no field is thrown on. */
function fieldFaults(error: unknown, names: readonly string[]): FieldFaults {
  const errors = error instanceof Problem ? error.refusal.errors : undefined;
  if (!errors || errors.length === 0) throw error;
  const nameOf = ({ pointer }: Fault) => pointer?.slice(1) ?? "";
  if (errors.some((fault) => !names.includes(nameOf(fault)))) throw error;
  return Object.fromEntries(
    [...Map.groupBy(errors, nameOf)].map(([name, faults]) => [name, faults.map(({ message }) => message)]),
  );
}

function passwordPage(kind: "invitation" | "reset", title: string, set: typeof acceptInvitation): Page {
  async function ask(ctx: Context, token: string, reply: FastifyReply, faults?: FieldFaults): Promise<FastifyReply> {
    const { user } = await ownerOfLink(ctx, kind, token);
    // For password managers: which log-in it is that gets a password.
    const name: Field = {
      name: "username",
      label: "User name",
      autocomplete: "username",
      value: user.username,
      readonly: true,
    };
    const body = formOf(kind, [name, ...passwords], "Set the password", { hidden: { token }, faults });
    return sendPage(reply, { title, body, status: faults ? 400 : 200 });
  }
  return {
    path: kind,
    show: (ctx, form, reply) => ask(ctx, tokenOf(form), reply),
    async take(ctx, form, reply) {
      const token = tokenOf(form);
      const { chosen, faults } = passwordTyped(form);
      if (Object.keys(faults).length > 0) return ask(ctx, token, reply, faults);
      try {
        await set(ctx, { token, new: chosen });
      } catch (error) {
        return ask(ctx, token, reply, fieldFaults(error, ["new"]));
      }
      const body = html`<p>Your password is set. You can log in with it now.</p><p><a href="../">To the documents</a></p>`;
      return sendPage(reply, { title: "Done", body });
    },
  };
}
const invitationPage = passwordPage("invitation", "Choose your password", acceptInvitation);
const resetPage = passwordPage("reset", "Choose a new password", resetPassword);

const forgotPage: Page = {
  path: "forgot",
  async show(_ctx, _form, reply) {
    return askLogin(reply);
  },
  async take(ctx, form, reply) {
    const login = form.get("login");
    if (login === undefined || login.length > 300)
      return askLogin(reply, { login: ["A user name or e-mail address is needed."] });
    await requestPasswordReset(ctx, { login });
    const body = html`<p>${resetRequested}</p><p class="hint">Nothing comes? Perhaps several organisations know this name: try again with <code>organisation/name</code>.</p>`;
    return sendPage(reply, { title: "Look into your mailbox", body, status: 202 });
  },
};

function askLogin(reply: FastifyReply, faults?: FieldFaults): FastifyReply {
  const login: Field = { name: "login", label: "User name or e-mail address", autocomplete: "username" };
  const body = formOf("forgot", [login], "Send me a link", { faults });
  return sendPage(reply, { title: "Forgot your password?", body, status: faults ? 400 : 200 });
}

const setupPage: Page = {
  path: "setup",
  show: (ctx, form, reply) => askSetUp(ctx, form, reply),
  async take(ctx, form, reply) {
    const typed = (name: string) => form.get(name)?.trim() ?? "";
    const { chosen: password, faults } = passwordTyped(form);
    const missing = Object.fromEntries(
      ["username", "fullname", "email"].filter((name) => typed(name) === "").map((name) => [name, ["This is needed."]]),
    );
    const all = { ...missing, ...faults };
    if (Object.keys(all).length > 0) return askSetUp(ctx, form, reply, all);
    const person = { username: typed("username"), email: typed("email"), fullname: typed("fullname") };
    try {
      const made = await setUp(ctx, { token: tokenOf(form), ...person, password, withKey: form.has("key") });
      return sendPage(reply, { title: "Your installation is ready", body: readyBody(ctx, made) });
    } catch (error) {
      return askSetUp(ctx, form, reply, fieldFaults(error, ["username", "email", "fullname", "new"]));
    }
  },
};

async function askSetUp(ctx: Context, form: Form, reply: FastifyReply, faults?: FieldFaults): Promise<FastifyReply> {
  const token = tokenOf(form);
  await readSetupLink(ctx, token);
  const person: Field[] = [
    { name: "fullname", label: "Your full name", autocomplete: "name" },
    { name: "email", label: "E-mail address", type: "email", autocomplete: "email" },
    { name: "username", label: "User name", autocomplete: "username", hint: "For logging in, such as ada.lovelace." },
  ];
  const fields = [...person.map((field) => ({ ...field, value: form.get(field.name) })), ...passwords];
  const isChecked = faults === undefined || form.has("key");
  const after = html`<p><label><input type="checkbox" name="key" value="yes"${isChecked ? html` checked` : null}> Make a key too, for the first calls</label></p>`;
  const lead = html`<p>You make the first administrator of the provider. This page works once.</p>`;
  const body = html`${lead}${formOf("setup", fields, "Set up", { hidden: { token }, faults, after })}`;
  return sendPage(reply, { title: "Set up Demarc", body, status: faults ? 400 : 200 });
}

function readyBody({ settings }: Context, { login, key }: { login: string; key: string | null }): Html {
  const call = key ?? "<key>";
  const shown = key
    ? html`<p>The key, shown this once:</p><p><code>${key}</code></p>`
    : html`<p>Logged in, you issue keys with <code>POST /v1/key</code>.</p>`;
  return html`<p>Log in as <code>${login}</code>.</p>
${shown}
<p>A first call:</p><p><code>curl -H 'x-api-key: ${call}' ${settings.publicUrl}/v1/principal/self</code></p>
<p><a href="../">Documents and Swagger UI</a></p>`;
}

/** Whoever refused: a page, in the words of the refusal. */
function sendFault(kernel: Kernel, request: FastifyRequest, reply: FastifyReply, error: Error): FastifyReply {
  const { visit } = request;
  const { statusCode } = error as { statusCode?: number };
  if (error instanceof Problem) {
    visit.code = error.kind.code;
    const { kind, refusal } = error;
    if (refusal.headers) reply.headers(refusal.headers);
    if (kind === linkExpired || kind === linkInvalid) return sendDeadLink(request, reply, error);
    const text = kind === validationFailed ? kind.title : error.message;
    return sendPage(reply, { title: "That did not work", body: html`<p>${text}</p>`, status: kind.status });
  }
  if (error instanceof OAuthError || (statusCode !== undefined && statusCode >= 400 && statusCode < 500)) {
    visit.code = "bad_request";
    const status = error instanceof OAuthError ? error.status : statusCode;
    return sendPage(reply, { title: "That did not work", body: html`<p>${error.message}</p>`, status });
  }
  kernel.log.error({ err: error, requestId: visit.requestId, route: request.routeOptions.url }, "unexpected error");
  visit.code = "internal_error";
  const body = html`<p>Something went wrong on our side. Quote the request id <code>${visit.requestId}</code>.</p>`;
  return sendPage(reply, { title: "That did not work", body, status: 500 });
}

function sendDeadLink(request: FastifyRequest, reply: FastifyReply, { kind, message }: Problem): FastifyReply {
  const instead =
    request.routeOptions.url === "/oauth/setup"
      ? html`Start the server again: as long as nobody has set it up, it prints another one.`
      : html`<a href="forgot">Ask for a new link</a>, or ask who invited you.`;
  const body = html`<p>${message}</p><p>${instead}</p>`;
  return sendPage(reply, { title: "This link does not work", body, status: kind.status });
}
