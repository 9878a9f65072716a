package cli_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readOnlyState makes a state directory one that can only be read: for root that
// of another user, for everybody else one without the right to write.
func readOnlyState(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		check(t, os.Chmod(dir, 0o500))
		t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
		return
	}
	check(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, 12345, -1)
	}))
	t.Cleanup(func() {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error { return os.Lchown(path, 0, -1) })
	})
}

// What only reads works in a state directory that can only be read, and says that
// it reads the file; what would write is refused with the reason.
func TestReadOnlyState(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.cctask("run", "--name", "kept", "[[text the answer]]")
	want := p.cctask("dump")
	p.cctask("daemon", "stop")
	dir := filepath.Join(p.cmd.Dir, "state")
	readOnlyState(t, dir)
	before, err := os.ReadDir(dir)
	check(t, err)
	run := func(verb string) (stdout, stderr string, code int) {
		cmd := p.command(strings.Fields(verb)...)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, _ := cmd.Output()
		return string(out), errs.String(), cmd.ProcessState.ExitCode()
	}
	for verb, part := range map[string]string{
		"list --all": "kept", "list --all --embedded": "kept", "status kept": "the answer", "logs kept": "the answer",
		"wait kept": "completed", "report -o -": "the answer", "dump": want,
	} {
		out, said, code := run(verb)
		if code != 0 || !strings.Contains(out+said, part) || !strings.Contains(said, "can only be read: ") || !strings.Contains(said, "reading its file") {
			t.Errorf("%s: exit %d, %s%s", verb, code, out, said)
		}
	}
	for _, verb := range []string{
		"start hi", "run hi", "cancel kept", "rm kept", "rm --force kept", "resume kept", "retry kept", "restore --activate", "start --embedded hi",
	} {
		if out, said, code := run(verb); code != 2 || !strings.Contains(said, "can only be read: ") || !strings.Contains(said, "hint: Name another one with --dir") {
			t.Errorf("%s: exit %d, %s%s", verb, code, out, said)
		}
	}
	for _, verb := range []string{"daemon", "mcp --http 127.0.0.1:0", "report -o state/x"} {
		if out, said, code := run(verb); code != 2 || strings.Contains(said, "fault of cctask") {
			t.Errorf("%s: exit %d, %s%s", verb, code, out, said)
		}
	}
	out, _, code := run("doctor")
	if code != 1 || !strings.Contains(out, "problem  directory     the state directory") || !strings.Contains(out, "can only be read: ") || !strings.Contains(out, "tasks.db is whole") {
		t.Errorf("doctor: exit %d, %s", code, out)
	}
	after, err := os.ReadDir(dir)
	check(t, err)
	if len(after) != len(before) {
		t.Errorf("before %v, after %v", before, after)
	}
}
