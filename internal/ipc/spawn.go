package ipc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cctask/engine/task"
	"cctask/internal/sys"
)

// LogName is the file in the state directory that an owner logs to.
const LogName = "owner.log"

var errSilent = errors.New("it ended before it served and did not say why")

// spawn starts an owner and waits until it serves, so that what keeps it from
// serving reaches the caller. It is called under start.lock.
func (c *Client) spawn(ctx context.Context, deadline time.Time) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start an owner: %w", err)
	}
	defer func() { _ = r.Close() }()
	err = c.launch(w)
	_ = w.Close()
	if err != nil {
		return &task.Error{Code: task.CodeOwnerGone, Message: "an owner cannot be started", Err: err, Hint: "Check that the cctask binary is still in its place."}
	}
	_ = r.SetReadDeadline(deadline)
	defer context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })()
	line, err := bufio.NewReader(r).ReadString('\n')
	line = strings.TrimSuffix(line, "\n")
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && line == readyLine:
		return nil
	case err == nil:
		return startError(line)
	case errors.Is(err, os.ErrDeadlineExceeded):
		// It may migrate: find looks at its phase and says so.
		return nil
	}
	return &task.Error{Code: task.CodeOwnerGone, Message: "starting an owner", Err: errSilent, Hint: "See " + filepath.Join(c.cfg.Dir, LogName) + "; where that says nothing either it was killed, perhaps for lack of memory."}
}

func startError(line string) error {
	var e task.Error
	if json.Unmarshal([]byte(line), &e) != nil || e.Code == "" {
		return &task.Error{Code: task.CodeOwnerGone, Message: "the owner ended while it started: " + line, Hint: "See owner.log in the state directory."}
	}
	// Another owner came first: look again.
	if e.Code == task.CodeLocked {
		return nil
	}
	return &e
}

// launch runs `cctask daemon`, which detaches itself and leaves.
func (c *Client) launch(ready *os.File) error {
	exe := c.cfg.Exe
	if exe == "" {
		var err error
		if exe, err = sys.Self(); err != nil {
			return err
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	log, err := os.OpenFile(filepath.Join(c.cfg.Dir, LogName), os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(exe, "daemon", "--dir="+c.cfg.Dir)
	cmd.Args[0] = "cctask"
	cmd.Args = append(append(cmd.Args, c.cfg.Settings.Args()...), detachFlag, readyFlag+"3")
	cmd.Dir = c.cfg.Dir
	cmd.Env = append([]string{}, ownerEnv(os.Environ())...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, log, log
	cmd.ExtraFiles = []*os.File{ready}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	// A front that stays must not keep a zombie.
	go func() { _ = cmd.Wait() }()
	return nil
}
