import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { Client } from "@stomp/stompjs";

const {
  DEMARC_URL,
  DEMARC_TOKEN_URL,
  DEMARC_CLIENT_ID,
  DEMARC_CLIENT_SECRET,
  CURSOR_FILE = "cursor.txt",
} = process.env;
let cursor = existsSync(CURSOR_FILE) ? readFileSync(CURSOR_FILE, "utf8") : "";
function keep(next) {
  writeFileSync(`${CURSOR_FILE}.new`, next, { flush: true });
  renameSync(`${CURSOR_FILE}.new`, CURSOR_FILE);
  cursor = next;
}
async function accessToken() {
  const authorization = `Basic ${btoa(`${DEMARC_CLIENT_ID}:${DEMARC_CLIENT_SECRET}`)}`;
  const reply = await fetch(DEMARC_TOKEN_URL, {
    method: "POST",
    headers: { authorization },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  });
  if (!reply.ok) throw new Error(`token request answered ${reply.status}`);
  return (await reply.json()).access_token;
}
function handle({ body, headers }) {
  // synchronous: the place is kept only after the work
  const { sequence, type, subject } = JSON.parse(body);
  console.log(sequence, type, subject);
  keep(headers.cursor);
}
const client = new Client({
  brokerURL: `${DEMARC_URL.replace(/^http/, "ws")}/v1/stomp`,
  reconnectDelay: 2000,
  beforeConnect: async () => {
    client.connectHeaders = {
      Authorization: `Bearer ${await accessToken().catch((error) => console.error(error.message))}`,
    };
  },
  onConnect: () => {
    client.watchForReceipt("subscribed", (receipt) => {
      if (!cursor) keep(receipt.headers.cursor);
    });
    client.subscribe("/topic/event", handle, {
      receipt: "subscribed",
      ...(cursor ? { "last-event-id": cursor } : { from: "now" }),
    });
  },
  onStompError: ({ headers }) => console.error(headers.code, headers.message),
});
client.activate();
