/**
 * For tests of watches against devices: a server with one location each of two customers, keys, and devices that are
 * agents on loopback addresses of their own.
 */
import { after } from "node:test";
import { rootFolderOf } from "../src/modules/monitoring/scope.ts";
import type { Watch } from "../src/modules/monitoring/watch/schema.ts";
import { eventually, startServer } from "./harness.ts";
import { type AgentOptions, type SnmpAgent, startSnmpAgent } from "./snmp-agent.ts";

type Options = Parameters<typeof startServer>[0];
let devices = 0;

/** A device with an address of its own: tests of one address wait for each other. */
export async function startDevice(options: AgentOptions = {}): Promise<SnmpAgent> {
  const address = `127.0.${process.pid % 250}.${++devices + 1}` as "127.0.0.1";
  const agent = await startSnmpAgent({ community: "s3cret", system: { name: "hq-router" }, ...options, address });
  after(() => agent.close());
  return agent;
}

export async function startWatchLab(options: Options = {}) {
  const server = await startServer(options);
  const A = await server.tenant(server.rootId, "customer", "Acme");
  const B = await server.tenant(server.rootId, "customer", "Bolt");
  const keys = {
    pW: await server.key(server.rootId, ["watch.write", "folder.write", "watch.activate"]),
    aW: await server.key(A, ["watch.write", "folder.write"]),
    aR: await server.key(A, ["watch.read"]),
    aH: await server.key(A, []),
    aU: await server.key(A, ["watch.activate"]),
    bW: await server.key(B, ["watch.write", "watch.activate"]),
  };
  const location = async (tenantId: string) =>
    (await server.post("/v1/location", { name: "L", folderId: rootFolderOf(tenantId) }, { key: keys.pW })).body;
  const [L, LB] = [await location(A), await location(B)];
  let names = 0;

  /** A watch of a device, whose first interface is chosen unless said otherwise. */
  async function watchOf(device: SnmpAgent | string, more: Record<string, unknown> = {}): Promise<Watch> {
    const [address, port] = typeof device === "string" ? [device, 161] : [device.address, device.port];
    const answer = await server.post(
      "/v1/watch",
      {
        name: `hq-${++names}`,
        locationId: L.id,
        watchType: "Bearer",
        accessInKbps: 80_000,
        accessOutKbps: 20_000,
        deviceAddress: address,
        snmp: { version: "v2c", community: "s3cret", port },
        interface: { match: "ifName", value: "Gi0/1" },
        ...more,
      },
      { key: keys.pW },
    );
    if (answer.status !== 201) throw new Error(answer.text);
    return answer.body;
  }

  const read = async (id: string) => (await server.get(`/v1/watch/${id}`, { key: keys.aW })).body;
  const test = (id: string, body: object = { probes: ["snmp"] }, key = keys.aW) =>
    server.post(`/v1/watch/${id}/test`, body, { key });
  const ended = (operationId: string, key = keys.aW, on: Pick<typeof server, "get"> = server) =>
    eventually(async () => {
      const { body } = await on.get(`/v1/operation/${operationId}`, { key });
      return body.finishedAt && body;
    });

  return {
    ...server,
    A,
    B,
    L,
    LB,
    keys,
    watchOf,
    read,
    test,
    ended,
    /** Tests a watch by SNMP alone and waits for the end; returns the operation. */
    tested: async (id: string) => ended((await test(id)).body.id),
    result: async (id: string) => (await server.get(`/v1/watch/${id}/test`, { key: keys.aW })).body,
    /** A pending watch that was tested well. */
    async ready(more: Record<string, unknown> = {}): Promise<Watch> {
      const watch = await watchOf(await startDevice(), more);
      await ended((await test(watch.id)).body.id);
      return read(watch.id);
    },
    /** Types of the events that tell of a subject. */
    events: async (subject: string): Promise<string[]> =>
      (await server.sql("select type from kernel.told where subject = $1 order by id", [subject])).map((row) =>
        row.type.replace("demarc.monitoring.", ""),
      ),
  };
}
