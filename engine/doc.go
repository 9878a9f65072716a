// Package engine runs tasks: it owns the queue, the bounded pool, the life of
// every attempt from claim to clean-up, the recovery after a crash, and the
// retention of old tasks. Service is the seam that every front speaks to.
//
// It may import engine/task, engine/runner and engine/claude. It must never
// know how a front reaches it (no socket, no MCP, no command line) nor how the
// store keeps what it is given (no bbolt).
//
// Each task has one lock (locks). It is taken before the record is read and
// held until the changed record is durable. Lock order: a task's lock, then
// Engine.mu, then attempt.mu; none is held over a wait for a process.
package engine
