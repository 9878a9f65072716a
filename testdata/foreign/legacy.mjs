// @modelcontextprotocol/sdk, the legacy era.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { CallToolResultSchema, CreateTaskResultSchema, EmptyResultSchema, ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { check, done, same } from './checks.mjs'
import { suite } from './suite.mjs'

const client = new Client({ name: 'legacy', version: '1' }, { capabilities: {} })
const transport = new StdioClientTransport({ command: process.env.SERVER, args: ['mcp'], env: process.env })
let version
transport.setProtocolVersion = (v) => { version = v }
await client.connect(transport)

await check('version', async () => same(version, '2025-11-25'))
await check('ping', () => client.ping())
await suite({
  client,
  call: (name, args, options) => client.callTool({ name, arguments: args }, CallToolResultSchema, options),
  read: (uri) => client.readResource({ uri }),
  request: (method) => client.request({ method }, EmptyResultSchema),
  notFound: -32002,
  subscribe: async (uris, told) => {
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, (n) => told(n.params.uri))
    for (const uri of uris) await client.subscribeResource({ uri })
    return async () => { for (const uri of uris) await client.unsubscribeResource({ uri }) }
  },
  startTask: async (args) => (await client.request({ method: 'tools/call', params: { name: 'execute_cc_task', arguments: args, task: {} } }, CreateTaskResultSchema)).task,
  getTask: (id) => client.experimental.tasks.getTask(id),
  taskResult: (id) => client.experimental.tasks.getTaskResult(id, CallToolResultSchema),
  cancelTask: (id) => client.experimental.tasks.cancelTask(id),
})
await check('task-stream', async () => {
  const seen = []
  const call = client.experimental.tasks.callToolStream({ name: 'execute_cc_task', arguments: { prompt: '[[text streamed]]' } }, CallToolResultSchema, { task: {} })
  for await (const m of call) seen.push(m)
  same([seen[0].type, seen.at(-1).type, seen.at(-1).result?.structuredContent.result], ['taskCreated', 'result', 'streamed'])
})
await check('task-list', async () => {
  const { tasks } = await client.experimental.tasks.listTasks()
  if (tasks.length < 3) throw new Error(JSON.stringify(tasks))
})
await check('close', () => client.close())
done()
