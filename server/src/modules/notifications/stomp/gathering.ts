/** Pieces of work of one kind that are done together where many come at once. */

/** At most so many at a time, so that none waits for very many. */
const most = 250;

/**
 * Gives a function that hands its item to `work` at once, or, while `work` of the same key is under way, together with
 * all others that come meanwhile. What `work` throws fails each of them.
 */
export function gathering<Item, Result>(work: (key: string, items: Item[]) => Promise<Result[]>) {
  type Waiting = { item: Item; resolve(result: Result): void; reject(error: unknown): void };
  const waiting = new Map<string, Waiting[]>();

  async function run(key: string, line: Waiting[]): Promise<void> {
    while (line.length > 0) {
      const part = line.splice(0, most);
      try {
        const results = await work(
          key,
          part.map(({ item }) => item),
        );
        for (const [index, { resolve }] of part.entries()) resolve(results[index]!);
      } catch (error) {
        for (const { reject } of part) reject(error);
      }
    }
    waiting.delete(key);
  }

  return (key: string, item: Item): Promise<Result> =>
    new Promise((resolve, reject) => {
      const line = waiting.get(key);
      if (line) return void line.push({ item, resolve, reject });
      const own: Waiting[] = [{ item, resolve, reject }];
      waiting.set(key, own);
      void run(key, own);
    });
}
