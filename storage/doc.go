// Package storage keeps tasks in one bbolt file: records, indexes, prompts,
// answers and every byte of output. *DB is the engine's Store.
//
// It may import engine/task (for the contract too), migrations, bbolt and
// klauspost/compress. It must never know how a task is run or reached: no
// process, no socket, no spool file.
//
// The schema, version 2. Integers are big-endian; n is a uint32, an offset a
// uint64, an id the 26 characters of a task's ULID.
//
//	meta       schema                 uint32
//	           created                time of the file's creation, RFC 3339
//	           app                    version of the last writer
//	           seq                    uint64, the highest queue sequence ever taken
//	           newest                 <id> of the task that was recorded last; it may be gone
//	           count/<status>         uint64, tasks in this status
//	           ended_bytes            uint64, sum of the values of `ended`
//	           restored               time of the restore, RFC 3339, until the file is activated
//	           hold                   JSON of task.Hold, while a pass of the retention waits
//	           redacted               uint64, values that were masked in the dump it was restored from
//	tasks      <id>                   JSON of task.Task.Stored
//	attempts   <id> n                 JSON of task.Attempt
//	prompts    <id> n offset          piece of the prompt
//	results    <id> n offset          piece of claude's answer
//	output     <id> n 'o'|'e' offset  piece of stdout or stderr
//	by_status  <status>/<id>          summary: bytes of the task's pieces as stored, start, end, start of
//	                                  the running attempt (unix ms), duration (ms), cost (float64 bits)
//	queue      seq (uint64)           JSON of task.Place
//	ended      unix ms (uint64) <id>  uint64, bytes of the task's pieces as stored
//	names      <name> 0x00 <id>       -
//	suffixes   <id backwards>         -
//	keys       <idempotency key>      unix ms (uint64) <id> <hash of the specification>
//	           0x00 <id>              unix ms (uint64) <id> <who removed the task>
//	sessions   <uuid>                 float64 bits, the session's last known total cost
//	           <uuid> 0x00 <id>       - (the task names the session, or that it is a fork of it)
//	env        <id>                   nonce and AES-256-GCM of the environment, under env.key
//	removing   <id>                   - (the task is gone, its pieces are being deleted)
//	roots      <root> 0x00 <id>       - (the task descends from the root)
//	limits     group/<name>           JSON of task.Group
//	limits     gate/<account>         JSON of task.Gate, of an account that is closed
//	outbox     <id> n                 JSON of task.Notice, an end that is to be told
//
// A piece holds at most 256 KiB: one byte that says how it is packed, a uint32
// with its length unpacked, then the data. Keys are offsets, so that to write
// a piece again is a no-op and a gap is an error.
//
// All writes go through one goroutine that drains its queue and commits once.
// Every index moves in the transaction of its record. No slice of bbolt's
// memory leaves its transaction, and nothing waits inside one.
package storage
