/**
 * Log-in by page, step by step: password, second factor or its set-up, a new password where somebody else chose the
 * old one. Each step that is passed gives the browser a new cookie value; only after the last one is there a session.
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import { countingKey } from "#kernel/address";
import { usernameOf } from "#modules/directory";
import { beginSecondFactor, checkSecondFactor, confirmSecondFactor, totpPicture } from "../mfa/second-factor.ts";
import { asActor } from "../oauth/caller.ts";
import type { Form } from "../oauth/form.ts";
import {
  guardedName,
  loginOf,
  type Proved,
  proveByPassword,
  readLoginName,
  record,
  recordFailure,
  stillProves,
} from "../oauth/log-in.ts";
import type { AuthorizationServer } from "../oauth/server.ts";
import { setCookie } from "../session/cookie.ts";
import { endSessionRow, raiseSession, type SessionRow, startSession } from "../session/store.ts";
import type { AuthPolicy } from "../tables.ts";
import { readAuthPolicy } from "../tenant/auth-policy.ts";
import { chooseOwnPassword } from "./change-password.ts";
import { type FieldFaults, formOf } from "./form.ts";
import { changeForm, enrolForm, factorForm, passwordForm, recoveryCodesPage } from "./log-in-forms.ts";
import { html, sendPage } from "./page.ts";
import { addressOf, logInAddress, readTarget, type Target } from "./target.ts";
import { formMark, PageRefusal, readPageForm, type Visitor, visitorOf } from "./visitor.ts";

type Step = "factor" | "enrol" | "change";
type Login = { mfa_enabled: boolean; must_change: boolean };

/** What is still to be done, in this order, by who has passed a stage. */
function nextStep(stage: SessionRow["stage"], login: Login, policy: AuthPolicy): Step | null {
  if (stage === "password" && login.mfa_enabled) return "factor";
  if (stage === "password" && policy.mfa === "required") return "enrol";
  return login.must_change ? "change" : null;
}

/** One request of the log-in page. */
type Turn = {
  server: AuthorizationServer;
  request: FastifyRequest;
  reply: FastifyReply;
  target: Target;
  again: boolean;
};

export async function showLogIn(
  server: AuthorizationServer,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const query = new URL(request.raw.url ?? "", "http://x").searchParams;
  const target = await readTarget(server, query.get("to") ?? undefined);
  const again = query.has("again");
  const turn: Turn = { server, request, reply, target, again };
  const visitor = await visitorOf(server, request);
  if (!visitor || again) return showPassword(turn, {}, 200);
  if (visitor.session.stage === "full") return arrive(turn);
  const login = await loginOf(server.kernel.system.in(""), visitor.session.user_id);
  const step = login && nextStep(visitor.session.stage, login, visitor.session.policy);
  // What was asked for has been done elsewhere: the log-in begins anew.
  return step ? showStep(turn, visitor, step, {}, 200) : showPassword(turn, {}, 200);
}

export async function takeLogIn(
  server: AuthorizationServer,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const form = readPageForm(server, request);
  const target = await readTarget(server, form.get("to"));
  const turn: Turn = { server, request, reply, target, again: form.has("again_now") };
  const step = form.get("step");
  if (step === "password") return takePassword(turn, form);
  const visitor = await visitorOf(server, request);
  const login = visitor && (await loginOf(server.kernel.system.in(""), visitor.session.user_id));
  const due = login && nextStep(visitor.session.stage, login, visitor.session.policy);
  if (!visitor || visitor.session.stage === "full" || due !== step)
    return reply.redirect(logInAddress(server, target.path), 303);
  if (step === "factor") return takeFactor(turn, visitor, form);
  if (step === "enrol") return takeEnrolment(turn, visitor, form);
  return takeChange(turn, visitor, form);
}

async function takePassword(turn: Turn, form: Form): Promise<FastifyReply> {
  const { server, request } = turn;
  const [typed, password] = [form.get("username"), form.get("password")];
  const faults: FieldFaults = {
    ...(typed === undefined ? { username: ["Type your user name or e-mail address."] } : {}),
    ...(password === undefined ? { password: ["Type your password."] } : {}),
  };
  if (typed === undefined || password === undefined) return showPassword(turn, faults, 400, typed);
  const proof = await proveByPassword(server, request, readLoginName(typed, undefined), password, clientIdOf(turn));
  if (proof.kind === "throttled") throw throttled(proof.retryAfterSeconds);
  if (proof.kind === "busy")
    throw new PageRefusal(503, "Too many log-ins at once", "Try again in a moment.", { "retry-after": "1" });
  if (proof.kind === "wrong") return showPassword(turn, {}, 400, typed, wrongWords);
  return begin(turn, proof, typed, password);
}

