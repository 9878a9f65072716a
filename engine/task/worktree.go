package task

import "fmt"

// Worktree is what is recorded of the git worktree that a task has for itself.
type Worktree struct {
	Repo   string `json:"repo"`          // the working tree that it was made from, and goes back to
	GitDir string `json:"git_dir"`       // where that repository has its branches
	Dir    string `json:"dir"`           // its own working tree
	Sub    string `json:"sub,omitempty"` // where in it the task works
	Branch string `json:"branch"`
	Base   string `json:"base"` // the commit that it began with
	// State is recorded before it is made so: "" is one that may be there, and in
	// which the task works or will.
	State TreeState `json:"state,omitempty"`
	// Change is what the task has done in it, as of its last end.
	Change *TreeChange `json:"change,omitempty"`
	Note   string      `json:"note,omitempty"` // why that is not known
}

// TreeState is what became of a worktree at the end of its task.
type TreeState string

const (
	TreeKept    TreeState = "kept"    // it holds changes
	TreeRemoved TreeState = "removed" // it held none
)

// TreeChange counts what was changed since the base.
type TreeChange struct {
	Commits     int `json:"commits"`
	Files       int `json:"files"`
	Insertions  int `json:"insertions"`
	Deletions   int `json:"deletions"`
	Uncommitted int `json:"uncommitted"` // files that differ from the last commit
}

// Words say it to people.
func (w *Worktree) Words() string {
	if w == nil {
		return ""
	}
	switch c := w.Change; {
	case w.State == TreeRemoved:
		return "nothing was changed"
	case c == nil && w.Note != "":
		return fmt.Sprintf("branch %s in %s; %s", w.Branch, w.Dir, w.Note)
	case c == nil:
		return fmt.Sprintf("branch %s in %s", w.Branch, w.Dir)
	default:
		return fmt.Sprintf("branch %s in %s: files changed: %d (+%d -%d), commits: %d, not committed: %d",
			w.Branch, w.Dir, c.Files, c.Insertions, c.Deletions, c.Commits, c.Uncommitted)
	}
}
