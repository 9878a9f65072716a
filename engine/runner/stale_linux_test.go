package runner

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A removal may be undone by a power loss, since nothing syncs it: what comes back of a
// launch that failed does not stand in the way of the next one.
func TestRunOfAnotherBootIsReplaced(t *testing.T) {
	t.Parallel()
	old := runWith(t, Record{State: StateRunning, ClaudePID: 1, Boot: "another"})
	l := Local{Launcher: Launcher{Self: launcher.Self, Args: launcher.Args, Env: launcher.Env}, Dir: t.TempDir()}
	defer l.Close()
	name := filepath.Base(old.Dir())
	if err := os.MkdirAll(l.runDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old.Dir(), l.dir(name)); err != nil {
		t.Fatal(err)
	}
	s, err := l.Start(context.Background(), name, Order{Launch: childLaunch(t, "exit", "0")})
	if err != nil || s.Rec.stale() || s.Rec.ClaudePID == 1 {
		t.Fatalf("started: %+v, %v", s, err)
	}
	ended(t, &Run{dir: l.dir(name)})
}
