// Streams an answer from each of the three endpoints and prints their texts as one JSON object.
// Usage: node stream.mjs http://127.0.0.1:PORT/v1
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "sk-test", maxRetries: 0 });
const model = "m";
const question = "What is Python?";
const texts = { completions: "", chat: "", responses: "" };

for await (const chunk of await client.completions.create({ model, prompt: question, max_tokens: 400, stream: true })) {
  texts.completions += chunk.choices[0].text;
}

const messages = [{ role: "user", content: question }];
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
  texts.chat += chunk.choices[0].delta.content ?? "";
}

for await (const event of await client.responses.create({ model, input: question, stream: true })) {
  if (event.type === "response.output_text.delta") texts.responses += event.delta;
}

console.log(JSON.stringify(texts));
