/** Receives webhooks: `SECRET=whsec_… node webhook-receiver.mjs`. A secret that is being rotated: both, with a comma. */
import { createServer } from "node:http";
import { verifyWebhook } from "../sdk/verify-webhook.ts";

const { SECRET = "", PORT = "9000" } = process.env;
const keys = SECRET.split(",");

const server = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  let event;
  try {
    event = verifyWebhook(request.headers, Buffer.concat(parts), keys);
  } catch (error) {
    console.error(error.message);
    return response.writeHead(400).end();
  }
  console.log(event.sequence, event.type, event.subject);
  // The work is done: anything but 2xx has it sent again.
  response.writeHead(204).end();
});
server.listen(Number(PORT), "127.0.0.1", () => console.error(`listening on ${server.address().port}`));
