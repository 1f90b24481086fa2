// What useChat does in a page, without a page: asks, and continues when the connection breaks.
//
//   npm install ai
//   node examples/node-chat/chat.mjs http://127.0.0.1:3000 "What is Python?"
import { AbstractChat, DefaultChatTransport } from "ai";

const [server, question, id = "chat-1"] = process.argv.slice(2);

// The state that @ai-sdk/react keeps in a hook.
const state = {
  status: "ready",
  error: undefined,
  messages: [],
  pushMessage: message => { state.messages = [...state.messages, message] },
  popMessage: () => { state.messages = state.messages.slice(0, -1) },
  replaceMessage: (index, message) => { state.messages = state.messages.with(index, message) },
  snapshot: value => structuredClone(value),
};

// An answer without a finish reason is incomplete, whether its connection broke or was closed properly.
let isOver = false;

class Chat extends AbstractChat {
  constructor() {
    super({
      id,
      state,
      transport: new DefaultChatTransport({ api: `${server}/api/chat` }),
      onError: () => {},
      onFinish: ({ finishReason }) => { isOver = finishReason !== undefined },
    });
  }
}

const chat = new Chat();
await chat.sendMessage({ text: question });
let cuts = 0;
while (!isOver && cuts < 1000) {
  cuts++;
  await chat.resumeStream(); // a page does this when it is reloaded: useChat({ id, resume: true })
}
const answer = chat.messages.at(-1);
const text = answer.parts.filter(part => part.type === "text").map(part => part.text).join("");
console.log(JSON.stringify({ text, role: answer.role, messages: chat.messages.length, status: chat.status, cuts }));
