/** STOMP in a real browser (Debian's `chromium`), and from Debian's `python3-stomp` over TCP. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { after, test } from "node:test";
import { chromium } from "playwright-core";
import { eventually, startServer } from "../harness.ts";

const tcpPort = await new Promise<number>((resolve) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address() as { port: number };
    probe.close(() => resolve(port));
  });
});
const sessions = { principal: 20, tenant: 200, process: 10_000 };
const server = await startServer({
  settings: {
    stomp: {
      loginSeconds: 10,
      preLoginBytes: 16_384,
      bufferBytes: 1_048_576,
      heartBeat: [10_000, 10_000],
      maxDeliveries: 10,
      origins: [],
      tcpPort,
      sessions,
      chat: null,
    },
  },
});
const tenant = await server.tenant(server.rootId, "customer", "Ours");
const key = await server.key(tenant, ["notification.subscribe", "notification.manage"]);
let made = 0;
const makeQueue = async (): Promise<string> =>
  (await server.post("/v1/stomp-queue", { name: `q${++made}`, types: ["*"] }, { key })).body.id;
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--headless", "--no-sandbox"] });
after(() => browser.close());
const shots = process.env.DEMARC_SCREENSHOTS;

test("the five steps of the guide show the first notification in a browser", async () => {
  const page = await browser.newPage();
  await page.goto(`${server.url}/docs`);
  await page.evaluate(`
    document.body.innerHTML = "<pre></pre>";
    window.ws = new WebSocket(location.origin.replace("http", "ws") + "/v1/stomp", ["v12.stomp"]);
    ws.onmessage = ({ data }) => { document.querySelector("pre").textContent += data + "\\n"; };
    ws.onopen = () => ws.send("CONNECT\\naccept-version:1.2\\npasscode:" + ${JSON.stringify(key)} + "\\n\\n\\0");
  `);
  const shown = () => page.evaluate("document.querySelector('pre').textContent") as Promise<string>;
  await eventually(async () => (await shown()).includes("CONNECTED"));
  await page.evaluate(`ws.send("SUBSCRIBE\\nid:0\\ndestination:/topic/event\\nreceipt:r\\n\\n\\0")`);
  await eventually(async () => (await shown()).includes("RECEIPT"));
  const id = await makeQueue();
  await eventually(async () => (await shown()).includes(id));
  if (shots) await page.screenshot({ path: `${shots}/stomp.png` });
  await page.close();
});

test("@stomp/stompjs, unmodified, hears events in a browser", async () => {
  const page = await browser.newPage();
  await page.goto(`${server.url}/docs`);
  const bundle = new URL("../../../node_modules/@stomp/stompjs/bundles/stomp.umd.min.js", import.meta.url);
  await page.evaluate(readFileSync(bundle, "utf8"));
  await page.evaluate(`
    window.heard = []; window.ready = false;
    const client = new StompJs.Client({
      brokerURL: location.origin.replace("http", "ws") + "/v1/stomp",
      connectHeaders: { passcode: ${JSON.stringify(key)} },
      onConnect() {
        client.watchForReceipt("s", () => { ready = true; });
        client.subscribe("/topic/event", ({ body }) => heard.push(JSON.parse(body).subject), { receipt: "s" });
      },
    });
    client.activate();
  `);
  await eventually(() => page.evaluate("ready"));
  const id = await makeQueue();
  await eventually(async () => ((await page.evaluate("heard")) as string[]).includes(id));
  await page.close();
});

const program = `
import sys, stomp
class Listener(stomp.ConnectionListener):
    def on_message(self, frame): print("MESSAGE", frame.body, flush=True)
    def on_receipt(self, frame): print("RECEIPT", frame.headers["receipt-id"], flush=True)
    def on_error(self, frame): print("ERROR", frame.headers, flush=True)
connection = stomp.Connection12([("127.0.0.1", int(sys.argv[1]))], heartbeats=(5000, 5000))
connection.set_listener("", Listener())
connection.connect("any", sys.argv[2], wait=True)
connection.subscribe("/topic/event", id="1", ack="auto", headers={"receipt": "s"})
sys.stdin.readline()
connection.disconnect()
`;

test("python3-stomp, unmodified, hears events over TCP", async () => {
  const child = spawn("/usr/bin/python3", ["-c", program, String(tcpPort), key], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let printed = "";
  child.stdout.on("data", (text) => {
    printed += text;
  });
  await eventually(() => printed.includes("RECEIPT s"));
  const id = await makeQueue();
  await eventually(() => printed.includes(id));
  child.stdin.write("\n");
  await eventually(() => child.exitCode === 0);
  assert.ok(!printed.includes("ERROR"));
});
