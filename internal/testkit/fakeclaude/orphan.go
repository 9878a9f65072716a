package fakeclaude

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// OrphanLife bounds everything that waits for a signal, so that a failed test
// leaves nothing for ever.
const OrphanLife = 5 * time.Minute

const orphanArg = "_orphan"

// orphan leaves a process behind.
func (r *run) orphan(kind string) error {
	var pid int
	var err error
	switch kind {
	case "plain":
		pid, err = spawn("stay", os.Environ(), false)
	case "setsid":
		pid, err = spawn("stay", os.Environ(), true)
	case "daemon":
		pid, err = spawnDaemon()
	default:
		err = fmt.Errorf("unknown kind %q", kind)
	}
	if err != nil {
		return err
	}
	logEntry(Entry{Event: "orphan", Orphan: pid})
	text := fmt.Sprintf("orphan %s %d", kind, pid)
	r.assistant(object{"type": "text", "text": text})
	return nil
}

func orphanCommand(role string, env []string, setsid bool) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the own binary: %w", err)
	}
	return &exec.Cmd{
		Path: self, Args: []string{"claude", orphanArg, role}, Env: append([]string{}, env...),
		SysProcAttr: &syscall.SysProcAttr{Setsid: setsid},
	}, nil
}

func spawn(role string, env []string, setsid bool) (pid int, err error) {
	cmd, err := orphanCommand(role, env, setsid)
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start an orphan: %w", err)
	}
	return cmd.Process.Pid, nil
}

// spawnDaemon forks twice: the child in between starts the one that stays,
// prints its pid and ends. Neither has an environment.
func spawnDaemon() (pid int, err error) {
	cmd, err := orphanCommand("fork", []string{}, true)
	if err != nil {
		return 0, err
	}
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("fork twice: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// orphanMain is the process that stays, or the one in between.
func orphanMain(role string) int {
	if role == "fork" {
		pid, err := spawn("stay", []string{}, true)
		if err != nil {
			return fail(err)
		}
		fmt.Println(pid)
		return 0
	}
	<-time.After(OrphanLife)
	return 0
}

// waitGate returns when the last writer of a FIFO has closed it.
func waitGate(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}
