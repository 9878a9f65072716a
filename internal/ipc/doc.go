// Package ipc lets many fronts share one owner: the election of the single
// owner of a state directory, the owner's server on a unix socket, and its
// client, which implements engine.Service and starts an owner when there is none.
//
// It may import engine, engine/task, golang.org/x/sys and x/mod. It must never know how
// a task is stored or run, nor what a front looks like.
//
// # The election
//
// owner.lock is locked (flock) by the owner as long as it lives; whoever holds
// it is the owner, whatever else the directory says. The file is never replaced,
// because the lock belongs to the inode that readers open. Its content is a record
// with a checksum, written in place and padded to whole blocks: a reader sees the
// old record, the new one, or a wrong checksum, never a half-truth, and a full disk
// cannot stop an owner from changing its phase.
//
// start.lock is held by the one front that starts an owner, so that twenty
// fronts do not start twenty. Every front looks, tries start.lock, looks again
// under it, and only then starts one. Lock order: start.lock, then owner.lock.
package ipc
