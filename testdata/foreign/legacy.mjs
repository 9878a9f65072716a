// @modelcontextprotocol/sdk, the legacy era.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { CallToolResultSchema, EmptyResultSchema } from '@modelcontextprotocol/sdk/types.js'
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
})
await check('close', () => client.close())
done()
