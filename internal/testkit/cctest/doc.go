// Package cctest is one user on one machine, for tests that run the built
// binary: a home, a state directory, a project, a claude. What a test leaves behind
// (a process, a run directory, a database that is not whole) fails it. It
// may import the fakes, engine/task and storage, and is never part of the cctask
// binary.
package cctest
