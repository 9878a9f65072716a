// @modelcontextprotocol/client, the modern era.
import { Client, specTypeSchemas } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { check, done, same } from './checks.mjs'
import { suite } from './suite.mjs'

const client = new Client({ name: 'modern', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
await client.connect(new StdioClientTransport({ command: process.env.SERVER, args: ['mcp'], env: process.env }))

await check('version', async () => same([client.getNegotiatedProtocolVersion(), client.getProtocolEra()], ['2026-07-28', 'modern']))
await suite({
  client,
  call: (name, args, options) => client.callTool({ name, arguments: args }, options),
  read: (uri) => client.readResource({ uri }, { cacheMode: 'bypass' }),
  request: (method) => client.request({ method }, specTypeSchemas.EmptyResult),
  notFound: -32602,
})
await check('close', () => client.close())
done()
