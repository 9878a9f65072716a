// Package herald tells people that tasks have ended: by a command, a webhook, a
// message on the desktop. It may import engine/task, and must never know how a
// task is kept or run, or when it is tried again: the engine's outbox does.
package herald

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"cctask/engine/claude"
	"cctask/engine/task"
)

// patience bounds a command or a request.
const patience = 30 * time.Second

// variables is how those of the owner begin that the headers of a webhook may name.
const variables = "CCTASK_NOTIFY_"

// Herald is the engine's Herald. Settings are read for each end anew, so that an
// edit counts at once.
type Herald struct {
	Settings func() task.Notify
	Run      func(cmd *exec.Cmd) error // the owner's, which collects what its runs leave; nil: cmd.Run
}

// Channels are those that are told of the end of t.
func (h Herald) Channels(t task.Task) []task.Channel { return h.Settings().Channels(t) }

// Tell brings body to a channel. One that the settings no longer have has nothing to be told.
func (h Herald) Tell(ctx context.Context, c task.Channel, t task.Task, id string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s := h.Settings()
	switch c {
	case task.ChannelTask:
		return h.run(ctx, t.Spec.WorkingDir, body, "sh", "-c", t.Spec.Notify)
	case task.ChannelCommand:
		if s.Command != "" {
			return h.run(ctx, t.Spec.WorkingDir, body, "sh", "-c", s.Command)
		}
	case task.ChannelWebhook:
		if s.Webhook != "" {
			return post(ctx, s, id, body)
		}
	case task.ChannelDesktop:
		if s.Desktop {
			return h.desktop(ctx, t)
		}
	}
	return nil
}

// run starts a program in a session of its own, so that all of it ends with its time.
// Where its directory is gone the root has to do.
func (h Herald) run(ctx context.Context, dir string, stdin []byte, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{}, os.Environ()...)
	var said tail
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &said, &said
	if cmd.Dir = dir; !isDir(dir) {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	start := h.Run
	if start == nil {
		start = (*exec.Cmd).Run
	}
	err := start(cmd)
	switch text := said.String(); {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("did not end within %s", patience)
	case errors.Is(err, syscall.EPIPE), errors.Is(err, exec.ErrWaitDelay):
		return nil // who does not read it all, or leaves somebody behind who has its output, has ended well
	case err != nil && text != "":
		return fmt.Errorf("%w: %s", err, text)
	default:
		return err
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// tail keeps the end of what a command says.
type tail struct{ text []byte }

const mostSaid = 300

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p[max(0, len(p)-mostSaid):]...)
	t.text = t.text[max(0, len(t.text)-mostSaid):]
	return len(p), nil
}

func (t *tail) String() string {
	return claude.Visible(strings.ToValidUTF8(strings.Join(strings.Fields(string(t.text)), " "), ""))
}

// client follows no redirection: most turn a POST into a GET without the message, and
// what answers that would pass for somebody who was told.
var client = http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// post sends the message to a webhook. What is not a 2xx is a fault.
func post(ctx context.Context, s task.Notify, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Webhook, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", id)
	for _, h := range s.Headers {
		name, value, _ := strings.Cut(h, ":")
		missing := ""
		value = os.Expand(value, func(v string) string {
			text, set := os.LookupEnv(v)
			if !strings.HasPrefix(v, variables) || !set {
				missing = v
			}
			return text
		})
		if missing != "" {
			return fmt.Errorf("the header %s names the variable %s, which the owner does not have (only those that begin with %s reach it, as they were when it started)", strings.TrimSpace(name), missing, variables)
		}
		req.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	resp, err := client.Do(req)
	if err != nil {
		if full := (*url.Error)(nil); errors.As(err, &full) {
			err = full.Err // without the URL, which is the secret of many webhooks
		}
		return fmt.Errorf("the webhook could not be reached: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	_ = resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the webhook answered %s", resp.Status)
	}
	return nil
}

// desktop shows the end by notify-send (freedesktop.org) or, on macOS, osascript.
func (h Herald) desktop(ctx context.Context, t task.Task) error {
	title := fmt.Sprintf("%s: %s", cmp.Or(t.Spec.Name, string(t.ID)), t.Status)
	text := cmp.Or(t.Message, t.PromptHead)
	if runtime.GOOS == "darwin" {
		const script = `on run argv
display notification (item 2 of argv) with title (item 1 of argv)
end run`
		return h.run(ctx, "", nil, "osascript", "-e", script, title, text)
	}
	return h.run(ctx, "", nil, "notify-send", "--app-name=cctask", "--", title, text)
}