const wrongWords =
  "The user name or password is wrong. A name that several organisations know is given with the code of yours: code/name.";

/** The password was right: a session, or an unfinished log-in that waits for its next step. */
async function begin(turn: Turn, proof: Proved, typed: string, password: string): Promise<FastifyReply> {
  const { server, request, reply, target } = turn;
  const { kernel } = server;
  const { user, attempt } = proof;
  const before = await visitorOf(server, request).catch(async (error) => {
    await attempt.cancel();
    throw error;
  });
  const step = await settle(turn, proof);
  const session = await startSession(kernel.system.in(""), kernel.now(), {
    tenantId: user.tenantId,
    userId: user.id,
    stage: step === null ? "full" : step === "change" ? "factor" : "password",
    mfa: false,
    address: request.visit.address,
    user_agent: request.headers["user-agent"]?.slice(0, 200) ?? null,
    replaces: before?.session.id ?? null,
  });
  if (!(await stillProves(server, proof, password))) {
    await endSessionRow(kernel.system.in(""), session.id, kernel.now(), "log_in_ended");
    return showPassword(turn, {}, 400, typed, wrongWords);
  }
  const tenant = (await kernel.gate.tenant(user.tenantId))!;
  const who = asActor(tenant, { kind: "user", id: user.id, name: user.fullname }, clientIdOf(turn), session.id);
  request.visit.who = who;
  // A log-in that is not on record is none: the cookie comes last.
  if (step === null) await record(server, request, who, user, "succeeded", clientIdOf(turn), null);
  setCookie(kernel.settings, reply, session.cookie);
  return step === null ? arrive(turn) : reply.redirect(logInAddress(server, target.path), 303);
}

/** Settles the try by what is still to be done; nobody goes on whose tenant is suspended. */
async function settle(turn: Turn, { user, login, attempt }: Proved): Promise<Step | null> {
  const { server, request } = turn;
  const { kernel } = server;
  let step: Step | null | undefined;
  try {
    const tenant = await kernel.gate.tenant(user.tenantId);
    request.visit.ownerTenantId = tenant?.id ?? null;
    if (!tenant || tenant.suspended) {
      if (tenant) {
        const who = asActor(tenant, { kind: "user", id: user.id, name: user.fullname }, clientIdOf(turn));
        await record(server, request, who, user, "failed", clientIdOf(turn), "tenant_suspended");
      }
      const words = "Nobody of it can log in until it is resumed. Ask its provider.";
      throw new PageRefusal(403, "Your organisation is suspended", words);
    }
    step = nextStep("password", login, await readAuthPolicy(kernel.system.in(""), tenant.id));
  } finally {
    // A right password before a second factor is neither a guess nor a log-in.
    if (step === undefined || step === "factor") await attempt.cancel();
  }
  if (step !== "factor") await attempt.succeed();
  return step;
}

async function takeFactor(turn: Turn, visitor: Visitor, form: Form): Promise<FastifyReply> {
  const { server, request } = turn;
  const { kernel } = server;
  const { user, tenant, session } = visitor;
  const owner = { id: user.id, tenantId: tenant.id, fullname: user.name };
  // By one name for all that a person may have typed: there are no more guesses for another spelling.
  const name = guardedName({ tenantCode: tenant.code, name: (await usernameOf(kernel.system.in(""), user.id)) ?? "" });
  const attempt = await server.guard.enter(name, countingKey(request.visit.address));
  if (!attempt.admitted) throw throttled(attempt.retryAfterSeconds);
  let verdict: "right" | "wrong" | undefined;
  try {
    verdict = await checkSecondFactor(kernel, owner, form.get("code") ?? "");
  } finally {
    if (verdict === undefined) await attempt.cancel();
  }
  if (verdict === "wrong") {
    const { nameLockedUntilMs } = await attempt.fail();
    await recordFailure(server, request, owner, clientIdOf(turn), "second_factor", nameLockedUntilMs);
    return showStep(turn, visitor, "factor", { code: ["This code is not right, or was used before."] }, 400);
  }
  await attempt.succeed();
  await rise(turn, visitor, session.stage, true);
  return turn.reply.redirect(logInAddress(server, turn.target.path), 303);
}

