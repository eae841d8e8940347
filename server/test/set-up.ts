import { randomBytes } from "node:crypto";

/**
 * The key of a server that was started for the first time: as it is printed with the demo, else made at the page to which
 * the printed link leads. `url`: where the server is reached, whatever its public address. null: nothing was printed.
 */
export async function firstKey(output: string, url: string): Promise<string | null> {
  const key = /dmk_\w+/;
  const token = /setup\?token=([\w-]+)/.exec(output)?.[1];
  if (token === undefined) return key.exec(output)?.[0] ?? null;
  const password = randomBytes(16).toString("base64url");
  const person = { username: "admin", fullname: "Admin", email: "admin@demarc.example" };
  const form = new URLSearchParams({ token, ...person, new: password, again: password, key: "yes" });
  const answer = await fetch(`${url}/oauth/setup`, { method: "POST", body: form });
  const page = await answer.text();
  if (!answer.ok) throw new Error(`The set-up was refused with ${answer.status}:\n${page}`);
  return key.exec(page)![0];
}
