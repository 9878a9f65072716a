package cli_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// httpClient speaks to a `cctask mcp --http`.
type httpClient struct {
	t          *testing.T
	url, token string
}

// open sends a message; headers come in pairs.
func (c httpClient) open(body string, headers ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	return http.DefaultClient.Do(r)
}

// toolCall is a tool call of 2026-07-28 and its headers.
func toolCall(tool, args string) (body string, headers []string) {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":{"progressToken":1,
			"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`, tool, args),
		[]string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool}
}

// call calls a tool and returns the task that it answers with.
func (c httpClient) call(tool, args string) (status, id string) {
	body, headers := toolCall(tool, args)
	resp, err := c.open(body, headers...)
	if err != nil {
		c.t.Error(err)
		return "", ""
	}
	defer resp.Body.Close()
	var m struct {
		Result struct {
			StructuredContent struct {
				Status string `json:"status"`
				TaskID string `json:"task_id"`
			} `json:"structuredContent"`
		} `json:"result"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || m.Result.StructuredContent.TaskID == "" {
		c.t.Errorf("%s: %s, %v", tool, resp.Status, err)
	}
	return m.Result.StructuredContent.Status, m.Result.StructuredContent.TaskID
}

func TestMCPOverHTTP(t *testing.T) {
	t.Parallel()
	cmd := front(t, "mcp", "--http", "127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	check(t, err)
	check(t, cmd.Start())
	log := bufio.NewReader(stderr)
	line, err := log.ReadString('\n')
	check(t, err)
	m := regexp.MustCompile(`(http://127\.0\.0\.1:\d+/mcp), bearer token in (.+)\n`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("it began with %q", line)
	}
	if want := filepath.Join(cmd.Dir, "state", "http.token"); m[2] != want {
		t.Errorf("the token is in %s, want %s", m[2], want)
	}
	fi, err := os.Stat(m[2])
	check(t, err)
	token, err := os.ReadFile(m[2])
	check(t, err)
	if fi.Mode() != 0o600 || len(token) < 40 {
		t.Errorf("a token of %d bytes, mode %v", len(token), fi.Mode())
	}
	c := httpClient{t, m[1], strings.TrimSpace(string(token))}

	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for _, x := range []struct {
		header, value string
		status        int
		says          string
	}{
		{"Authorization", "", 401, "Bearer TOKEN"},
		{"Authorization", "Bearer guess", 401, "Bearer TOKEN"},
		{"Origin", "https://evil.example", 403, "evil.example"},
		{"Host", "evil.example", 403, "evil.example"},
		{"Origin", "http://localhost:3000", 400, "initialize"},
	} {
		r, err := c.open(ping, x.header, x.value)
		check(t, err)
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != x.status || !strings.Contains(string(body), x.says) || strings.Contains(string(body), m[2]) {
			t.Errorf("%s %q: %s %s, %v", x.header, x.value, r.Status, body, err)
		}
	}

	var all sync.WaitGroup
	args := func(prompt string) string { return fmt.Sprintf(`{"prompt":%q,"working_dir":%q}`, prompt, cmd.Dir) }
	for _, prompt := range []string{"one", "two"} {
		all.Go(func() {
			if status, _ := c.call("execute_cc_task", args(prompt)); status != "completed" {
				t.Errorf("%s: %s", prompt, status)
			}
		})
	}
	all.Wait()
	_, id := c.call("start_cc_task_async", args("[[hang]]"))
	body, headers := toolCall("check_task_status", fmt.Sprintf(`{"task_id":%q,"wait_seconds":600}`, id))
	waiting, err := c.open(body, append(headers, "Accept", "application/json, text/event-stream")...)
	check(t, err)
	defer waiting.Body.Close()
	events := bufio.NewReader(waiting.Body)
	if line, err := events.ReadString('\n'); err != nil || line != "event: message\n" { // of its progress
		t.Fatalf("the waiting call began with %q, %v", line, err)
	}
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	rest, err := io.ReadAll(log)
	check(t, err)
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
	live := regexp.MustCompile(`"status": ?"(queued|running)"`)
	if told, err := io.ReadAll(events); err != nil || !live.Match(told) {
		t.Errorf("the waiting call said %s, %v", told, err)
	}
	if strings.Contains(line+string(rest), c.token) {
		t.Error("the token is in the log")
	}
	status := exec.Command("cctask", "status", "--json", id)
	status.Env = cmd.Env
	if out, err := status.Output(); err != nil || !live.Match(out) {
		t.Errorf("the task after the server's end: %s, %v", out, err)
	}
}

// TestHTTPTokenIsMadeOnce has several servers start at once, on one token.
func TestHTTPTokenIsMadeOnce(t *testing.T) {
	t.Parallel()
	first := front(t, "mcp", "--http", "localhost:0")
	var tokens sync.Map
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			cmd := exec.Command(first.Args[0], first.Args[1:]...)
			cmd.Env, cmd.Dir = first.Env, first.Dir
			stderr, err := cmd.StderrPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
			line, err := bufio.NewReader(stderr).ReadString('\n')
			_, file, _ := strings.Cut(strings.TrimSpace(line), "bearer token in ")
			token, err2 := os.ReadFile(file)
			if err != nil || err2 != nil || len(token) < 40 {
				t.Errorf("%q: %v, %v", line, err, err2)
			}
			tokens.Store(string(token), nil)
			_ = cmd.Process.Signal(syscall.SIGINT)
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	tokens.Range(func(any, any) bool { n++; return true })
	if left, _ := filepath.Glob(filepath.Join(first.Dir, "state", ".http*")); n != 1 || len(left) > 0 {
		t.Errorf("%d tokens; left behind: %v", n, left)
	}
}