async function takeEnrolment(turn: Turn, visitor: Visitor, form: Form): Promise<FastifyReply> {
  const { server, reply, target } = turn;
  const owner = { id: visitor.user.id, tenantId: visitor.tenant.id };
  const confirmed = await confirmSecondFactor(server.kernel, owner, form.get("code") ?? "");
  if (confirmed === "wrong")
    return showStep(
      turn,
      visitor,
      "enrol",
      { code: ["This code is not right. Type the one that the app shows now."] },
      400,
    );
  await rise(turn, visitor, visitor.session.stage, true);
  const body = recoveryCodesPage(confirmed.recoveryCodes, logInAddress(server, target.path));
  return sendPage(reply, { title: "Your recovery codes", body, formTargets: target.origins });
}

async function takeChange(turn: Turn, visitor: Visitor, form: Form): Promise<FastifyReply> {
  const { server, request } = turn;
  const faults = await chooseOwnPassword(
    server.kernel,
    request,
    visitor,
    form.get("new") ?? "",
    form.get("again") ?? "",
  );
  if (faults) return showStep(turn, visitor, "change", faults, 400);
  await rise(turn, visitor, visitor.session.stage, visitor.session.mfa);
  return turn.reply.redirect(logInAddress(server, turn.target.path), 303);
}

/** Raises an unfinished log-in by the step just passed; with the last one it is a session, and on record. */
async function rise(turn: Turn, visitor: Visitor, from: SessionRow["stage"], mfa: boolean): Promise<void> {
  const { server, request, reply } = turn;
  const { kernel } = server;
  const { session, tenant, user } = visitor;
  const login = (await loginOf(kernel.system.in(""), user.id))!;
  const done = nextStep("factor", login, session.policy) === null;
  const cookie = await raiseSession(
    kernel.system.in(""),
    kernel.now(),
    { id: session.id, stage: from },
    {
      stage: done ? "full" : "factor",
      mfa,
    },
  );
  if (cookie === null)
    throw new PageRefusal(409, "This step was done already", "Go on where you did it, or log in again.");
  if (done) {
    const owner = { id: user.id, tenantId: tenant.id, fullname: user.name };
    const who = asActor(tenant, user, clientIdOf(turn), session.id);
    await record(server, request, who, owner, "succeeded", clientIdOf(turn), null);
  }
  setCookie(kernel.settings, reply, cookie);
}

/** Where the log-in was for; a log-in for its own sake ends on a page that says so. */
async function arrive({ server, request, reply, target }: Turn): Promise<FastifyReply> {
  if (target.path !== null) return reply.redirect(addressOf(server, target.path), 303);
  if (request.method === "POST") return reply.redirect(logInAddress(server, null), 303);
  const visitor = (await visitorOf(server, request))!;
  const body = html`<p>You are logged in as <strong>${visitor.user.name}</strong> of ${visitor.tenant.name}.</p>
${formOf("logout", [], "Log out", { hidden: formMark(server, request, reply) })}`;
  return sendPage(reply, { title: "Logged in", body });
}

function showPassword(turn: Turn, faults: FieldFaults, status: number, typed?: string, alert?: string): FastifyReply {
  const { reply, target, again } = turn;
  const about = { clientName: target.client?.name ?? null, name: typed ?? target.loginHint ?? "", again };
  const body = passwordForm({ hidden: hiddenOf(turn), faults, alert }, about);
  return sendPage(reply, { title: "Log in", body, status, formTargets: target.origins });
}

async function showStep(
  turn: Turn,
  visitor: Visitor,
  step: Step,
  faults: FieldFaults,
  status: number,
): Promise<FastifyReply> {
  const { server, reply, target } = turn;
  const parts = { hidden: hiddenOf(turn), faults };
  const page = { status, formTargets: target.origins };
  if (step === "factor") return sendPage(reply, { title: "Second factor", body: factorForm(parts), ...page });
  if (step === "change") return sendPage(reply, { title: "Choose a new password", body: changeForm(parts), ...page });
  const begun =
    status === 200
      ? await beginSecondFactor(server.kernel, { id: visitor.user.id, tenantId: visitor.tenant.id })
      : null;
  const secret = begun && { picture: totpPicture(begun.uri!), text: begun.secret! };
  const body = enrolForm(parts, secret, logInAddress(server, target.path));
  return sendPage(reply, { title: "Set up a second factor", body, ...page });
}

function hiddenOf({ server, request, reply, target, again }: Turn): Record<string, string> {
  return {
    ...formMark(server, request, reply),
    ...(target.path === null ? {} : { to: target.path }),
    ...(again ? { again_now: "1" } : {}),
  };
}

const clientIdOf = ({ target }: Turn) => target.client?.id ?? "";

export function throttled(seconds: number): PageRefusal {
  return new PageRefusal(
    429,
    "Too many wrong tries",
    `Wait ${seconds} seconds, then try again. Nothing is looked at before, not even the right password.`,
    {
      "retry-after": String(seconds),
    },
  );
}
