// The backend of a chat with Vercel's AI SDK, through `unspool serve`: an answer survives a reload and a lost connection.
//
//   unspool serve --upstream https://api.openai.com/v1
//   OPENAI_API_KEY=… node examples/node-chat/server.mjs          it prints its URL
//
// In the page: useChat({ id, resume: true }). Both routes pass on a gateway's stream. Only the id of each chat's stream is kept here.
import { createServer } from "node:http";
import { Readable } from "node:stream";

const gateway = process.env.GATEWAY ?? "http://127.0.0.1:8400/v1";
const model = process.env.MODEL ?? "gpt-5.4-mini";
const headers = { Authorization: `Bearer ${process.env.OPENAI_API_KEY ?? "none"}` };
// A chat's newest stream. With several servers, keep this in a database, with the chat's user: check that it is theirs.
const streams = new Map();

const plain = message => ({
  role: message.role,
  content: message.parts.filter(part => part.type === "text").map(part => part.text).join(""),
});

// POST /api/chat: what sendMessage posts.
async function ask({ id, messages }) {
  const response = await fetch(`${gateway}/chat/completions?format=ai-sdk`, {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify({ model, messages: messages.map(plain), stream: true }),
  });
  if (response.ok) streams.set(id, response.headers.get("x-unspool-id"));
  return response;
}

// GET /api/chat/ID/stream: what resume asks for.
async function resume(id) {
  const stream = streams.get(id);
  return stream ? fetch(`${gateway}/streams/${stream}?format=ai-sdk`, { headers }) : new Response(null, { status: 204 });
}

async function body(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return JSON.parse(Buffer.concat(pieces).toString());
}

const server = createServer(async (request, response) => {
  try {
    const chat = /^\/api\/chat\/([\w-]+)\/stream$/.exec(request.url);
    let found = new Response("not found", { status: 404 });
    if (request.method === "POST" && request.url === "/api/chat") found = await ask(await body(request));
    if (request.method === "GET" && chat) found = await resume(chat[1]);
    const passed = ["content-type", "cache-control", "x-accel-buffering", "x-vercel-ai-ui-message-stream"];
    response.writeHead(found.status, Object.fromEntries(passed.flatMap(name => {
      const value = found.headers.get(name);
      return value === null ? [] : [[name, value]];
    })));
    if (!found.body) return response.end();
    const stream = Readable.fromWeb(found.body);
    stream.on("error", () => response.destroy());
    response.on("close", () => stream.destroy()); // the gateway continues to read
    stream.pipe(response);
  } catch (error) {
    console.error(error.message);
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end();
  }
});
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
