package task

import (
	"cmp"
	"path/filepath"
	"time"
)

// DefaultGroup is the group of a task that names none.
const DefaultGroup = "default"

// WorkdirMode is how a task shares its working directory with others.
type WorkdirMode string

// The modes. "" is DirShared.
const (
	DirShared    WorkdirMode = "shared"    // with any other task
	DirExclusive WorkdirMode = "exclusive" // with none that asks for the same, in it, above it or below it
	DirWorktree  WorkdirMode = "worktree"  // it works in a git worktree of its own
)

// Place is a queued task as the scheduler knows it. It is kept beside the queue's
// order, so that an owner that starts reads no record of a long queue.
type Place struct {
	ID        ID        `json:"id"`
	Seq       uint64    `json:"seq"`
	Claude    string    `json:"claude,omitempty"`
	Site      string    `json:"site,omitempty"`
	Labels    []string  `json:"labels,omitempty"`
	Priority  int       `json:"priority,omitempty"`
	Group     string    `json:"group,omitempty"`
	Held      bool      `json:"held,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	Retries   bool      `json:"retries,omitempty"` // NotBefore is the end of the pause before a retry
	After     []string  `json:"after,omitempty"`
	Account   string    `json:"account,omitempty"`
	Dir       string    `json:"dir,omitempty"` // that it wants for itself
	Root      ID        `json:"root,omitempty"`
	Depth     int       `json:"depth,omitempty"`
	Parent    ID        `json:"-"` // from the record alone
}

func PlaceOf(t *Task) Place {
	p := Place{
		ID: t.ID, Seq: t.Seq, Claude: t.Spec.Claude, Site: t.Spec.Site, Labels: t.Spec.Labels, Priority: t.Spec.Priority, Group: t.Spec.Group,
		Held: t.Spec.Hold, NotBefore: t.NotBefore, Retries: !t.NotBefore.IsZero() && t.Attempt > 1,
		After: t.Spec.After, Account: t.Account, Root: t.RootID, Depth: t.Depth, Parent: t.ParentID,
	}
	if t.Spec.WorkdirMode == DirExclusive {
		p.Dir = cmp.Or(t.RealDir, filepath.Clean(t.Spec.WorkingDir))
		if p.Site != "" { // another directory than that of this name here
			p.Dir = "/@" + p.Site + p.Dir
		}
	}
	return p
}
