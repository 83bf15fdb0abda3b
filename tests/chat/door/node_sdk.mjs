// One scene with OpenAI's Node SDK: `node node_sdk.mjs SCENE`, with BASE_URL, KEY and PICTURE in the environment.
// Prints what the SDK made of it as one line of JSON.
import OpenAI from 'openai'

const {BASE_URL, KEY, PICTURE} = process.env
const client = new OpenAI({baseURL: BASE_URL, apiKey: KEY, maxRetries: 0, timeout: 20000})
const LEDGER = [{role: 'user', content: 'What is a ledger?'}]
const WEATHER = {
  name: 'get_weather',
  description: 'Current weather of a city',
  parameters: {type: 'object', properties: {city: {type: 'string'}}, required: ['city']},
}

const ask = more => client.chat.completions.create({model: 'small', messages: LEDGER, ...more})

async function refusal(promise) {
  try {
    return {answered: await promise}
  } catch (error) {
    return {kind: error.constructor.name, status: error.status, code: error.code, param: error.param}
  }
}

const scenes = {
  async whole() {
    return await ask({})
  },
  async streamed() {
    const chunks = []
    for await (const chunk of await ask({stream: true, stream_options: {include_usage: true}})) chunks.push(chunk)
    return chunks
  },
  async helper() {
    return await client.chat.completions.stream({model: 'small', messages: LEDGER}).finalChatCompletion()
  },
  async tools() {
    const asked = []
    const tool = {
      type: 'function',
      function: {...WEATHER, parse: JSON.parse, function: ({city}) => (asked.push(city), {sky: `clear over ${city}`})},
    }
    const messages = [{role: 'user', content: 'Weather in Paris and London, please'}]
    const streamed = client.chat.completions.runTools({model: 'small', messages, tools: [tool], stream: true})
    return {text: await streamed.finalContent(), asked}
  },
  async vision() {
    const content = [{type: 'text', text: 'What is this?'}, {type: 'image_url', image_url: {url: PICTURE, detail: 'low'}}]
    return await ask({model: 'vision', messages: [{role: 'user', content}]})
  },
  async models() {
    const found = []
    for await (const model of client.models.list()) found.push(model.id)
    return found
  },
  async refusals() {
    const stranger = new OpenAI({baseURL: BASE_URL, apiKey: 'sk-nobody', maxRetries: 2})
    return [
      await refusal(ask({model: 'gpt-4o'})),
      await refusal(ask({n: 2})),
      await refusal(ask({nonsense: 1})),
      await refusal(stranger.models.list()),
    ]
  },
  async retried() {
    return await client.chat.completions.create({model: 'small', messages: LEDGER}, {maxRetries: 1})
  },
  async broken() {
    return await refusal(scenes.streamed())
  },
  async cancelled() {
    const stream = await ask({stream: true})
    for await (const chunk of stream) {
      if (chunk.choices[0].delta.content) {
        stream.controller.abort()
        return chunk.choices[0].delta.content
      }
    }
  },
}

console.log(JSON.stringify(await scenes[process.argv[2]]()))
