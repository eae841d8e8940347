/** A world in which each test reconciles within a folder of its own, so that what is only here is what the test made. */
import assert from "node:assert/strict";
import type { Answer } from "../../../../test/harness.ts";
import { startWorld } from "../watch/watch.fixture.ts";

export async function startEstates() {
  const world = await startWorld();
  let places = 0;

  async function place(more: object = {}) {
    const folderId = await world.folder(world.rootOf(world.A), `F${++places}`, more);
    const locationId = await world.location(folderId, "Depot");
    return {
      folderId,
      locationId,
      reconcile: (items: object[], rest: object = {}, key = world.keys.aW, headers: Record<string, string> = {}) =>
        world.post("/v1/watch/reconcile", { scope: { folderId }, items, ...rest }, { key, headers }),
      /** The least that a new watch needs. */
      bearer: (name: string, rest: object = {}) => ({
        name,
        locationId,
        watchType: "Bearer",
        accessInKbps: 80_000,
        accessOutKbps: 20_000,
        ...rest,
      }),
      watch: (name: string, rest: object = {}) =>
        world.created({ name, locationId, watchType: "Bearer", accessInKbps: 80_000, accessOutKbps: 20_000, ...rest }),
    };
  }

  /** Everything that a report's pages hold. */
  async function pages(reportId: string, query = "", key = world.keys.aW): Promise<Answer["body"][]> {
    const items: Answer["body"][] = [];
    let link: string | null = `/v1/reconcile/${reportId}/item?limit=200${query}`;
    while (link) {
      const page: Answer = await world.get(link, { key });
      assert.equal(page.status, 200, page.text);
      items.push(...page.body.items);
      link = page.body.nextLink;
    }
    return items;
  }

  return { ...world, place, pages, eventCount: async () => (await world.events()).length };
}

export const item = (key: string, watch: unknown) => ({ key, watch });

/** The items of a report, of which a test looks at one member. */
export function each(answer: Answer, member: string): unknown[] {
  assert.equal(answer.status, 200, answer.text);
  return answer.body.items.map((one: Record<string, unknown>) => one[member]);
}
