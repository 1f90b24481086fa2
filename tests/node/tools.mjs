// Streams tool calls and an answer in a schema, with the package's own helpers, and prints what they add up to as one JSON object.
// Usage: node tools.mjs http://127.0.0.1:PORT/v1 REQUESTS, where REQUESTS is a JSON object: { calls, schema, response }
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "sk-test", maxRetries: 0 });
const requests = JSON.parse(process.argv[3]);

const calls = await client.chat.completions.stream(requests.calls).finalChatCompletion();
const schema = await client.chat.completions.stream(requests.schema).finalContent();
const response = await client.responses.stream(requests.response).finalResponse();

console.log(
  JSON.stringify({
    calls: calls.choices[0].message.tool_calls.map((call) => [call.function.name, call.function.arguments]),
    schema,
    response: response.output.map((item) => [item.name, item.arguments]),
  }),
);
