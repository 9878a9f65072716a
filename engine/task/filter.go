package task

import (
	"path/filepath"
	"time"
)

// Filter selects tasks for a list. A zero field selects all.
type Filter struct {
	Statuses   []Status `json:"statuses,omitempty"`    // one of these
	Labels     []string `json:"labels,omitempty"`      // all of these
	WorkingDir string   `json:"working_dir,omitempty"` // this directory or one below it, by any name
	// Name is a part of the name, in any case; with one of *?[ a pattern for
	// all of it.
	Name   string    `json:"name,omitempty"`
	Since  time.Time `json:"since,omitzero"`   // created then or later
	Until  time.Time `json:"until,omitzero"`   // created before
	Search string    `json:"search,omitempty"` // a part of a prompt, in any case
	Below  ID        `json:"below,omitempty"`  // started by this task, or by one that is below it

	Sort    Sort `json:"sort,omitempty"` // "": ByCreated
	Reverse bool `json:"reverse,omitempty"`

	Limit  int    `json:"limit,omitempty"`  // 0: 100; at most 1000
	Cursor string `json:"cursor,omitempty"` // NextCursor of the page before

	// Now is what the time of a running task is measured by; the engine sets it.
	Now time.Time `json:"-"`
}

// Sort is what a list is ordered by. Equal tasks stand newest first, tasks
// that have no such value last.
type Sort string

const (
	ByCreated  Sort = "created"  // newest first
	ByEnded    Sort = "ended"    // newest first
	ByDuration Sort = "duration" // longest first
	ByCost     Sort = "cost"     // dearest first
)

var Sorts = []Sort{ByCreated, ByEnded, ByDuration, ByCost}

// Page is a part of a list.
type Page struct {
	Tasks      []Task `json:"tasks"`
	NextCursor string `json:"next_cursor,omitempty"`
	Note       string `json:"note,omitempty"` // a Hold of the retention
}

// RealDir is dir without links, or "" if it has none or is not there.
func RealDir(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil && real != filepath.Clean(dir) {
		return real
	}
	return ""
}
