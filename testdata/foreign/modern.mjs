// @modelcontextprotocol/client, the modern era.
import { Client, specTypeSchemas } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { createTaskSessionFromClient, resultFromTaskOutcome } from '@modelcontextprotocol/ext-tasks/client'
import { check, done, same } from './checks.mjs'
import { suite } from './suite.mjs'

const client = new Client({ name: 'modern', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
const transport = new StdioClientTransport({ command: process.env.SERVER, args: ['mcp'], env: process.env })
await client.connect(transport)

// The SDK leaves the tasks extension to another package, which wants to send
// requests of its own on the same transport.
const framing = {
  protocolVersion: '2026-07-28',
  clientInfo: { name: 'modern', version: '1' },
  clientCapabilities: { extensions: { 'io.modelcontextprotocol/tasks': {} } },
}
const raw = new Map()
const { onmessage } = transport
transport.onmessage = (m, extra) => {
  if (!raw.has(m.id)) return onmessage(m, extra)
  raw.get(m.id)(m)
  raw.delete(m.id)
}
const dispatch = (request) => new Promise((resolve) => {
  const id = `raw-${raw.size}-${Math.random()}`
  raw.set(id, (m) => resolve({ ...m, id: request.id ?? m.id }))
  transport.send({ ...request, jsonrpc: '2.0', id })
})
const ask = async (method, params) => {
  const _meta = Object.fromEntries(Object.entries(framing).map(([k, v]) => [`io.modelcontextprotocol/${k}`, v]))
  const { result, error } = await dispatch({ method, params: { ...params, _meta } })
  if (error) throw Object.assign(new Error(error.message), error)
  return result
}

await check('version', async () => same([client.getNegotiatedProtocolVersion(), client.getProtocolEra()], ['2026-07-28', 'modern']))
await suite({
  client,
  call: (name, args, options) => client.callTool({ name, arguments: args }, options),
  read: (uri) => client.readResource({ uri }, { cacheMode: 'bypass' }),
  request: (method) => client.request({ method }, specTypeSchemas.EmptyResult),
  notFound: -32602,
  subscribe: async (uris, told) => {
    client.setNotificationHandler('notifications/resources/updated', (n) => told(n.params.uri))
    const subscription = await client.listen({ resourceSubscriptions: uris })
    same(subscription.honoredFilter.resourceSubscriptions, uris)
    return () => subscription.close()
  },
  startTask: (args) => ask('tools/call', { name: 'execute_cc_task', arguments: args }),
  getTask: (taskId) => ask('tasks/get', { taskId }),
  taskResult: async (taskId) => (await ask('tasks/get', { taskId })).result,
  cancelTask: (taskId) => ask('tasks/cancel', { taskId }),
})
await check('task-session', async () => {
  const session = createTaskSessionFromClient(client, { endpointId: 'cctask', rawDispatch: dispatch, v2RequestFraming: framing })
  const execution = await session.callTool('execute_cc_task', { prompt: '[[text settled]]' })
  const { outcome } = await execution.settle()
  same(resultFromTaskOutcome(outcome).structuredContent.result, 'settled')
  await session.close()
})
await check('close', () => client.close())
done()
