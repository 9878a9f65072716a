package cli_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cctask/internal/testkit/fakeclaude"
)

// person is a user with a state directory of their own.
type person struct {
	t   *testing.T
	cmd *exec.Cmd // of no use but for its environment and directory
}

func newPerson(t *testing.T) person { return person{t, front(t)} }

func (p person) command(args ...string) *exec.Cmd {
	cmd := exec.Command("cctask", args...)
	cmd.Env, cmd.Dir = p.cmd.Env, p.cmd.Dir
	return cmd
}

// cctask runs a verb that does what it should.
func (p person) cctask(args ...string) string {
	p.t.Helper()
	cmd := p.command(args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("cctask %v: %v\n%s%s", args, err, out, errs.String())
	}
	return string(out)
}

func (p person) ownerPID() int {
	p.t.Helper()
	var owner struct{ PID int }
	check(p.t, json.Unmarshal([]byte(p.cctask("daemon", "status", "--json")), &owner))
	return owner.PID
}

// TestDumpOfARunningTask: what a running claude has printed is in the dump, with
// the same bytes from the owner, from a copy beside an owner that hangs, and
// from the file without an owner.
func TestDumpOfARunningTask(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	gate := fakeclaude.NewGate(t)
	p.cctask("start", "[[text printed before the gate]][[flood 300000]][[stderr and this]]"+gate.Directive())
	open, err := gate.Reached(t.Context())
	check(t, err)
	defer open()
	want := p.cctask("dump")
	for !strings.Contains(want, `"status":"running"`) { // the record of a start may come 50 ms late
		want = p.cctask("dump")
	}
	for _, part := range []string{"printed before the gate", "and this", `"type":"end"`} {
		if !strings.Contains(want, part) {
			t.Errorf("the owner's dump has no %q", part)
		}
	}
	pid := p.ownerPID()
	check(t, syscall.Kill(pid, syscall.SIGSTOP))
	got := p.cctask("dump")
	check(t, syscall.Kill(pid, syscall.SIGCONT))
	if got != want {
		t.Errorf("beside a hung owner %d bytes, from the owner %d", len(got), len(want))
	}
	p.cctask("daemon", "stop")
	if got := p.cctask("dump"); got != want {
		t.Errorf("without an owner %d bytes, from the owner %d", len(got), len(want))
	}
	if left, _ := filepath.Glob(filepath.Join(p.cmd.Dir, "state", "dump-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if p.ownerPID() != 0 {
		t.Error("dump started an owner")
	}
	// Nothing may be writing when the directory goes.
	open()
	p.cctask("wait")
}

// TestDumpToAReaderThatLeaves ends at once, quietly, and with nothing behind.
func TestDumpToAReaderThatLeaves(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.cctask("run", "[[flood 2000000]]")
	for range 2 { // with the owner, without
		cmd := p.command("dump")
		var errs strings.Builder
		cmd.Stderr = &errs
		r, w, err := os.Pipe()
		check(t, err)
		cmd.Stdout = w
		check(t, cmd.Start())
		check(t, w.Close())
		_, err = r.Read(make([]byte, 100))
		check(t, err)
		check(t, r.Close())
		if err := cmd.Wait(); err != nil || errs.Len() > 0 {
			t.Errorf("%v: %q", err, errs.String())
		}
		p.cctask("daemon", "stop")
	}
}

// TestDumpToASlowReader: nobody waits for a reader that stands still, neither an
// owner that leaves nor one that comes, and the dump goes on with the next who
// can tell.
func TestDumpToASlowReader(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.cctask("run", "[[flood 5000000]]")
	p.cctask("run", "[[flood 300000]]")
	want := p.cctask("dump")
	for _, meanwhile := range [][]string{{"daemon", "stop"}, {"list"}, {"daemon", "stop"}} {
		cmd := p.command("dump")
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		begin := make([]byte, 1000)
		_, err = io.ReadFull(out, begin)
		check(t, err)
		p.cctask(meanwhile...)
		rest, err := io.ReadAll(out)
		check(t, err)
		check(t, cmd.Wait())
		if got := string(begin) + string(rest); got != want {
			t.Errorf("%v meanwhile: %d bytes, want %d", meanwhile, len(got), len(want))
		}
	}
}

// TestDumpToAFile: a regular file is replaced when the dump is whole, a pipe is
// written to.
func TestDumpToAFile(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.cctask("run", "[[flood 300000]]")
	want := p.cctask("dump")
	path := filepath.Join(p.cmd.Dir, "out.jsonl")
	check(t, errors.Join(os.WriteFile(path, []byte("old"), 0o600), os.Chmod(path, 0o644)))
	p.cctask("dump", "-o", path)
	got, err := os.ReadFile(path)
	check(t, err)
	info, err := os.Stat(path)
	check(t, err)
	if string(got) != want || info.Mode().Perm() != 0o644 {
		t.Errorf("%d bytes, mode %o; want %d", len(got), info.Mode().Perm(), len(want))
	}
	pipe := filepath.Join(p.cmd.Dir, "pipe")
	check(t, syscall.Mkfifo(pipe, 0o600))
	cmd := p.command("dump", "-o", pipe)
	check(t, cmd.Start())
	got, err = os.ReadFile(pipe)
	check(t, err)
	check(t, cmd.Wait())
	if string(got) != want {
		t.Errorf("%d bytes came through the pipe, want %d", len(got), len(want))
	}
	if left, _ := filepath.Glob(filepath.Join(p.cmd.Dir, ".out*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestKilledRestore leaves nothing under the name, and nothing in the way of the
// next one.
func TestKilledRestore(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	p.cctask("run", "[[flood 6000000]]")
	p.cctask("dump", "-o", "all.jsonl")
	all, err := os.ReadFile(filepath.Join(p.cmd.Dir, "all.jsonl"))
	check(t, err)
	cmd := p.command("restore", "-", "--db", "new.db")
	in, err := cmd.StdinPipe()
	check(t, err)
	check(t, cmd.Start())
	_, err = in.Write(all[:len(all)-10]) // more than a pipe holds: it has been read
	check(t, err)
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if _, err := os.Lstat(filepath.Join(p.cmd.Dir, "new.db")); !os.IsNotExist(err) {
		t.Errorf("a killed restore left %v", err)
	}
	p.cctask("restore", "all.jsonl", "--db", "new.db")
	if p.cctask("dump", "--db", "new.db") != string(all) {
		t.Error("the dump of the second try differs")
	}
	if left, _ := filepath.Glob(filepath.Join(p.cmd.Dir, "new.db.*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
