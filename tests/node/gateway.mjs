// Clients of a gateway that lose their connection at every event, and continue. Prints the text that each has in the end, as JSON.
// Usage: node gateway.mjs openai|eventsource BASE_URL [LINK]
import { EventSource } from "eventsource";
import OpenAI from "openai";

const [client, base, link] = process.argv.slice(2);

async function openai() {
  const client = new OpenAI({ baseURL: base, apiKey: "sk-alice", maxRetries: 0 });
  let text = "", last = null, id = null, isOver = false;
  const take = async stream => {
    for await (const event of stream) {
      last = event.sequence_number;
      if (event.type === "response.created") id = event.response.id;
      if (event.type === "response.output_text.delta") text += event.delta;
      if (event.type === "response.completed") isOver = true;
    }
  };
  await take(await client.responses.create({ model: "m", input: "Hi in 20 tokens", stream: true })).catch(() => {});
  while (!isOver) await take(await client.responses.retrieve(id, { stream: true, starting_after: last })).catch(() => {});
  return text;
}

function eventsource() {
  return new Promise((resolve, reject) => {
    let text = "";
    const source = new EventSource(new URL(link, base));
    source.onmessage = ({ data }) => {
      const delta = JSON.parse(data);
      if (delta.type === "text") text += delta.text;
      if (delta.type !== "end") return;
      source.close();
      resolve(text);
    };
    source.onerror = error => { if (source.readyState === EventSource.CLOSED) reject(new Error(error.message)); };
  });
}

console.log(JSON.stringify(await { openai, eventsource }[client]()));
