package runner

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"cctask/internal/sys"
)

// ownerMain is an owner in a process of its own: it becomes a subreaper and
// does what it is told on stdin, answering each line with one.
//
//	start DIR child-arguments... | sweep DIR | zombies | exec
func ownerMain(args []string) int {
	if args[0] == "plain" {
		return ownerOrders(os.Stdin, os.Stdout)
	}
	if err := Become(); err != nil {
		fmt.Println(err)
		return 1
	}
	if args[0] == "socket" {
		return ownerSocket(args[1])
	}
	return ownerOrders(os.Stdin, os.Stdout)
}

// ownerSocket makes itself known in the file "spare" and serves one caller.
func ownerSocket(base string) int {
	l, err := net.Listen("unix", filepath.Join(base, "owner"))
	if err != nil {
		return 1
	}
	b, _ := json.Marshal([]sys.Process{sys.Find(os.Getpid())})
	if err := os.WriteFile(filepath.Join(base, "spare.new"), b, 0o600); err != nil {
		return 1
	}
	if err := os.Rename(filepath.Join(base, "spare.new"), filepath.Join(base, "spare")); err != nil {
		return 1
	}
	c, err := l.Accept()
	if err != nil {
		return 1
	}
	return ownerOrders(c, c)
}

func ownerOrders(in io.Reader, out io.Writer) int {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		words := strings.Fields(lines.Text())
		answer, err := ownerOrder(words)
		if err != nil {
			answer = "error: " + err.Error()
		}
		fmt.Fprintln(out, strings.ReplaceAll(answer, "\n", " "))
	}
	return 0
}

func ownerOrder(words []string) (string, error) {
	switch words[0] {
	case "start":
		exe, err := os.Executable()
		if err != nil {
			return "", err
		}
		l := Launch{Argv: append([]string{exe, "child"}, words[2:]...), WorkDir: "/"}
		r, err := launcher.Prepare(words[1], l, nil)
		if err != nil {
			return "", err
		}
		rec, err := launcher.Start(context.Background(), r, nil)
		if err != nil {
			return "", err
		}
		b, err := json.Marshal(rec)
		return string(b), err
	case "sweep":
		r, err := Open(words[1])
		if err != nil {
			return "", err
		}
		helper := spawn(false, []string{quick}, "child", "hang")
		if err := helper.Start(); err != nil {
			return "", err
		}
		defer func() {
			_ = helper.Process.Kill()
			_ = helper.Wait()
		}()
		own, ended := exec.Command("/bin/sh", "-c", "echo $$; exec sleep 1000"), make(chan error, 1)
		own.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		told, err := own.StdoutPipe()
		if err != nil {
			return "", err
		}
		go func() { ended <- RunOwn(own) }()
		var ownPID int
		if _, err := fmt.Fscanln(told, &ownPID); err != nil {
			return "", err
		}
		defer func() {
			_ = syscall.Kill(ownPID, syscall.SIGKILL)
			<-ended
		}()
		n, err := r.Sweep(context.Background(), func() []sys.Process {
			return append(readSpare(filepath.Join(filepath.Dir(words[1]), "spare")), sys.Find(os.Getpid()))
		})
		if err == nil && (!lives(helper.Process.Pid) || !lives(ownPID)) {
			err = errors.New("the sweep killed a child of the owner's own")
		}
		return fmt.Sprint(n), err
	case "zombies":
		return fmt.Sprint(zombiesOf(os.Getpid())), nil
	case "exec":
		return "ok", ownChildren()
	}
	return "", fmt.Errorf("no such order %q", words)
}

// ownChildren checks that their exit statuses wait for who started them.
func ownChildren() error {
	var cmds []*exec.Cmd
	for range 5 {
		cmd := spawn(false, []string{quick}, "child", "exit", "3")
		if err := cmd.Start(); err != nil {
			return err
		}
		cmds = append(cmds, cmd)
	}
	for zombiesOf(os.Getpid()) < len(cmds) {
		for _, cmd := range cmds {
			if _, ok := readProcess(cmd.Process.Pid); !ok {
				return errors.New("a child was taken from os/exec")
			}
		}
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err == nil || err.Error() != "exit status 3" {
			return fmt.Errorf("os/exec says %w", err)
		}
	}
	return nil
}

func zombiesOf(parent int) int {
	table, _ := processes()
	n := 0
	for _, p := range table {
		if p.parent == parent && p.zombie {
			n++
		}
	}
	return n
}

// owner is a running owner process.
type owner struct {
	t    *testing.T
	pid  int
	in   io.Writer
	out  *bufio.Scanner
	kill func()
}

func newOwner(t *testing.T, kind string) *owner {
	t.Helper()
	cmd := exec.Command(self(t), "owner", kind)
	cmd.Env = []string{quick}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &owner{t: t, pid: cmd.Process.Pid, in: in, out: bufio.NewScanner(out)}
	o.kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(o.kill)
	return o
}

// dialOwner reaches the owner that nest has left behind.
func dialOwner(t *testing.T, base string) *owner {
	t.Helper()
	procs := readSpare(filepath.Join(base, "spare"))
	c, err := net.Dial("unix", filepath.Join(base, "owner"))
	if err != nil || len(procs) != 1 {
		t.Fatalf("%v, %v", procs, err)
	}
	o := &owner{t: t, pid: procs[0].PID, in: c, out: bufio.NewScanner(c)}
	o.kill = sync.OnceFunc(func() {
		_ = procs[0].Signal(syscall.SIGKILL, nil)
		until(t, "the owner dies", func() bool { return gone(procs[0].PID, procs[0].Start) })
		_ = c.Close()
	})
	t.Cleanup(o.kill)
	return o
}

func (o *owner) order(words ...string) string {
	o.t.Helper()
	fmt.Fprintln(o.in, strings.Join(words, " "))
	if !o.out.Scan() {
		o.t.Fatalf("the owner is gone: %v", words)
	}
	if s := o.out.Text(); !strings.HasPrefix(s, "error") {
		return s
	}
	o.t.Fatalf("%v: %s", words, o.out.Text())
	return ""
}

func (o *owner) start(dir string, child ...string) (*Run, Record) {
	o.t.Helper()
	var rec Record
	if err := json.Unmarshal([]byte(o.order(append([]string{"start", dir}, child...)...)), &rec); err != nil {
		o.t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { end(o.t, r) })
	return r, rec
}
