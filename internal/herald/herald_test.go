package herald

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cctask/engine/task"
)

func tell(t *testing.T, n task.Notify, c task.Channel, of task.Task) error {
	t.Helper()
	return Herald{Settings: func() task.Notify { return n }}.Tell(t.Context(), c, of, "ID.1", []byte(`{"id":"ID.1"}`))
}

func TestCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	of := task.Task{Spec: task.Spec{WorkingDir: dir, Notify: "cat > own"}}
	if err := tell(t, task.Notify{}, task.ChannelTask, of); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "own")); err != nil || string(got) != `{"id":"ID.1"}` {
		t.Errorf("%q, %v", got, err)
	}
	for command, want := range map[string]string{
		"true":                           "", // reads nothing
		"echo \x1b[31mbad >&2; exit 3":   "exit status 3: \\x1b[31mbad",
		"yes | head -c 100000; exit 1":   "y y y",
		"kill -9 $$":                     "signal: killed",
		"exec 1>&- 2>&-; sleep 0; false": "exit status 1",
		"sleep 3 &":                      "", // has done its part, and would do it again
	} {
		err := tell(t, task.Notify{Command: command}, task.ChannelCommand, of)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 2*mostSaid) {
			t.Errorf("%s: %v, want %q", command, err, want)
		}
	}
	of.Spec.WorkingDir = filepath.Join(dir, "gone")
	if err := tell(t, task.Notify{Command: `test "$PWD" = /`}, task.ChannelCommand, of); err != nil {
		t.Error(err)
	}
}

// A command that hangs is ended with all that it started.
func TestHangingCommandEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	done := make(chan error, 1)
	go func() {
		done <- Herald{}.run(ctx, dir, nil, "sh", "-c", "mkfifo held; sleep 1000 <>held & echo > begun; wait")
	}()
	for {
		if _, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
			break
		}
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("it ended well")
	}
}

func TestWebhook(t *testing.T) {
	t.Setenv("CCTASK_NOTIFY_TOKEN", "hush")
	t.Setenv("OTHER", "secret")
	status := http.StatusNoContent
	var got *http.Request
	var body map[string]string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &body)
		if r.Method == http.MethodPost {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}
	}))
	defer s.Close()
	n := task.Notify{Webhook: s.URL + "/hook", Headers: []string{"Authorization: Bearer ${CCTASK_NOTIFY_TOKEN}"}}
	if err := tell(t, n, task.ChannelWebhook, task.Task{}); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.URL.Path != "/hook" || body["id"] != "ID.1" || got.Header.Get("Idempotency-Key") != "ID.1" ||
		got.Header.Get("Authorization") != "Bearer hush" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v %v", got, body)
	}
	status = http.StatusTeapot
	if err := tell(t, n, task.ChannelWebhook, task.Task{}); err == nil || !strings.Contains(err.Error(), "418") {
		t.Error(err)
	}
	status = http.StatusFound // would be asked again by a GET, without the message
	if err := tell(t, n, task.ChannelWebhook, task.Task{}); err == nil || !strings.Contains(err.Error(), "302") || got.Method != "POST" {
		t.Errorf("%v %+v", err, got)
	}
	for _, v := range []string{"OTHER", "CCTASK_NOTIFY_NONE"} {
		n.Headers = []string{"X: ${" + v + "}"}
		if err := tell(t, n, task.ChannelWebhook, task.Task{}); err == nil || !strings.Contains(err.Error(), v) || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	}
	// Nobody listens. Whoever knows the URL of many a webhook may post to it.
	n = task.Notify{Webhook: "http://127.0.0.1:1/hook/secret"}
	if err := tell(t, n, task.ChannelWebhook, task.Task{}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	if err := tell(t, task.Notify{}, task.ChannelWebhook, task.Task{}); err != nil {
		t.Errorf("a channel that is no more: %v", err)
	}
}
