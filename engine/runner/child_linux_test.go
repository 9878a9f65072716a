package runner

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cctask/internal/sys"
)

// childMain is a claude, or a process of its tree.
func childMain(kind string, args []string) int {
	switch kind {
	case "exit":
		code, _ := strconv.Atoi(args[0])
		return code
	case "kill":
		n, _ := strconv.Atoi(args[0])
		_ = unix.Kill(os.Getpid(), unix.Signal(n))
		select {}
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "flood":
		n, _ := strconv.Atoi(args[0])
		flood(n)
	case "fds":
		listFDs()
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "limits":
		_ = syscall.Exec("", nil, nil) // brings the soft limit back that the runtime raised
		var files syscall.Rlimit
		_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
		nice, _ := Niceness()
		fmt.Printf("%03o %d %d\n", unix.Umask(0), files.Cur, nice)
	case "hang":
		say("ready")
		hang()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		say("ready")
		hang()
	case "polite":
		polite()
		return 7
	case "old":
		oldRunner(args[0])
	case "wrapper": // a shell that starts claude without exec
		c := spawn(false, nil, "child", args...)
		c.Stdout = os.Stdout
		_ = c.Run()
	case "saves":
		saves()
	case "tree":
		tree(args[0], args[1], args[2:])
	case "leaf":
		leaf(args[0], args[1])
	case "between":
		// The middle of a double fork: what it starts loses its parent and its
		// environment.
		detach(spawn(true, []string{quick}, args[0], args[1:]...))
	case "nest":
		nest(args[0], args[1])
	case "orphans":
		orphans(args[0])
	case "short":
	default:
		fmt.Fprintln(os.Stderr, "no such child:", kind)
		return 99
	}
	return 0
}

// oldRunner is one of the version before the file that holds the reason of a stop. It
// has inherited the lock.
func oldRunner(dir string) {
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, syscall.SIGUSR1)
	s, err := openStatus(dir + "/" + statusName)
	rec := Record{State: StateRunning, RunnerPID: os.Getpid(), RunnerStart: sys.Find(os.Getpid()).Start}
	if err == nil {
		err = s.put(rec)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-stops
	rec.State, rec.Exited, rec.Stopped = StateEnded, true, StopCancel
	_ = s.put(rec)
}

func say(word string) { fmt.Println(word) }

// hang lasts longer than any test, and not for ever: a test that fails may
// leave its processes behind.
func hang() { time.Sleep(5 * time.Minute) }

// polite ends on SIGTERM, saying so.
func polite() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT)
	say("ready")
	say("got " + (<-ch).String())
}

// saves is a claude behind a wrapper: it writes down what it has spent when it is
// asked to end, and is not done before the wrapper is dead.
func saves() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGTERM)
	parent := os.Getppid()
	say("ready")
	<-ch
	for os.Getppid() == parent {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // what it does takes time
	say("saved")
}

func flood(n int) {
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	for i := range n {
		_ = w.WriteByte(byte(i * 7 / 3))
	}
	_ = w.Flush()
	fmt.Fprint(os.Stderr, "flooded")
}

// listFDs leaves out what the Go runtime of the child has opened itself.
func listFDs() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "/proc/") && !strings.HasPrefix(target, "/sys/") && !strings.HasPrefix(target, "anon_inode:") {
			fmt.Println(e.Name(), target)
		}
	}
}

func spawn(setsid bool, env []string, mode string, args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", append([]string{mode}, args...)...)
	c.Env = env
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
	return c
}

func detach(c *exec.Cmd) {
	if err := c.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "spawn:", err)
		os.Exit(98)
	}
}

// tree starts one process of each kind, says "ready" when they all run, and
// goes on as the rest of args says. Every leaf holds a shared lock on the file
// named alive as long as it lives.
func tree(alive, kinds string, then []string) {
	for _, k := range strings.Split(kinds, ",") {
		args := []string{"leaf", alive, k}
		switch k {
		case "plain", "stubborn":
			detach(spawn(false, nil, "child", args...))
		case "setsid":
			detach(spawn(true, nil, "child", args...))
		case "double", "forks":
			detach(spawn(true, nil, "child", append([]string{"between", "child"}, args...)...))
		}
	}
	for _, k := range strings.Split(kinds, ",") {
		appears(alive + "." + k)
	}
	say("ready")
	os.Exit(childMain(then[0], then[1:]))
}

func appears(name string) {
	for {
		if _, err := os.Stat(name); err == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// nest leaves a leaf and, in the same way, an owner behind in the tree.
func nest(alive, base string) {
	detach(spawn(false, nil, "child", "between", "child", "leaf", alive, "double"))
	detach(spawn(false, nil, "child", "between", "owner", "socket", base))
	appears(alive + ".double")
	appears(base + "/spare")
	say("ready")
	hang()
}

func leaf(alive, kind string) {
	fd, err := unix.Open(alive, unix.O_RDONLY|unix.O_CREAT, 0o600)
	if err == nil {
		err = sys.Lock(fd, unix.LOCK_SH)
	}
	if err == nil {
		err = os.WriteFile(alive+".new."+kind, []byte(strconv.Itoa(os.Getpid())), 0o600)
	}
	if err == nil {
		err = os.Rename(alive+".new."+kind, alive+"."+kind)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaf:", err)
		os.Exit(97)
	}
	switch kind {
	case "forks":
		forkForEver()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
	}
	hang()
}

// forkForEver makes a child in a session of its own, which goes on, and ends:
// for about a minute. Only raw system calls: the child has no Go runtime.
//
//go:norace
//go:nosplit
func forkForEver() {
	for range 500_000 {
		pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			continue
		}
		if pid != 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
	}
}

// orphans leaves many ended processes without a parent, then hangs.
func orphans(count string) {
	n, _ := strconv.Atoi(count)
	for range n {
		if err := spawn(false, nil, "child", "between", "child", "short").Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	say("ready")
	hang()
}
