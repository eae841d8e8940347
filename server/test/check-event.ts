import type pg from "pg";
import { systemCaller } from "../src/kernel/context.ts";
import type { LoggedEvent } from "../src/kernel/event-reader.ts";
import { renderEvent } from "../src/kernel/event-view.ts";
import { eventKind } from "../src/kernel/events.ts";
import type { Kernel } from "../src/kernel/kernel.ts";
import { faultsOfEvent } from "./wire.ts";

/** All news, numbered or not yet, in their order: for looking behind the API. */
export const told = `create view kernel.told as
  select position as id, tenant_id, id as event_id, type, subject, occurred_at, data, owner_id, data->>'requestId' as request_id from kernel.event
  union all
  select 1000000000000 + id, tenant_id, event_id, type, subject, occurred_at, data, owner_id, request_id from kernel.outbox`;

const mostChecked = 2_000;

/** What is wrong with what a server told of: each kind of fault once. What would leave is what is checked. */
export async function faultsOfEvents(kernel: Kernel, owner: pg.Pool): Promise<string[]> {
  const { rows } = await owner.query<LoggedEvent & { sequence: string }>(
    `select id as position, event_id as id, tenant_id, 1 as sequence, type, subject, occurred_at, now() as logged_at, data, owner_id
     from kernel.told order by id desc limit ${mostChecked}`,
  );
  const root = await kernel.gate.tenant(
    (await owner.query("select id from access.tenant where parent_id is null")).rows[0].id,
  );
  const { who } = systemCaller(kernel, root!, "test");
  const version = kernel.versions.newest.label;
  const faults = new Set<string>();
  for (const row of rows) {
    const undeclared = undeclaredOf(row);
    for (const name of undeclared) faults.add(`${row.type}: ${name} is not declared`);
    for (const fault of faultsOfEvent(kernel, JSON.parse(renderEvent(kernel, row, version, who)))) faults.add(fault);
  }
  return [...faults];
}

/** Members of a resource that its schema does not state: they do not leave, but should not have been told either. */
function undeclaredOf({ type, data }: LoggedEvent): string[] {
  if (data.redacted || !data.resource) return [];
  const { properties } = (eventKind(type)?.resource ?? {}) as { properties?: object };
  return Object.keys(data.resource).filter((name) => !(name in (properties ?? {})));
}
