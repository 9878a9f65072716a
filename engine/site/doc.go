// Package site is the hosts on which attempts run beside this machine: a group of hosts
// under one name, each at the end of a pipe.
//
// Over there `cctask _site` (Serve) is an owner without a database: it prepares runs,
// hires today's runners and answers lines of JSON (wire.go). It ends with the pipe, and
// what runs does not: the next one finds it again, and goes on from where the reader was.
//
// Here a Site is what the engine calls: it takes the freest host for a start, asks all
// hosts at a look, and makes a broken connection again. A host that is silent is said
// to be so, and nothing of it is ever judged.
//
// A pipe is a command whose stdin and stdout are those of a shell on the host, such as
// `ssh build1 sh` or `kubectl exec -i pod -- sh`. Through it comes, at first contact,
// this very binary too (greet.go).
//
// It may import engine/runner for its records, and internal/sys. It must never know
// tasks, how they are stored, or a face.
package site
