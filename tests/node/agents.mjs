// Tool loops of agents, each of which has to end with the scripted answer: node agents.mjs URL
import { createOpenAI } from "@ai-sdk/openai";
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool } from "@openai/agents";
import { generateText, stepCountIs, streamText, tool as aiTool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const url = process.argv[2];
const prompt = "Where is order 7?";
const parameters = z.object({ id: z.string() });
const results = {};

setTracingDisabled(true);
const client = new OpenAI({ baseURL: url, apiKey: "any" });
for (const Model of [OpenAIChatCompletionsModel, OpenAIResponsesModel]) {
  const lookup = tool({ name: "lookup", description: "Look up.", parameters, execute: async ({ id }) => `sent ${id}` });
  const agent = new Agent({ name: "Bot", model: new Model(client, "any"), tools: [lookup] });
  results[Model.name] = (await run(agent, prompt)).finalOutput;
}

const provider = createOpenAI({ baseURL: url, apiKey: "any" });
const tools = { lookup: aiTool({ description: "Look up.", inputSchema: parameters, execute: async ({ id }) => `sent ${id}` }) };
for (const kind of ["chat", "responses"]) {
  const options = { model: provider[kind]("any"), tools, prompt, stopWhen: stepCountIs(5) };
  results[`ai ${kind}`] = (await generateText(options)).text;
  results[`ai ${kind} streamed`] = (await (await streamText(options)).text);
}
console.log(JSON.stringify(results));
