/** What happens once, on an empty database: the demo, or a link to set it up; and what the terminal then says. */
import { join } from "node:path";
import pg from "pg";
import type { App } from "./app.ts";
import { makeDemo } from "./demo.ts";
import type { Settings } from "./kernel/kernel.ts";
import { awaitsSetUp, makeSetupLink } from "./modules/access/index.ts";

/** What the terminal shows once: the demo's key, or a link to make the first administrator. */
export type First = { key: string } | { setupUrl: string } | null;

/**
 * Whether an earlier first start was killed in the middle: its database is of no use, and nobody has used it. Asked by the
 * holder of the start lock, so that nobody is in the middle now.
 */
export async function firstStartWasCut(url: string): Promise<boolean> {
  return (await ask<{ state: string }>(url, "select state from kernel.first_start"))[0]?.state === "begun";
}

/** Empties a database whose first start was cut. The data keys go with it. */
export async function dropEverything(url: string): Promise<void> {
  await ask(url, "drop schema if exists notifications, monitoring, directory, access, kernel, graphile_worker cascade");
}

/**
 * Fills an empty database: with the demo, or with a link by which somebody sets it up. Until that link is used, each
 * start makes another one, because none can be shown twice.
 */
export async function fillIfEmpty(app: App, url: string, demo: boolean): Promise<First> {
  const begun = await ask(
    url,
    "insert into kernel.first_start (state) values ('begun') on conflict do nothing returning state",
  );
  const { kernel, rootId } = app;
  if (begun.length === 0) {
    return (await awaitsSetUp(kernel)) ? { setupUrl: await makeSetupLink(kernel, rootId) } : null;
  }
  const first = demo
    ? { key: (await makeDemo(kernel, rootId)).keys[0]!.key }
    : { setupUrl: await makeSetupLink(kernel, rootId) };
  await ask(url, "update kernel.first_start set state = 'done'");
  return first;
}

async function ask<T extends object>(url: string, text: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

/** Tells the person at the terminal where the server is and, on the first start, how to make the first calls. */
export function greet({ publicUrl, dataDir }: Settings, first: First): void {
  const lines = [`Demarc listens on ${publicUrl}`];
  if (first && "setupUrl" in first) {
    lines.push(
      "",
      "Nobody can log in yet. Make the first administrator here, within an hour; the link works once:",
      "",
      `  ${first.setupUrl}`,
    );
  } else if (first) {
    lines.push(
      "",
      "A demo provider was made. Its administrator's key, shown this once:",
      "",
      `  ${first.key}`,
      "",
      "Try:",
      `  curl -H 'x-api-key: ${first.key}' ${publicUrl}/v1/ping`,
      `  curl -H 'x-api-key: ${first.key}' '${publicUrl}/v1/watch?limit=3&fields=name,location,status'`,
      `  curl -H 'x-api-key: ${first.key}' '${publicUrl}/v1/tenant?fields=id,name,kind'`,
      "",
      `All log-ins, clients and keys of the demo: ${join(dataDir, "demo.json")}`,
    );
  }
  lines.push("", `Documents and Swagger UI: ${publicUrl}/`);
  console.log(lines.join("\n"));
}
