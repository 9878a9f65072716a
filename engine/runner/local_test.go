package runner

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestAsk(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	ctx, l := context.Background(), &Local{}
	got, err := l.Ask(ctx, link, 4)
	if err != nil || got.Dir || !got.Regular || !got.CanExec || !got.CanRead || got.Size != 10 || string(got.Head) != "#!/b" {
		t.Errorf("%+v, %v", got, err)
	}
	if real, _ := filepath.EvalSymlinks(file); got.Real != real {
		t.Errorf("%s is called %s", file, got.Real)
	}
	if got, err := l.Ask(ctx, dir, 4); err != nil || !got.Dir || got.Regular || !got.CanRead || got.Head != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := l.Ask(ctx, filepath.Join(dir, "none"), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing is there: %v", err)
	}
}

// Every entry is told of: what is not a run is the engine's to clear.
func TestLookTellsOfStrangers(t *testing.T) {
	l := &Local{Dir: t.TempDir()}
	ctx := context.Background()
	if seen, err := l.Look(ctx); err != nil || len(seen) != 0 {
		t.Errorf("without a directory of runs: %v, %v", seen, err)
	}
	if err := errors.Join(os.MkdirAll(l.dir("empty"), 0o700), os.WriteFile(l.dir("file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	seen, err := l.Look(ctx)
	if err != nil || len(seen) != 2 || seen["empty"].Life != Gone || seen["file"].Life != Gone {
		t.Errorf("%v, %v", seen, err)
	}
	for name := range seen {
		if err := l.Clear(ctx, name, false); err != nil {
			t.Error(err)
		}
	}
	if seen, err := l.Look(ctx, "empty", "file"); err != nil || len(seen) != 0 {
		t.Errorf("%v, %v", seen, err)
	}
}
