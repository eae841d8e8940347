/** What watches the process from outside: `/healthz`, `/readyz`, `/metrics`. They need no credential and count nowhere. */
import type { FastifyInstance } from "fastify";
import { sql } from "kysely";
import { collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { query } from "./db.ts";
import type { Kernel } from "./kernel.ts";

export function mountVitals(http: FastifyInstance, kernel: Kernel): void {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const duration = new Histogram({
    name: "demarc_request_duration_seconds",
    help: "Duration of calls by operation and status.",
    labelNames: ["operation", "status"],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers: [registry],
  });
  new Gauge({
    name: "demarc_processes",
    help: "Live server processes on this database, this one included.",
    registers: [registry],
    collect() {
      this.set(kernel.processes.live());
    },
  });
  http.addHook("onResponse", (request, reply, done) => {
    const operation = request.visit?.entry?.route.id;
    if (operation) duration.observe({ operation, status: reply.statusCode }, reply.elapsedTime / 1_000);
    done();
  });
  http.get("/healthz", async () => ({ status: "ok" }));
  http.get("/readyz", async (_request, reply) => {
    try {
      await kernel.system.in("").first(query(sql`select 1 as one`));
      return { status: "ready" };
    } catch {
      return reply.code(503).header("retry-after", "5").send({ status: "the database is away" });
    }
  });
  http.get("/metrics", async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()));
}
