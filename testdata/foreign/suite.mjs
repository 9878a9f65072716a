// The checks that hold for every client. c is a client behind one surface:
// call(name, args, options), read(uri), and client, the SDK's own.
import { open } from 'node:fs/promises'
import { check, same, has, fails, until } from './checks.mjs'

const names = ['check_task_status', 'cleanup_task', 'execute_cc_task', 'list_active_tasks', 'start_cc_task_async']

export async function suite(c) {
  const { client } = c
  const call = async (name, args, options) => {
    const r = await c.call(name, args, options)
    if (r.isError) throw new Error(r.content[0].text)
    // The SDK hands both to its host. Most hosts show their model the text: it says all that is needed, and is no JSON.
    const { task_id, status, result, error, next } = r.structuredContent
    has(r.content[0].text, ...[task_id, status, result, error, next].filter(Boolean))
    if (r.content[0].text.startsWith('{')) throw new Error('the same JSON twice')
    return r.structuredContent
  }
  const start = async (prompt, more) => (await call('start_cc_task_async', { prompt, ...more })).task_id
  const status = (task_id, more) => call('check_task_status', { task_id, ...more })

  await check('instructions', async () => has(client.getInstructions(), 'start_cc_task_async'))
  await check('tools-list', async () => {
    const { tools } = await client.listTools()
    same(tools.map((t) => t.name).sort(), names)
    for (const t of tools) same(Object.values(t.annotations).filter((v) => typeof v === 'boolean').length, 4)
  })
  await check('execute', async () => {
    const r = await call('execute_cc_task', { prompt: '[[text <hello> & goodbye]]' })
    same([r.status, r.result, r.exit_code], ['completed', '<hello> & goodbye', 0])
  })
  await check('execute-failed', async () => {
    const r = await call('execute_cc_task', { prompt: '[[stderr broken]][[exit 3]]' })
    same([r.status, r.exit_code], ['failed', 3])
    has(r.stderr.tail, 'broken')
    same(r.stdout, undefined)
  })
  await check('start-then-wait-in-parallel', async () => {
    const ids = await Promise.all([1, 2, 3].map((n) => start(`[[text answer ${n}]]`)))
    const ended = await Promise.all(ids.map((id) => status(id, { wait_seconds: 50 })))
    same(ended.map((r) => [r.status, r.result]), [1, 2, 3].map((n) => ['completed', `answer ${n}`]))
  })
  await check('fifty-calls-at-once', async () => {
    const id = await start('[[hang]]', { name: 'fifty' })
    const waits = Array.from({ length: 50 }, () => status(id, { wait_seconds: 50 }))
    same((await status(id)).name, 'fifty')
    await call('cleanup_task', { task_id: id, keep_record: true })
    for (const r of await Promise.all(waits)) same(r.status, 'cancelled')
  })
  await check('list', async () => {
    const id = await start('[[hang]]', { labels: ['listed'] })
    same((await call('list_active_tasks', { label: 'listed' })).tasks.map((t) => t.task_id), [id])
    await call('cleanup_task', { task_id: id })
    same((await call('list_active_tasks', { label: 'listed', include_finished: true })).tasks, [])
  })
  await check('cleanup', async () => {
    const id = await start('[[text gone]]')
    same((await call('cleanup_task', { task_id: id })).removed, true)
    const r = await c.call('check_task_status', { task_id: id })
    same(r.isError, true)
    has(r.content[0].text, 'not_found')
  })
  await check('bad-arguments', async () => {
    const r = await c.call('check_task_status', { task_id: 'x', wait_seconds: -1 })
    same(r.isError, true)
    has(r.content[0].text, 'wait_seconds', '-1')
  })
  await check('unknown-tool', async () => same((await fails(c.call('no_such_tool', {}))).code, -32602))
  await check('unknown-method', async () => same((await fails(c.request('no/such/method'))).code, -32601))

  await check('progress', async () => {
    const seen = []
    const id = await start('[[hang]]')
    const wait = c.call('check_task_status', { task_id: id, wait_seconds: 50 }, { onprogress: (p) => seen.push(p) })
    await until(() => seen.length >= 2)
    await call('cleanup_task', { task_id: id, keep_record: true })
    same((await wait).structuredContent.status, 'cancelled')
    for (const [i, p] of seen.entries()) {
      if (typeof p.message !== 'string' || (i > 0 && !(p.progress > seen[i - 1].progress))) throw new Error(JSON.stringify(seen))
    }
  })
  await check('cancel-execute', async () => {
    const abort = new AbortController()
    const cut = fails(c.call('execute_cc_task', { prompt: '[[hang]]', labels: ['cut'] }, { signal: abort.signal }))
    const tasks = async () => (await call('list_active_tasks', { label: 'cut', include_finished: true })).tasks
    await until(async () => (await tasks())[0]?.status === 'running')
    abort.abort('the user said so')
    await cut
    await until(async () => (await tasks())[0].status === 'cancelled')
  })
  await check('cancel-wait-leaves-the-task', async () => {
    const id = await start('[[hang]]')
    const abort = new AbortController()
    const cut = fails(c.call('check_task_status', { task_id: id, wait_seconds: 50 }, { signal: abort.signal }))
    await until(async () => (await status(id)).status === 'running')
    abort.abort('enough')
    await cut
    same((await status(id)).status, 'running')
    await call('cleanup_task', { task_id: id })
  })
  await check('timed-out-execute-goes-on', async () => {
    await fails(c.call('execute_cc_task', { prompt: '[[hang]]', labels: ['late'] }, { timeout: 500 }))
    const find = async () => (await call('list_active_tasks', { label: 'late' })).tasks[0]
    await until(async () => (await find())?.status === 'running')
    await call('cleanup_task', { task_id: (await find()).task_id })
  })

  const id = await start('[[text kept]]', { name: 'keeper' })
  await status(id, { wait_seconds: 50 })
  await check('resources-list', async () => {
    const { resources } = await client.listResources()
    has(resources.map((r) => r.uri), 'task://active')
  })
  await check('resources-templates', async () => {
    const { resourceTemplates } = await client.listResourceTemplates()
    has(resourceTemplates.map((r) => r.uriTemplate), 'task://{id}', '/stdout')
  })
  await check('resources-read', async () => {
    const [task] = (await c.read(`task://${id}`)).contents
    same(JSON.parse(task.text).task_id, id)
    same((await c.read('task://keeper/result')).contents[0].text, 'kept')
    same((await c.read('task://keeper/result?offset=1&limit=2')).contents[0].text, 'ep')
    has((await c.read('task://recent')).contents[0].text, id)
  })
  await check('resource-not-found', async () => same((await fails(c.read('task://nobody'))).code, c.notFound))
  await check('completion', async () => {
    const complete = (value) => client.complete({ ref: { type: 'ref/resource', uri: 'task://{id}' }, argument: { name: 'id', value } })
    same((await complete('keep')).completion.values, ['keeper'])
    same((await complete(id.slice(0, -1))).completion.values, [id])
  })
  await check('prompts', async () => {
    const { prompts } = await client.listPrompts()
    same(prompts.map((p) => p.name).sort(), ['fan_out', 'resume_task', 'review_results'])
    const { messages } = await client.getPrompt({ name: 'fan_out', arguments: { job: 'Port it.' } })
    has(messages[0].content.text, 'Port it.', 'start_cc_task_async')
    has((await client.getPrompt({ name: 'review_results' })).messages[0].content.text, 'list_active_tasks')
  })
  await check('prompt-without-its-argument', async () => same((await fails(client.getPrompt({ name: 'resume_task', arguments: {} }))).code, -32602))
  await check('prompt-completion', async () => {
    const r = await client.complete({ ref: { type: 'ref/prompt', name: 'resume_task' }, argument: { name: 'task_id', value: 'keep' } })
    same(r.completion.values, ['keeper'])
  })
}

// pass lets a task that waits at the gate go on.
export async function pass() { await (await open(process.env.GATE, 'w')).close() }
