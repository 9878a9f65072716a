// What the drivers share: a check is a line on stdout.
let count = 0

export async function check(name, fn) {
  count++
  let timer
  try {
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no end after 60 s')), 60_000) })
    await Promise.race([fn(), late])
    console.log(`ok ${name}`)
  } catch (e) {
    console.log(`not ok ${name}: ${String(e?.stack ?? e).replaceAll('\n', ' | ')}`)
  } finally {
    clearTimeout(timer)
  }
}

export const done = () => console.log(`done ${count}`)

export function same(got, want) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)]
  if (a !== b) throw new Error(`got ${a}, want ${b}`)
}

export function has(text, ...parts) {
  for (const part of parts) if (!String(text).includes(part)) throw new Error(`${JSON.stringify(part)} is not in ${JSON.stringify(text)}`)
}

// fails wants a promise to be rejected, and returns the error.
export async function fails(promise) {
  let value
  try { value = await promise } catch (e) { return e }
  throw new Error(`no error but ${JSON.stringify(value)}`)
}

// until polls what gives no signal.
export async function until(fn) {
  while (!(await fn())) await new Promise((resolve) => setTimeout(resolve, 20))
}
