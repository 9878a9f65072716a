// Package task holds the words that every other package speaks: the id, the
// specification, the status with its table of transitions, the record of a
// task and of its attempts, the errors, and the one outward view of a task.
//
// It may import the standard library and ulid. It must never know how a task
// is stored, run, or reached: no file, no process, no socket, no clock (times
// come in as arguments).
package task
